"""Command: parse and write. RFC 5321 section 4.1; BDAT from RFC 3030, STARTTLS 3207, AUTH 4954, LHLO 2033."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rudp_smtp.errors import LocalProtocolError, SmtpSyntaxError
from rudp_smtp.smtp.address import parse_forward_path, parse_reverse_path
from rudp_smtp.smtp.parameters import (
    MAIL_OCTETS,
    NO_DSN,
    NO_IDENTITY,
    RCPT_OCTETS,
    BodyType,
    RecipientDsn,
    Ret,
    encode_xtext,
    parse_auth,
    parse_body,
    parse_envid,
    parse_flag,
    parse_key,
    parse_notify,
    parse_orcpt,
    parse_ret,
    parse_size,
    split_parameters,
)
from rudp_smtp.smtp.replies import Reply

COMMAND_LINE_OCTETS = 512  # RFC 5321 section 4.5.3.1.4, CRLF included
AUTH_LINE_OCTETS = 12288  # RFC 4954 section 4.3: AUTH itself, and what answers its challenges
CHUNK_DIGITS = 20  # as many as RFC 1870 has for a whole message

_WORD = re.compile(r"[\x21-\x7e]{1,255}")
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_PRINTABLE_OR_UTF8 = re.compile(rb"[\x20-\x7e\x80-\xff]*")
_PATH_AND_REST = re.compile(r'(<(?:[^">]|"(?:[^"\\]|\\.)*")*>)(?: +(.*))?')
_CHUNK = re.compile(rf"([0-9]{{1,{CHUNK_DIGITS}}})(?: +(LAST))?", re.IGNORECASE)
_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}")  # RFC 4422 section 3.1

BASIC_VERBS = frozenset({"EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "QUIT", "NOOP", "HELP", "VRFY", "EXPN"})


@dataclass(frozen=True, slots=True)
class Grammar:
    """What may be said in a session: the verbs, and the parameters that its extensions add to MAIL and RCPT."""

    verbs: frozenset[str] = BASIC_VERBS
    mail_parameters: frozenset[str] = frozenset({"SIZE", "BODY"})
    rcpt_parameters: frozenset[str] = frozenset()
    is_binary: bool = False  # BODY=BINARYMIME
    is_utf8: bool = False

    def extra_octets(self, verb: str) -> int:
        """By how much a command's line may be longer than others."""
        match verb:
            case "MAIL":
                return sum(octets for keyword, octets in MAIL_OCTETS.items() if keyword in self.mail_parameters)
            case "RCPT":
                return sum(octets for keyword, octets in RCPT_OCTETS.items() if keyword in self.rcpt_parameters)
            case "AUTH" if "AUTH" in self.verbs:
                return AUTH_LINE_OCTETS - COMMAND_LINE_OCTETS
            case _:
                return 0

    @property
    def extra_octets_max(self) -> int:
        return max(map(self.extra_octets, ("MAIL", "RCPT", "AUTH")))


BASIC_GRAMMAR = Grammar()


@dataclass(frozen=True, slots=True)
class Hello:
    """HELO, or EHLO when `is_extended`. Any printable word will do as a domain: it is used for trace fields only, and
    RFC 5321 section 4.1.4 forbids to refuse mail over it."""

    domain: str
    is_extended: bool  # LHLO, where it is the word, is EHLO by another name

    def encode(self) -> bytes:
        return _line(f"{'EHLO' if self.is_extended else 'HELO'} {self.domain}")


@dataclass(frozen=True, slots=True)
class MailFrom:
    reverse_path: str
    size: int | None = None
    body: BodyType | None = None
    parameters: tuple[tuple[str, str], ...] = field(default=(), compare=False)  # as received, keywords in capitals
    is_smtputf8: bool = False
    ret: Ret | None = None
    envid: str = ""
    auth: str = ""  # the first submitter as the client tells it, or NO_IDENTITY
    requires_tls: bool = False
    idempotency_key: str = ""

    def encode(self) -> bytes:
        words = [f"MAIL FROM:<{self.reverse_path}>"]
        if self.size is not None:
            words.append(f"SIZE={self.size}")
        if self.body is not None:
            words.append(f"BODY={self.body.value}")
        if self.is_smtputf8:
            words.append("SMTPUTF8")
        if self.ret is not None:
            words.append(f"RET={self.ret.value}")
        if self.envid:
            words.append(f"ENVID={encode_xtext(self.envid)}")
        if self.auth:
            words.append(f"AUTH={self.auth if self.auth == NO_IDENTITY else encode_xtext(self.auth)}")
        if self.requires_tls:
            words.append("REQUIRETLS")
        if self.idempotency_key:
            words.append(f"XIDEMPOTENT={self.idempotency_key}")
        return _line(" ".join(words))


