"""Mail as people read it: what lies in a Maildir, and a message's headers, text, HTML and attachments.

For showing only: nothing here decides where mail goes, and whatever the octets are, something can be shown.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path

from rudp_smtp.mail import parsing
from rudp_smtp.units import SECOND

HEADER_MAX = 256 * 1024  # of a file, looked at for the list
PARTS_MAX = 200  # of a message, shown
REMEMBERED_MAX = 20_000  # lines of lists
NAME = re.compile(r"[^/\0.\ud800-\udfff][^/\0\ud800-\udfff]*")  # that can stand in an address

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of the list. `name` is the file's; times are aware."""

    name: str
    subject: str
    sender: str
    date: datetime | None  # the Date field's
    arrived_at: datetime
    size: int
    is_unread: bool


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not shown as text. `index` counts the message's parts."""

    index: int
    filename: str
    content_type: str
    content_id: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """A whole message."""

    summary: Summary
    to: str
    cc: str
    fields: tuple[tuple[str, str], ...]  # all header fields, decoded
    text: str
    html: str
    attachments: tuple[Attachment, ...]
    source: bytes


def list_mail(root: Path) -> list[Summary]:
    """What is in the Maildir, the latest arrival first. Raises FileNotFoundError where there is none."""
    if not (root / "new").is_dir() or not (root / "cur").is_dir():
        raise FileNotFoundError(f"{root} is no Maildir: it has no folders new and cur")
    found = []
    for path in _files(root):
        with suppress(OSError):  # a mail reader moved it meanwhile, or it is not for us to read
            found.append(_summarise(path))
    return sorted(found, key=lambda summary: (summary.arrived_at, summary.name), reverse=True)


def read_letter(root: Path, name: str) -> Letter:
    """The message in the file called `name`. Raises KeyError where there is none."""
    if NAME.fullmatch(name) is None:
        raise KeyError(name)
    for folder in ("new", "cur"):
        path = root / folder / name
        if path.is_file():
            return _parse(_summarise(path), path.read_bytes())
    raise KeyError(name)


def one_line(text: str) -> str:
    """Text that does nothing but be read: no control characters, no marks that turn its direction."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))


def _files(root: Path) -> Iterator[Path]:
    for folder in ("new", "cur"):
        for path in (root / folder).iterdir():
            if path.is_file() and NAME.fullmatch(path.name):
                yield path


def _summarise(path: Path) -> Summary:
    status = path.stat()
    return _summary(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=REMEMBERED_MAX)
def _summary(path: Path, modified: int, size: int) -> Summary:
    """Of a file that is written once, as all in a Maildir are."""
    with path.open("rb") as file:
        head = BytesHeaderParser().parsebytes(_header(file.read(HEADER_MAX)))
    return Summary(
        name=path.name,
        subject=decoded(head, "Subject"),
        sender=decoded(head, "From"),
        date=_date(head),
        arrived_at=datetime.fromtimestamp(modified / SECOND, UTC),
        size=size,
        is_unread="S" not in path.name.rpartition(":2,")[2] if ":2," in path.name else True,
    )


def _header(octets: bytes) -> bytes:
    end = re.search(rb"\r?\n\r?\n", octets)
    return octets if end is None else octets[: end.end()]


def decoded(message: Message, field: str) -> str:
    """A header field as text; as it stands where its encoding is broken."""
    return _decode(parsing.field(message, field))


def _decode(value: str) -> str:
    return one_line(parsing.decoded(value))


def _date(message: Message) -> datetime | None:
    try:
        date = parsedate_to_datetime(str(message.get("Date", "")))
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _parse(summary: Summary, source: bytes) -> Letter:
    message = parsing.parse(source)
    texts: list[str] = []
    htmls: list[str] = []
    attachments: list[Attachment] = []
    for index, part in enumerate(parsing.parts(message)):
        if index >= PARTS_MAX:
            break
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        is_attached = part.get_content_disposition() == "attachment" or parsing.filename(part) is not None
        if not is_attached and kind == "text/plain":
            texts.append(parsing.text(part))
        elif not is_attached and kind == "text/html":
            htmls.append(parsing.text(part))
        else:
            attachments.append(_attachment(index, part))
    return Letter(
        summary=summary,
        to=decoded(message, "To"),
        cc=decoded(message, "Cc"),
        fields=tuple((one_line(name), _decode(str(value))) for name, value in message.items()),
        text="\n".join(texts),
        html="\n".join(htmls),
        attachments=tuple(attachments),
        source=source,
    )


def _attachment(index: int, part: Message) -> Attachment:
    filename = _decode(parsing.filename(part) or f"part-{index}").replace("/", "_").replace("\\", "_")
    content_id = parsing.field(part, "Content-ID").strip("<> \t")
    return Attachment(index, filename[:200], part.get_content_type(), content_id, parsing.content(part))
