"""Seeded, realistic MIME mail of an exact size (RFC 5322, RFC 2045-2047, RFC 2231).

Octets are put together here and not by the `email` package: its folding and encoding differ between Python versions,
and a message's octets are part of a run's identity. The tests read every message back with it, no defect allowed.
"""

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import shake_128
from quopri import encodestring
from typing import TypeVar
from urllib.parse import quote

from rudp_smtp.draws import DrawKey
from rudp_smtp.mail import vocabulary
from rudp_smtp.mail.message import Message
from rudp_smtp.mail.size import SMALLEST_MESSAGE

T = TypeVar("T")

FIRST_DATE = datetime(2024, 1, 1, 8, 0, tzinfo=UTC)  # message 0's; the clock is never asked
MINUTES_BETWEEN = 7

LINE = 72  # octets of prose in a line
ENCODED_LINE = 57  # octets before base64 makes them the 76 of RFC 2045 section 6.8
TYPED_MAX = 64 << 10  # nobody types more than this: larger messages carry files
FULL_HEADER_MIN = 2 << 10  # below this a message has the shortest header section there is
RECIPIENTS_MAX = 3
HTML_MIN = 1 << 10
ATTACHMENTS_MIN = 8 << 10
TEXT_SHARE = 8  # one octet in this many is text where there are attachments
SPECIALS = frozenset('()<>[]:;@\\,."')  # RFC 5322 section 3.2.3: these need quotes in a phrase


class _Choices:
    """One message's draws, each keyed by what it decides."""

    __slots__ = ("_key",)

    def __init__(self, index: int, draws: DrawKey) -> None:
        self._key = draws.derive(str(index))

    def below(self, purpose: str, limit: int) -> int:
        return self._key.derive(purpose).below(0, limit)

    def pick(self, purpose: str, options: Sequence[T]) -> T:
        return options[self.below(purpose, len(options))]

    def token(self, purpose: str) -> str:
        return f"{self._key.derive(purpose).draw(0):016x}"

    def octets(self, purpose: str, count: int) -> bytes:
        return shake_128(bytes.fromhex(self.token(purpose))).digest(count)


def generate_message(index: int, draws: DrawKey, size: int, recipients: int | None = None) -> Message:
    """Message `index` of `size` octets exactly, ready for SMTP: CRLF, short lines, a last line end; 8-bit at times.

    `recipients`: to so many people, RECIPIENTS_MAX at most; None: to one mostly, to two or three at times. A message
    of less than FULL_HEADER_MIN octets has room for one.
    """
    assert size >= SMALLEST_MESSAGE
    choices = _Choices(index, draws)
    sender = choices.pick("from", vocabulary.PEOPLE)
    people = _recipients(choices, size, recipients)
    header = _header(index, choices, (sender, people), size)
    octets = header + _body(choices, size - len(header))
    assert len(octets) == size
    return Message(
        name=f"generated-{index:04}",
        reverse_path=f"{sender[1]}@{vocabulary.SENDER_DOMAIN}",
        forward_paths=tuple(f"{local}@{vocabulary.RECIPIENT_DOMAIN}" for _, local in people),
        octets=octets,
    )


def _recipients(choices: _Choices, size: int, count: int | None) -> list[tuple[str, str]]:
    """Nobody twice."""
    if size < FULL_HEADER_MIN:
        count = 1
    elif count is None:
        count = choices.pick("recipients", (1, 1, 1, 2, RECIPIENTS_MAX))
    first = choices.below("to", len(vocabulary.PEOPLE))
    return [vocabulary.PEOPLE[(first + 5 * k) % len(vocabulary.PEOPLE)] for k in range(count)]


def _header(index: int, choices: _Choices, people: tuple[tuple[str, str], list[tuple[str, str]]], size: int) -> bytes:
    """The header section, less the fields of the body's outermost part."""
    sender, recipients = people
    to = [_address(person, vocabulary.RECIPIENT_DOMAIN) for person in recipients]
    date = FIRST_DATE + timedelta(minutes=MINUTES_BETWEEN * index, seconds=choices.below("date", 60))
    fields = [
        f"From: {_address(sender, vocabulary.SENDER_DOMAIN)}",
        "To: " + ",\r\n ".join(to[:2]),
        *(f"Cc: {address}" for address in to[2:]),
        f"Subject: {_unstructured(choices.pick('subject', vocabulary.SUBJECTS))}",
        f"Date: {format_datetime(date)}",
        f"Message-ID: <{choices.token('message-id')}.{index}@{vocabulary.SENDER_DOMAIN}>",
    ]
    if size >= FULL_HEADER_MIN:
        if choices.below("is a reply", 2):
            parent = f"<{choices.token('parent')}@{vocabulary.RECIPIENT_DOMAIN}>"
            root = f"<{choices.token('root')}@{vocabulary.SENDER_DOMAIN}>"
            fields += [f"In-Reply-To: {parent}", f"References: {root}\r\n {parent}"]
        fields.append(f"User-Agent: {choices.pick('agent', vocabulary.USER_AGENTS)}")
    return "\r\n".join([*fields, "MIME-Version: 1.0\r\n"]).encode("ascii")


