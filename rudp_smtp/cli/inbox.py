"""rudp-smtp inbox: the mail that arrived in a Maildir, listed, shown, or as it is. Nothing in it is changed.

Exit status: 0; 1 if there is no message of that number, or the page's port is taken; 2 if there is no Maildir or it
cannot be read.
"""

import argparse
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from email.message import Message
from pathlib import Path

from rudp_smtp.cli.terminal import BAD_INPUT, NOT_FOUND, OK, guarded, print_octets, print_table, visible
from rudp_smtp.mail import parsing
from rudp_smtp.mail.files import Disk, storage_error

DESCRIPTION = """List the mail in a Maildir, oldest first, or show messages by their number in that list. What would
move the terminal's cursor is printed as an escape."""

FAILED = 1
PORT = 8025
LISTED_MAX = 300  # characters of a field: one that is longer would make every line as long
_HEADINGS = ("number", "", "date", "from", "subject", "attachments", "octets")
_FIELDS = ("From", "To", "Cc", "Date", "Subject")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="a Maildir")
    parser.add_argument(
        "numbers", nargs="*", type=int, metavar="NUMBER", help="show these, by their number in the list"
    )
    parser.add_argument("--web", action="store_true", help="serve it as a web page on loopback instead, until Ctrl-C")
    parser.add_argument("--port", type=_port, help=f"of the web page; 0 is any free one ({PORT})")
    parser.add_argument("--raw", type=int, metavar="NUMBER", help="the octets of this one, as they are")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    if sum((bool(options.numbers), options.raw is not None, options.web)) > 1:
        print("messages to show, --raw and --web: one of them at a time", file=sys.stderr)
        return BAD_INPUT
    if options.port is not None and not options.web:
        print("--port is the web page's: add --web", file=sys.stderr)
        return BAD_INPUT
    if not (options.folder / "new").is_dir() or not (options.folder / "cur").is_dir():
        print(f"{options.folder} is not a Maildir: there are no folders new and cur in it", file=sys.stderr)
        return BAD_INPUT
    port = PORT if options.port is None else options.port
    return _serve(options.folder, port) if options.web else guarded(lambda: _act(options))


def _serve(folder: Path, port: int) -> int:
    try:
        import uvicorn

        from rudp_smtp.web import make_app
    except ModuleNotFoundError as error:
        print(f"--web needs {error.name}: pip install 'rudp-smtp[web]'", file=sys.stderr)
        return BAD_INPUT
    config = uvicorn.Config(
        make_app(folder), host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(("127.0.0.1", port))
        except OSError as error:
            print(f"--port {port}: {error.strerror}; take another (0 is any free one)", file=sys.stderr)
            return FAILED
        print(f"http://127.0.0.1:{bound.getsockname()[1]}/", flush=True)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[bound])
    return OK


def _act(options: argparse.Namespace) -> int:
    files = _files(options.folder)
    wanted = options.numbers if options.raw is None else [options.raw]
    if not wanted:
        rows = (_row(number, file) for number, file in enumerate(files, 1))
        print_table(_HEADINGS, [row for row in rows if row])
    absent = [number for number in wanted if not 1 <= number <= len(files)]
    for number in wanted:
        if number not in absent:
            octets = _read(files[number - 1])
            _show(octets) if options.raw is None else print_octets(octets)
    for number in absent:
        print(f"there is no message {number}: the Maildir holds {len(files)}", file=sys.stderr)
    return NOT_FOUND if absent else OK


def _files(folder: Path) -> list[Path]:
    """A name begins with the time of its delivery (maildir(5))."""
    try:
        found = [folder / part / name for part in ("new", "cur") for name in Disk().sizes(folder / part)]
        found = [file for file in found if file.is_file()]
    except OSError as error:
        raise storage_error(f"{folder} cannot be read", error) from error
    return sorted((file for file in found if not file.name.startswith(".")), key=_by_age)


def _by_age(file: Path) -> tuple[int, bytes]:
    seconds = file.name.partition(".")[0]
    return int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 20 else 0, os.fsencode(
        file.name
    )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise storage_error(f"{file} cannot be read", error) from error


def _row(number: int, file: Path) -> tuple[str, ...]:
    """Empty for a message that somebody moved or removed meanwhile."""
    try:
        octets = file.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        return str(number), "", "", "", f"({error.strerror})", "", ""
    message = parsing.parse(octets)
    is_new = file.parent.name == "new"
    fields = (_cut(_field(message, name)) for name in ("Date", "From", "Subject"))
    return str(number), "new" if is_new else "", *fields, str(len(list(_attachments(message)))), str(len(octets))


def _show(octets: bytes) -> None:
    message = parsing.parse(octets)
    for name in _FIELDS:
        if message[name] is not None:
            print(visible(f"{name}: {_field(message, name)}"))
    for name, kind, size in _attachments(message):
        print(visible(f"Attachment: {name or '(no name)'}, {kind}, {size} octets"))
    print(f"\n{visible(_text(message), keep=chr(10) + chr(9))}")


def _field(message: Message, name: str) -> str:
    return parsing.decoded(parsing.field(message, name))


def _cut(text: str) -> str:
    return text if len(text) <= LISTED_MAX else f"{text[:LISTED_MAX]}..."


def _attachments(message: Message) -> Iterator[tuple[str, str, int]]:
    """Name, content type and size of every part that is a file."""
    for part in parsing.parts(message):
        name = parsing.filename(part)
        is_attached = str(part["Content-Disposition"] or "").strip().lower().startswith("attachment")
        if not part.is_multipart() and (name is not None or is_attached):
            yield parsing.decoded(name or ""), part.get_content_type(), len(parsing.content(part))


def _text(message: Message) -> str:
    """The first part that people read; HTML as it stands where there is no other."""
    texts = [
        part
        for part in parsing.parts(message)
        if part.get_content_maintype() == "text" and parsing.filename(part) is None and not part.is_multipart()
    ]
    texts.sort(key=lambda part: part.get_content_subtype() != "plain")
    return parsing.text(texts[0]) if texts else "(no text)"
