"""A stranger's message taken apart for showing. Whatever its octets are, nothing here raises, and little takes long.

The standard library's parser does both where it is asked to: it recurses into parts within parts, reads parameters as
numbers of any length and as names of Python's codecs, and for fields its time grows with the square of their length.
"""

from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes, policy
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser

FIELD_MAX = 20_000  # characters; of a longer field no encoded words are decoded and no parameters read
NO_CHARSETS = frozenset({"punycode", "idna"})  # Python's codecs, and slow ones; no mail is written in them


def parse(octets: bytes) -> Message:
    """The message with its parts, or its header alone where they lie within each other a few hundred deep."""
    try:
        return message_from_bytes(octets, policy=policy.compat32)
    except RecursionError:
        return BytesHeaderParser(policy=policy.compat32).parsebytes(octets)


def parts(message: Message) -> Iterator[Message]:
    """The message and all parts, in their order."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        yield part
        if part.is_multipart():
            inner = part.get_payload()
            waiting += [within for within in reversed(list(inner)) if isinstance(within, Message)]


def field(message: Message, name: str) -> str:
    """A header field as it stands, on one line; "" if there is none."""
    return str(message.get(name, "")).replace("\r", "").replace("\n", "")


def decoded(value: str) -> str:
    """A field's encoded words as text (RFC 2047), or the field as it stands where they are malformed."""
    if len(value) > FIELD_MAX:
        return value
    try:
        words = decode_header(value)
    except (HeaderParseError, ValueError):
        return value
    return "".join(word if isinstance(word, str) else text_of(word, charset or "ascii") for word, charset in words)


def filename(part: Message) -> str | None:
    """A part's name, still encoded; "" if it has one that cannot be read, None if it has none."""
    if not _is_readable(part):
        return ""
    try:
        return part.get_filename()
    except (LookupError, ValueError):
        return ""


def content(part: Message) -> bytes:
    """A part's octets without their transfer encoding."""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def text(part: Message) -> str:
    """What a part of text says, its lines ended by LF."""
    charset = "utf-8"
    if _is_readable(part):
        with suppress(LookupError, ValueError):
            charset = part.get_content_charset(charset)
    return text_of(content(part), charset).replace("\r\n", "\n")


def text_of(octets: bytes, charset: str) -> str:
    try:
        if charset.lower() not in NO_CHARSETS:
            return octets.decode(charset, "replace")
    except (LookupError, ValueError):  # no such charset, or its name or the octets are beyond the codec
        pass
    return octets.decode("utf-8", "backslashreplace")


def _is_readable(part: Message) -> bool:
    return all(len(str(part.get(name, ""))) <= FIELD_MAX for name in ("Content-Type", "Content-Disposition"))
