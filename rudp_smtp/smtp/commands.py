"""Command: parse and write. RFC 5321 section 4.1; MAIL's parameters from RFC 1870 and RFC 6152."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from rudp_smtp.errors import SmtpSyntaxError
from rudp_smtp.smtp.address import parse_forward_path, parse_reverse_path
from rudp_smtp.smtp.replies import Reply

COMMAND_LINE_OCTETS = 512  # RFC 5321 section 4.5.3.1.4, CRLF included
MAIL_EXTRA_OCTETS = 26 + 17  # RFC 1870 section 3 (SIZE) and RFC 6152 section 2 (BODY) lengthen MAIL's line

_WORD = re.compile(r"[\x21-\x7e]{1,255}")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e]+))?")
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_PATH_AND_REST = re.compile(r'(<(?:[^">]|"(?:[^"\\]|\\.)*")*>)(?: +(.*))?')
_SIZE_VALUE = re.compile(r"[0-9]{1,20}")  # RFC 1870 section 3


class BodyType(Enum):
    """The values of BODY, RFC 6152 section 2."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


@dataclass(frozen=True, slots=True)
class Hello:
    """HELO, or EHLO when `is_extended`. Any printable word will do as a domain: it is used for trace fields only, and
    RFC 5321 section 4.1.4 forbids to refuse mail over it."""

    domain: str
    is_extended: bool

    def encode(self) -> bytes:
        return _line(f"{'EHLO' if self.is_extended else 'HELO'} {self.domain}")


@dataclass(frozen=True, slots=True)
class MailFrom:
    reverse_path: str
    size: int | None = None
    body: BodyType | None = None
    parameters: tuple[tuple[str, str], ...] = field(default=(), compare=False)  # as received, keywords in capitals

    def encode(self) -> bytes:
        size = "" if self.size is None else f" SIZE={self.size}"
        body = "" if self.body is None else f" BODY={self.body.value}"
        return _line(f"MAIL FROM:<{self.reverse_path}>{size}{body}")


@dataclass(frozen=True, slots=True)
class RcptTo:
    forward_path: str

    def encode(self) -> bytes:
        return _line(f"RCPT TO:<{self.forward_path}>")


@dataclass(frozen=True, slots=True)
class Data:
    def encode(self) -> bytes:
        return b"DATA\r\n"


@dataclass(frozen=True, slots=True)
class Rset:
    def encode(self) -> bytes:
        return b"RSET\r\n"


@dataclass(frozen=True, slots=True)
class Noop:
    def encode(self) -> bytes:
        return b"NOOP\r\n"


@dataclass(frozen=True, slots=True)
class Quit:
    def encode(self) -> bytes:
        return b"QUIT\r\n"


@dataclass(frozen=True, slots=True)
class Vrfy:
    user: str

    def encode(self) -> bytes:
        return _line(f"VRFY {self.user}")


