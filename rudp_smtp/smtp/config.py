"""What a server lets a client do, and what it offers beyond RFC 5321: bounds, policies and extensions."""

from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from rudp_smtp.smtp.commands import BASIC_VERBS, COMMAND_LINE_OCTETS, Grammar
from rudp_smtp.smtp.lines import TEXT_LINE_OCTETS
from rudp_smtp.smtp.parameters import KEY_OCTETS


class StrayOctets(Enum):
    """What to do with mail data that holds a bare CR, a bare LF or a NUL. None of them ever ends a line."""

    REJECT = auto()
    KEEP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one session. The first three are the least that RFC 5321 section 4.5.3.1 lets a server ask for."""

    command_line_octets: int = COMMAND_LINE_OCTETS
    text_line_octets: int = TEXT_LINE_OCTETS
    recipients: int = 100
    message_octets: int = 32 * 1024 * 1024
    errors: int = 20  # commands out of syntax or order before 421
    idle_commands: int = 1000  # one behind the other without a message that is accepted, before 421
    chunk_octets_min: int = 1000  # of a chunk of BDAT that is not counted among them
    buffered_octets: int = 256 * 1024  # pipelined input that may wait while the application decides
    held_octets: int | None = None  # mail data above is handed on as it comes; None: all of it in one piece at the end
    mails: int | None = None  # transactions in a session
    received_fields: int = 100  # RFC 5321 section 6.3: a message with more goes round in circles
    authentication_failures: int = 3
    stray_octets: StrayOctets = StrayOctets.REJECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """What EHLO announces beside PIPELINING, SIZE, 8BITMIME and ENHANCEDSTATUSCODES."""

    is_chunking: bool = False  # CHUNKING and BINARYMIME, RFC 3030
    is_smtputf8: bool = False  # RFC 6531
    is_dsn: bool = False  # RFC 3461: who says so must honour it
    is_limits: bool = False  # RFC 9422
    is_requiretls: bool = False  # RFC 8689, in a session with TLS
    is_idempotent: bool = False  # ours: see `parameters`

    @cache  # noqa: B019 - few are ever made, and every session asks
    def grammar(self, *, is_lmtp: bool, is_encrypted: bool, has_tls: bool, has_authentication: bool) -> Grammar:
        """What may be said in a session that is so far."""
        verbs = BASIC_VERBS - {"EHLO", "HELO"} | {"LHLO"} if is_lmtp else BASIC_VERBS
        mail = {"SIZE", "BODY"}
        if self.is_smtputf8:
            mail |= {"SMTPUTF8"}
        if self.is_dsn:
            mail |= {"RET", "ENVID"}
        if self.is_idempotent:
            mail |= {"XIDEMPOTENT"}
        if self.is_requiretls and is_encrypted:
            mail |= {"REQUIRETLS"}
        if has_authentication:
            mail |= {"AUTH"}
        return Grammar(
            verbs
            | ({"BDAT"} if self.is_chunking else set())
            | ({"STARTTLS"} if has_tls else set())
            | ({"AUTH"} if has_authentication else set()),
            frozenset(mail),
            frozenset({"NOTIFY", "ORCPT"} if self.is_dsn else ()),
            is_binary=self.is_chunking,
            is_utf8=self.is_smtputf8,
        )

    def keywords(self, limits: Limits, *, is_encrypted: bool) -> list[str]:
        """The lines of a hello's reply that these extensions add."""
        mails = "" if limits.mails is None else f" MAILMAX={limits.mails}"
        lines = (
            (self.is_chunking, "CHUNKING"),
            (self.is_chunking, "BINARYMIME"),
            (self.is_smtputf8, "SMTPUTF8"),
            (self.is_dsn, "DSN"),
            (self.is_limits, f"LIMITS RCPTMAX={limits.recipients}{mails}"),
            (self.is_requiretls and is_encrypted, "REQUIRETLS"),
            (self.is_idempotent, f"XIDEMPOTENT {KEY_OCTETS}"),
        )
        return [line for is_offered, line in lines if is_offered]
