"""Real mail from disk: a folder of message files, an mbox or a Maildir -> messages, octets as they stand.

The envelope comes from the header fields that hold it, as far as our strict address parser takes them; a message
without gets the default addresses. Nothing here judges or changes content: `mail.message.prepare` does.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rudp_smtp.errors import ConfigError, SmtpSyntaxError
from rudp_smtp.mail.message import Message
from rudp_smtp.mail.vocabulary import RECIPIENT_DOMAIN, SENDER_DOMAIN
from rudp_smtp.smtp.address import parse_reverse_path

DEFAULT_REVERSE_PATH = f"corpus@{SENDER_DOMAIN}"
DEFAULT_FORWARD_PATH = f"corpus@{RECIPIENT_DOMAIN}"
MESSAGES_MAX = 100_000
FORWARD_PATHS_MAX = 100  # RFC 5321 section 4.5.3.1.8: what every server must take

# Who delivered it says where it came from and went to; who wrote it is asked only if nobody did.
RETURN_FIELDS = ("return-path",)
AUTHOR_FIELDS = ("from",)
DELIVERY_FIELDS = ("delivered-to", "x-original-to")
RECIPIENT_FIELDS = ("to", "cc")

_FROM_LINE = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From ")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_HEADER_END = re.compile(rb"^\r?\n", re.MULTILINE)
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:((?:[^\n]|\n[ \t])*)", re.MULTILINE)
_FOLD = re.compile(r"\r?\n")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|<[^<>]*>|\[[^\[\]]*\]|[^"<>\[\](),;]+|.', re.DOTALL)


def load_corpus(path: str) -> list[Message]:
    """Every message at `path`, in an order that depends on names alone."""
    place = Path(path)
    if not place.exists():
        raise ConfigError(f"{path!r} does not exist; expected a folder of messages, an mbox or a Maildir")
    try:
        found = _read_folder(place) if place.is_dir() else _read_mbox(place)
        messages = [_message(name, octets) for name, octets in found]
    except OSError as error:
        raise ConfigError(f"{path!r} cannot be read: {error.strerror}") from error
    if not messages:
        raise ConfigError(f"{path!r} holds no message; expected a folder of messages, an mbox or a Maildir")
    if len(messages) > MESSAGES_MAX:
        raise ConfigError(f"{path!r} holds {len(messages)} messages, more than {MESSAGES_MAX}")
    return messages


def _read_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """A Maildir's new and cur together, or the folder's own files; hidden files and other folders are passed over."""
    is_maildir = (folder / "new").is_dir() and (folder / "cur").is_dir()
    folders = [folder / "new", folder / "cur"] if is_maildir else [folder]
    files = [file for place in folders for file in place.iterdir() if not file.name.startswith(".") and file.is_file()]
    for file in sorted(files, key=lambda file: os.fsencode(file.name)):
        yield _printable(file.name), file.read_bytes()


def _read_mbox(file: Path) -> Iterator[tuple[str, bytes]]:
    """The mboxrd reading: a From_ line follows an empty line; `>From ` behind any number of `>` loses one.

    The older mboxo quotes only `From ` itself, which this undoes too; what it cannot know is whether a `>From ` was in
    the message, and no reader can. The empty line before a From_ line belongs to the mbox.
    """
    octets = file.read_bytes()
    if not octets.startswith(b"From "):
        raise ConfigError(
            f"{str(file)!r} is no mbox: it does not begin with 'From '; a folder may hold single messages"
        )
    starts = [match.start() for match in _FROM_LINE.finditer(octets)]
    for number, (start, stop) in enumerate(zip(starts, [*starts[1:], len(octets)], strict=True), 1):
        separator, _, content = octets[start:stop].partition(b"\n")
        line_end = b"\r\n" if separator.endswith(b"\r") else b"\n"
        if content.endswith(line_end + line_end):
            content = content[: -len(line_end)]
        yield f"{_printable(file.name)}:{number}", _QUOTED_FROM.sub(rb"\1", content)


def _printable(name: str) -> str:
    """A file name that UTF-8 can hold, whatever the file system allowed."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _message(name: str, octets: bytes) -> Message:
    fields = _header_fields(octets)
    returned = _addresses(fields, RETURN_FIELDS)
    authors = [path for path in _addresses(fields, AUTHOR_FIELDS) if path]
    forward = [path for path in _addresses(fields, DELIVERY_FIELDS) if path]
    forward = forward or [path for path in _addresses(fields, RECIPIENT_FIELDS) if path]
    return Message(
        name=name,
        reverse_path=next(iter(returned or authors), DEFAULT_REVERSE_PATH),
        forward_paths=tuple(dict.fromkeys(forward))[:FORWARD_PATHS_MAX] or (DEFAULT_FORWARD_PATH,),
        octets=octets,
    )


def _header_fields(octets: bytes) -> list[tuple[str, str]]:
    """The header section's fields, names in small letters, values unfolded."""
    end = _HEADER_END.search(octets)
    header = octets[: end.start()] if end else octets
    return [
        (match[1].decode("ascii").lower(), _FOLD.sub("", match[2].decode("utf-8", "replace")).strip())
        for match in _FIELD.finditer(header)
    ]


def _addresses(fields: list[tuple[str, str]], wanted: tuple[str, ...]) -> list[str]:
    """The addresses of these fields that SMTP can carry, as they come; "" is the null path."""
    found = []
    for name, value in fields:
        for path in _paths(value) if name in wanted else ():
            with suppress(SmtpSyntaxError):
                found.append(parse_reverse_path(path))
    return found


def _paths(value: str) -> Iterator[str]:
    """What stands for an address between the commas of an address list (RFC 5322 section 3.4), not judged yet.

    A group counts once it is closed: its members do, its name does not.
    """
    bare, path, depth = "", "", 0
    group: list[str] | None = None
    for token in [*_TOKEN.findall(value), ","]:
        if token in ("(", ")"):
            depth = max(0, depth + (1 if token == "(" else -1))
        elif depth:
            continue  # a comment
        elif token in (",", ";"):
            found = [path or f"<{bare.strip()}>"] if path or bare.strip() else []
            bare, path = "", ""
            if group is None or token == ";":
                yield from [*(group or ()), *found]
                group = None
            else:
                group += found
        elif token.startswith("<"):
            path += token  # a second one makes it no address
        elif ":" in token and token[0] not in '"[':
            bare, group = token.rpartition(":")[2], []
        else:
            bare += token