@dataclass(frozen=True, slots=True)
class RcptTo:
    forward_path: str
    dsn: RecipientDsn = NO_DSN

    def encode(self) -> bytes:
        notify = f" NOTIFY={','.join(kind.value for kind in self.dsn.notify)}" if self.dsn.notify else ""
        address_type, semicolon, address = self.dsn.orcpt.partition(";")
        orcpt = f" ORCPT={address_type};{encode_xtext(address)}" if semicolon else ""
        return _line(f"RCPT TO:<{self.forward_path}>{notify}{orcpt}")


@dataclass(frozen=True, slots=True)
class Bdat:
    """So many octets of mail data follow the command's line (RFC 3030 section 2)."""

    octets: int
    is_last: bool

    def encode(self) -> bytes:
        return _line(f"BDAT {self.octets}{' LAST' if self.is_last else ''}")


@dataclass(frozen=True, slots=True)
class StartTls:
    def encode(self) -> bytes:
        return b"STARTTLS\r\n"


@dataclass(frozen=True, slots=True)
class Auth:
    """`initial`: the first response, in base64 or "=" for an empty one; None if the server has to ask for it."""

    mechanism: str
    initial: str | None = field(default=None, repr=False)  # a password may be in it

    def encode(self) -> bytes:
        return _line(f"AUTH {self.mechanism}{'' if self.initial is None else ' ' + self.initial}")


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


Command = Hello | MailFrom | RcptTo | Data | Bdat | StartTls | Auth | Rset | Noop | Quit | Vrfy | Help | Malformed
Parser = Callable[[str, Grammar], Command]


def parse_command(line: bytes, *, limit: int = COMMAND_LINE_OCTETS, grammar: Grammar = BASIC_GRAMMAR) -> Command:
    """Read a command line without its CRLF. `limit` counts it; some may be longer by what their extensions add."""
    excess = len(line) + len("\r\n") - limit
    if excess > 0:
        verb = line[:5].upper().rstrip(b" ").decode("latin-1")
        if excess > grammar.extra_octets(verb):
            return _malformed(500, "5.5.6 Line too long" if verb == "AUTH" else "5.5.2 Line too long")
    # RFC 5321 section 4.1.1: white space before the CRLF should be tolerated.
    stripped = line.rstrip(b" \t")
    if _PRINTABLE.fullmatch(stripped) is None and not (grammar.is_utf8 and _PRINTABLE_OR_UTF8.fullmatch(stripped)):
        return _malformed(500, "5.5.2 Only printable ASCII and CRLF may be in a command")
    try:
        verb, _, argument = stripped.decode("utf-8").partition(" ")
    except UnicodeDecodeError:
        return _malformed(500, "5.5.2 Not UTF-8")
    verb = verb.upper()
    if verb not in grammar.verbs:
        return _malformed(500, "5.5.1 Command not recognized")
    if not argument.isascii() and verb not in ("MAIL", "RCPT", "VRFY", "EXPN"):
        return _malformed(500, "5.5.2 Only printable ASCII may be here")  # RFC 6531 section 3.7.4: VRFY may have UTF-8
    command = _PARSERS[verb](argument, grammar)
    return Malformed(command.reply, verb) if isinstance(command, Malformed) else command


def _parse_ehlo(argument: str, grammar: Grammar) -> Command:
    return _parse_hello(argument, is_extended=True)


def _parse_helo(argument: str, grammar: Grammar) -> Command:
    return _parse_hello(argument, is_extended=False)


def _parse_hello(argument: str, *, is_extended: bool) -> Command:
    if _WORD.fullmatch(argument) is None:
        return _malformed(501, "5.5.4 One domain or address literal is needed")
    return Hello(argument, is_extended)


def _parse_mail(argument: str, grammar: Grammar) -> Command:
    fields = _split_path(argument, "FROM:")
    if fields is None:
        return _malformed(501, "5.5.4 Syntax: MAIL FROM:<reverse-path> [parameters]")
    try:
        reverse_path = parse_reverse_path(fields[0], is_utf8=grammar.is_utf8)
    except SmtpSyntaxError as error:
        return _malformed(501, f"5.1.7 Bad reverse-path: {error}")
    try:
        mail = MailFrom(reverse_path, parameters=split_parameters(fields[1]))
        for keyword, value in mail.parameters:
            if keyword not in grammar.mail_parameters:
                return _malformed(555, "5.5.4 MAIL parameter not recognized")
            mail = _with_parameter(mail, keyword, value, grammar)
    except SmtpSyntaxError as error:
        return _malformed(501, f"5.5.4 {error}")
    return mail


