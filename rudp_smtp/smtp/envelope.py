"""Envelope: what SMTP carries, RFC 5321 section 2.3.1."""

from dataclasses import dataclass, field

from rudp_smtp.smtp.parameters import NO_DSN, NO_IDENTITY, BodyType, RecipientDsn, Ret


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who it is from, who gets it, and the mail data: whole lines ending in CRLF, or nothing at all.

    Addresses are written without angle brackets; a reverse-path of "" is the null path `<>`. Only with a body of
    BINARYMIME may the mail data be any octets. What is not compared are facts about the session it came by, for trace
    fields and policies, and no part of what makes two envelopes equal.
    """

    reverse_path: str
    forward_paths: tuple[str, ...]
    mail_data: bytes
    parameters: tuple[tuple[str, str], ...] = field(default=(), compare=False)  # of MAIL, as received: SIZE, BODY
    client_domain: str = field(default="", compare=False)  # what the client called itself in HELO or EHLO
    is_extended: bool = field(default=False, compare=False)  # EHLO, not HELO
    is_lmtp: bool = field(default=False, compare=False)
    is_encrypted: bool = field(default=False, compare=False)
    authenticated_as: str = field(default="", compare=False)
    client_address: str = field(default="", kw_only=True, compare=False)  # its IP address, if known
    body: BodyType | None = field(default=None, kw_only=True, compare=False)  # what MAIL declared
    is_smtputf8: bool = field(default=False, kw_only=True)  # RFC 6531: addresses or header fields are UTF-8
    ret: Ret | None = field(default=None, kw_only=True)  # RFC 3461, as are the next two
    envid: str = field(default="", kw_only=True)
    dsn: tuple[RecipientDsn, ...] = field(default=(), kw_only=True)  # of each forward-path, or () if no RCPT said any
    auth: str = field(default="", kw_only=True)  # RFC 4954 section 5: who submitted it first, as MAIL said
    requires_tls: bool = field(default=False, kw_only=True)  # RFC 8689: refuse rather than send it in the clear
    is_tls_optional: bool = field(
        default=False, kw_only=True, compare=False
    )  # RFC 8689: its header says so; see `header`
    idempotency_key: str = field(default="", kw_only=True)  # see `parameters`; "" if the client gave none

    def dsn_of(self, index: int) -> RecipientDsn:
        """What the RCPT of one forward-path said of notices."""
        return self.dsn[index] if self.dsn else NO_DSN

    @property
    def own_key(self) -> str:
        """The idempotency key as it is kept, "" for none: clients that logged in do not meet each other's."""
        return f"{self.authenticated_as} {self.idempotency_key}" if self.idempotency_key else ""

    @property
    def vouched(self) -> str:
        """What the next server may be told of who submitted it first: `auth` of one who has proven to be that one.

        RFC 4954 section 5 leaves to us whom we believe. A client's own name stands for its mailbox, whole or as local
        part; whatever else it says, and all that is said without authentication, is NO_IDENTITY to us.
        """
        if not self.authenticated_as:
            return NO_IDENTITY
        mine = self.authenticated_as.lower()
        is_own = mine in (self.auth.lower(), self.auth.rpartition("@")[0].lower())
        return self.auth if is_own or not self.auth else NO_IDENTITY

    @property
    def protocol(self) -> str:
        """The `with` of its Received field: RFC 5321 section 4.4, RFC 3848, RFC 6531 section 4.3."""
        if not self.is_extended:
            return "SMTP"
        secured = ("S" if self.is_encrypted else "") + ("A" if self.authenticated_as else "")
        if self.is_smtputf8:
            return f"UTF8{'LMTP' if self.is_lmtp else 'SMTP'}{secured}"
        return f"{'LMTP' if self.is_lmtp else 'ESMTP'}{secured}"