def _address(person: tuple[str, str], domain: str) -> str:
    display, local = person
    phrase = f'"{display}"' if SPECIALS.intersection(display) else _unstructured(display)
    return f"{phrase} <{local}@{domain}>"


def _unstructured(text: str) -> str:
    """ASCII as it is, anything else as one encoded-word (RFC 2047); ours are short enough to need no second."""
    if text.isascii():
        return text
    word = f"=?utf-8?b?{b64encode(text.encode()).decode('ascii')}?="
    assert len(word) <= 75, "RFC 2047 section 2"
    return word


def _body(choices: _Choices, size: int) -> bytes:
    """The outermost part with its own header fields, `size` octets."""
    if size > TYPED_MAX or (size > ATTACHMENTS_MIN and choices.below("has attachments", 4) == 0):
        return _mixed(choices, size)
    return _typed(choices, size)


def _mixed(choices: _Choices, size: int) -> bytes:
    """What was typed, then one to three files (RFC 2046 section 5.1.3)."""
    boundary = f"mixed-{choices.token('mixed boundary')}"
    files_size = size - min(size // TEXT_SHARE, TYPED_MAX)
    count = 1 + choices.below("files", 3)
    files = [_file(choices, f"file {position}", files_size // count) for position in range(count)]
    rest = size - len(_multipart("mixed", boundary, [b"", *files]))
    return _multipart("mixed", boundary, [_typed(choices, rest), *files])


def _typed(choices: _Choices, size: int) -> bytes:
    """Plain text, or plain text and the same as HTML (RFC 2046 section 5.1.4), `size` octets."""
    greeting = choices.pick("greeting", vocabulary.GREETINGS)
    closing = f"{choices.pick('closing', vocabulary.CLOSINGS)}\n{choices.pick('from', vocabulary.PEOPLE)[0]}\n"
    frame = (f"{greeting}\n\n", f"\n{closing}")
    if size < HTML_MIN or choices.below("has HTML", 2):
        return _text(choices, "plain", frame, size)
    boundary = f"alternative-{choices.token('alternative boundary')}"
    head = f'<html><body>\n<p style="font-family: serif">{greeting.replace(">", "&gt;")}</p>\n<p>\n'
    html = _text(choices, "html", (head, f"</p>\n<p>{closing}</p>\n</body></html>\n"), size // 2)
    rest = size - len(_multipart("alternative", boundary, [b"", html]))
    return _multipart("alternative", boundary, [_text(choices, "plain", frame, rest), html])


def _multipart(subtype: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    """Parts behind their delimiters; the CRLF that ends each belongs to the next one (RFC 2046 section 5.1.1)."""
    fields = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode("ascii")
    delimiter = f"--{boundary}".encode("ascii")
    return fields + b"".join(delimiter + b"\r\n" + part for part in parts) + delimiter + b"--\r\n"


def _file(choices: _Choices, purpose: str, size: int) -> bytes:
    """An attachment, as many whole lines of it as `size` octets hold."""
    kind, subtype, name, magic = choices.pick(purpose, vocabulary.FILES)
    # RFC 2231 section 4 where the name is not ASCII
    filename = f'filename="{name}"' if name.isascii() else f"filename*=utf-8''{quote(name)}"
    fields = (
        f"Content-Type: {kind}/{subtype}\r\nContent-Transfer-Encoding: base64\r\n"
        f"Content-Disposition: attachment;\r\n {filename}\r\n\r\n"
    ).encode("ascii")
    lines = (size - len(fields)) // (4 * ENCODED_LINE // 3 + 2)
    content = magic + choices.octets(f"{purpose} content", lines * ENCODED_LINE - len(magic))
    pieces = (content[start : start + ENCODED_LINE] for start in range(0, len(content), ENCODED_LINE))
    return fields + b"".join(b64encode(piece) + b"\r\n" for piece in pieces)


def _text(choices: _Choices, subtype: str, frame: tuple[str, str], size: int) -> bytes:
    """A text part of `size` octets: a head and a tail in an encoding, and between them as much prose as it takes."""
    encodings = ("7bit", "8bit") if "".join(frame).isascii() else ("quoted-printable", "8bit")
    encoding = choices.pick("encoding", encodings)
    fields = (f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n").encode(
        "ascii"
    )
    octets = [text.encode() for text in frame]
    if encoding == "quoted-printable":
        octets = [encodestring(text) for text in octets]
    head, tail = (text.replace(b"\n", b"\r\n") for text in octets)
    return fields + head + _prose(choices, subtype, size - len(fields) - len(head) - len(tail)) + tail


def _prose(choices: _Choices, purpose: str, count: int) -> bytes:
    """`count` octets of ASCII words in ended lines that no encoding of ours changes."""
    assert count >= 2, "room for a line end"
    picks = choices.octets(f"prose {purpose}", count // 4 + 1)  # a word and its space are four octets or more
    words = b" ".join([vocabulary.WORDS[pick & 127] for pick in picks])
    lines = []
    start = 0
    while start < count:
        stop = words.rfind(b" ", start, start + LINE)
        stop = stop if stop > 0 else len(words)
        lines.append(words[start:stop])
        start = stop + 1
    prose = b"\r\n".join(lines)[: count - 2]
    if prose.endswith((b" ", b"\r")):
        prose = prose[:-1] + b"."
    return prose + b"\r\n"
