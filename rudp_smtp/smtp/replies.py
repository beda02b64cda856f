"""Reply: code, text, multi-line form. RFC 5321 section 4.2; enhanced status codes, RFC 2034 and RFC 3463."""

import re
from dataclasses import dataclass

from rudp_smtp.errors import LocalProtocolError, SmtpSyntaxError

SERVICE_CLOSING = 421  # RFC 5321 section 3.8: may answer any command, or none, and ends the session
LOGIN_REFUSED = (534, 535, 538)  # RFC 4954 section 6
NO_TLS = "4.7.10"  # RFC 8689 section 4.2.1, with a 4 for what may be better the next time: encryption needed
REPLY_LINE_OCTETS = 512  # RFC 5321 section 4.5.3.1.5, code and CRLF included: the most we send
READABLE_LINE_OCTETS = 4096  # the most we read: real servers exceed the limit, and no ambiguity comes of it
READABLE_LINES = 128
LONG_LINE = f"reply line longer than {READABLE_LINE_OCTETS} octets"

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)")
_TEXT = re.compile(r"[\t\x20-\x7e]*")
_PREFIX_OCTETS = len("250-")
_TEXT_OCTETS_MAX = REPLY_LINE_OCTETS - _PREFIX_OCTETS - len("\r\n")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. An unlisted code means what its first digit means (RFC 5321 section 4.2.1)."""

    code: int
    lines: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise LocalProtocolError(f"reply code {self.code} outside 200-599")
        if not self.lines:
            raise LocalProtocolError("reply without a line")
        for line in self.lines:
            if _TEXT.fullmatch(line) is None:
                raise LocalProtocolError(f"reply text {line!r} is not printable ASCII")

    def __str__(self) -> str:
        return f"{self.code} {' / '.join(self.lines)}".rstrip()

    @property
    def is_positive(self) -> bool:
        return self.code < 300

    @property
    def is_intermediate(self) -> bool:
        return 300 <= self.code < 400

    @property
    def is_transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500

    @property
    def status(self) -> str:
        """The enhanced status code, "" when the reply has none that agrees with its own first digit."""
        status = _STATUS.match(self.lines[0])
        return status[0] if status is not None and int(status[1]) == self.code // 100 else ""

    def shortened(self) -> "Reply":
        """With its lines cut to what may be sent, which is less than what is read."""
        return Reply(self.code, tuple(line[:_TEXT_OCTETS_MAX] for line in self.lines))

    def encode(self) -> bytes:
        for line in self.lines:
            if len(line) > _TEXT_OCTETS_MAX:
                raise LocalProtocolError(f"reply line longer than {REPLY_LINE_OCTETS} octets")
        rows = [f"{self.code}-{line}\r\n" for line in self.lines[:-1]]
        rows.append(f"{self.code} {self.lines[-1]}\r\n")
        return "".join(rows).encode("ascii")


class ReplyReader:
    """Assembles lines into replies. What a peer wrote is escaped before anyone sees it."""

    __slots__ = ("_code", "_lines")

    def __init__(self) -> None:
        self._code = 0
        self._lines: list[str] = []

    def receive_line(self, line: bytes) -> Reply | None:
        """The reply that this line (without CRLF) completes, if it does."""
        if len(line) > READABLE_LINE_OCTETS:
            raise SmtpSyntaxError(LONG_LINE)
        fields = _LINE.fullmatch(line)
        if fields is None:
            raise SmtpSyntaxError(f"not a reply line: {_printable(line[:40])!r}")
        if any(octet in line for octet in (b"\r", b"\n", b"\0")):
            raise SmtpSyntaxError("reply line with a bare CR, a bare LF or a NUL")
        code = int(fields[1])
        if self._lines and code != self._code:
            raise SmtpSyntaxError(f"reply that begins with code {self._code} and goes on with {code}")
        if len(self._lines) >= READABLE_LINES:
            raise SmtpSyntaxError(f"reply of more than {READABLE_LINES} lines")
        self._code = code
        self._lines.append(_printable(fields[3] or b""))
        if fields[2] == b"-":
            return None
        reply = Reply(code, tuple(self._lines))
        self._lines = []
        return reply


def _printable(text: bytes) -> str:
    return "".join(chr(o) if 32 <= o < 127 or o == 9 else f"\\x{o:02x}" for o in text)