def _with_parameter(mail: MailFrom, keyword: str, value: str, grammar: Grammar) -> MailFrom:
    match keyword:
        case "SIZE":
            return replace(mail, size=parse_size(value))
        case "BODY":
            return replace(mail, body=parse_body(value, is_binary_offered=grammar.is_binary))
        case "SMTPUTF8":
            return replace(mail, is_smtputf8=parse_flag(keyword, value))
        case "RET":
            return replace(mail, ret=parse_ret(value))
        case "ENVID":
            return replace(mail, envid=parse_envid(value))
        case "AUTH":
            return replace(mail, auth=parse_auth(value))
        case "REQUIRETLS":
            return replace(mail, requires_tls=parse_flag(keyword, value))
        case _:
            assert keyword == "XIDEMPOTENT", keyword
            return replace(mail, idempotency_key=parse_key(value))


def _parse_rcpt(argument: str, grammar: Grammar) -> Command:
    fields = _split_path(argument, "TO:")
    if fields is None:
        return _malformed(501, "5.5.4 Syntax: RCPT TO:<forward-path>")
    try:
        forward_path = parse_forward_path(fields[0], is_utf8=grammar.is_utf8)
    except SmtpSyntaxError as error:
        return _malformed(501, f"5.1.3 Bad forward-path: {error}")
    if fields[1] and not grammar.rcpt_parameters:
        return _malformed(555, "5.5.4 RCPT parameter not recognized")
    dsn = NO_DSN
    try:
        for keyword, value in split_parameters(fields[1]):
            if keyword not in grammar.rcpt_parameters:
                return _malformed(555, "5.5.4 RCPT parameter not recognized")
            if keyword == "NOTIFY":
                dsn = replace(dsn, notify=parse_notify(value))
            else:
                dsn = replace(dsn, orcpt=parse_orcpt(value))
    except SmtpSyntaxError as error:
        return _malformed(501, f"5.5.4 {error}")
    return RcptTo(forward_path, dsn)


def _parse_bdat(argument: str, grammar: Grammar) -> Command:
    chunk = _CHUNK.fullmatch(argument)
    if chunk is None:
        return _malformed(501, "5.5.4 Syntax: BDAT size [LAST]")
    return Bdat(int(chunk[1]), is_last=chunk[2] is not None)


def _parse_auth(argument: str, grammar: Grammar) -> Command:
    mechanism, _, initial = argument.partition(" ")
    if _MECHANISM.fullmatch(mechanism) is None or " " in initial:
        return _malformed(501, "5.5.4 Syntax: AUTH mechanism [initial-response]")
    return Auth(mechanism.upper(), initial or None)


def _parse_vrfy(argument: str, grammar: Grammar) -> Command:
    return Vrfy(argument) if argument else _malformed(501, "5.5.4 Syntax: VRFY string")


def _parse_expn(argument: str, grammar: Grammar) -> Command:
    return _malformed(502, "5.5.1 Command not implemented")


def _bare(command: Command) -> Parser:
    """A parser for a command that takes no argument."""

    def parse(argument: str, grammar: Grammar) -> Command:
        return _malformed(501, "5.5.4 No argument is allowed") if argument else command

    return parse


def _regardless(command: Command) -> Parser:
    """A parser for a command whose argument means nothing to us."""
    return lambda argument, grammar: command


_PARSERS: dict[str, Parser] = {
    "EHLO": _parse_ehlo,
    "LHLO": _parse_ehlo,
    "HELO": _parse_helo,
    "MAIL": _parse_mail,
    "RCPT": _parse_rcpt,
    "DATA": _bare(Data()),
    "BDAT": _parse_bdat,
    "STARTTLS": _bare(StartTls()),
    "AUTH": _parse_auth,
    "RSET": _bare(Rset()),
    "QUIT": _bare(Quit()),
    "NOOP": _regardless(Noop()),
    "HELP": _regardless(Help()),
    "VRFY": _parse_vrfy,
    "EXPN": _parse_expn,
}
VERBS = frozenset(_PARSERS)  # all that a server of ours may know


def _split_path(argument: str, keyword: str) -> tuple[str, str] | None:
    """The bracketed path behind the keyword, and what follows it. No space is allowed round the colon (section 3.3)."""
    if argument[: len(keyword)].upper() != keyword:
        return None
    fields = _PATH_AND_REST.fullmatch(argument, len(keyword))
    return None if fields is None else (fields[1], fields[2] or "")


def _malformed(code: int, text: str) -> Malformed:
    return Malformed(Reply(code, (text,)))


def _line(text: str) -> bytes:
    """Whatever a command is made of, it is one line."""
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise LocalProtocolError(f"control character in the command {text[:40]!r}")
    return text.encode("utf-8") + b"\r\n"