@dataclass(frozen=True, slots=True)
class Help:
    def encode(self) -> bytes:
        return b"HELP\r\n"


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not a command we obey, and the reply that says why. `verb` is "" when it is none we know."""

    reply: Reply
    verb: str = ""


Command = Hello | MailFrom | RcptTo | Data | Rset | Noop | Quit | Vrfy | Help | Malformed


def parse_command(line: bytes, *, limit: int = COMMAND_LINE_OCTETS) -> Command:
    """Read a command line without its CRLF. `limit` counts the CRLF; MAIL may be longer by what its extensions add."""
    extra = MAIL_EXTRA_OCTETS if line[:5].upper() == b"MAIL " else 0
    if len(line) + len("\r\n") > limit + extra:
        return _malformed(500, "5.5.2 Line too long")
    # RFC 5321 section 4.1.1: white space before the CRLF should be tolerated.
    stripped = line.rstrip(b" \t")
    if _PRINTABLE.fullmatch(stripped) is None:
        return _malformed(500, "5.5.2 Only printable ASCII and CRLF may be in a command")
    verb, _, argument = stripped.decode("ascii").partition(" ")
    parser = _PARSERS.get(verb.upper())
    if parser is None:
        return _malformed(500, "5.5.1 Command not recognized")
    command = parser(argument)
    return Malformed(command.reply, verb.upper()) if isinstance(command, Malformed) else command


def _parse_ehlo(argument: str) -> Command:
    return _parse_hello(argument, is_extended=True)


def _parse_helo(argument: str) -> Command:
    return _parse_hello(argument, is_extended=False)


def _parse_hello(argument: str, *, is_extended: bool) -> Command:
    if _WORD.fullmatch(argument) is None:
        return _malformed(501, "5.5.4 One domain or address literal is needed")
    return Hello(argument, is_extended)


def _parse_mail(argument: str) -> Command:
    fields = _split_path(argument, "FROM:")
    if fields is None:
        return _malformed(501, "5.5.4 Syntax: MAIL FROM:<reverse-path> [parameters]")
    try:
        reverse_path = parse_reverse_path(fields[0])
    except SmtpSyntaxError as error:
        return _malformed(501, f"5.1.7 Bad reverse-path: {error}")
    parameters = _parse_parameters(fields[1])
    if isinstance(parameters, Malformed):
        return parameters
    size: int | None = None
    body: BodyType | None = None
    for keyword, value in parameters:
        match keyword:
            case "SIZE" if _SIZE_VALUE.fullmatch(value):
                size = int(value)
            case "BODY" if value.upper() in (kind.value for kind in BodyType):
                body = BodyType(value.upper())
            case "SIZE" | "BODY":
                return _malformed(501, f"5.5.4 Bad value of {keyword}")
            case _:
                return _malformed(555, "5.5.4 MAIL parameter not recognized")
    return MailFrom(reverse_path, size, body, parameters)


def _parse_rcpt(argument: str) -> Command:
    fields = _split_path(argument, "TO:")
    if fields is None:
        return _malformed(501, "5.5.4 Syntax: RCPT TO:<forward-path>")
    try:
        forward_path = parse_forward_path(fields[0])
    except SmtpSyntaxError as error:
        return _malformed(501, f"5.1.3 Bad forward-path: {error}")
    if fields[1]:
        return _malformed(555, "5.5.4 RCPT parameter not recognized")
    return RcptTo(forward_path)


def _parse_vrfy(argument: str) -> Command:
    return Vrfy(argument) if argument else _malformed(501, "5.5.4 Syntax: VRFY string")


def _parse_expn(argument: str) -> Command:
    return _malformed(502, "5.5.1 Command not implemented")


def _bare(command: Command) -> Callable[[str], Command]:
    """A parser for a command that takes no argument."""

    def parse(argument: str) -> Command:
        return _malformed(501, "5.5.4 No argument is allowed") if argument else command

    return parse


def _regardless(command: Command) -> Callable[[str], Command]:
    """A parser for a command whose argument means nothing to us."""
    return lambda argument: command


_PARSERS: dict[str, Callable[[str], Command]] = {
    "EHLO": _parse_ehlo,
    "HELO": _parse_helo,
    "MAIL": _parse_mail,
    "RCPT": _parse_rcpt,
    "DATA": _bare(Data()),
    "RSET": _bare(Rset()),
    "QUIT": _bare(Quit()),
    "NOOP": _regardless(Noop()),
    "HELP": _regardless(Help()),
    "VRFY": _parse_vrfy,
    "EXPN": _parse_expn,
}


def _split_path(argument: str, keyword: str) -> tuple[str, str] | None:
    """The bracketed path behind the keyword, and what follows it. No space is allowed round the colon (section 3.3)."""
    if argument[: len(keyword)].upper() != keyword:
        return None
    fields = _PATH_AND_REST.fullmatch(argument, len(keyword))
    return None if fields is None else (fields[1], fields[2] or "")


def _parse_parameters(text: str) -> tuple[tuple[str, str], ...] | Malformed:
    parameters: dict[str, str] = {}
    for word in text.split():
        parameter = _PARAMETER.fullmatch(word)
        if parameter is None:
            return _malformed(501, "5.5.4 Malformed parameter")
        keyword = parameter[1].upper()
        if keyword in parameters:
            return _malformed(501, f"5.5.4 {keyword} given twice")
        parameters[keyword] = parameter[2] or ""
    return tuple(parameters.items())


def _malformed(code: int, text: str) -> Malformed:
    return Malformed(Reply(code, (text,)))


def _line(text: str) -> bytes:
    return text.encode("ascii") + b"\r\n"
