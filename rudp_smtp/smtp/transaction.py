"""A mail transaction at the server: MAIL, its RCPTs, and why one of them is refused. RFC 5321 section 3.3, RFC 6531."""

from collections.abc import Callable
from dataclasses import dataclass

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp.address import parse_recipient
from rudp_smtp.smtp.commands import Hello, MailFrom, RcptTo
from rudp_smtp.smtp.config import Limits
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.parameters import NO_DSN, RecipientDsn
from rudp_smtp.smtp.reception import Reception, too_big
from rudp_smtp.smtp.replies import SERVICE_CLOSING, Reply

RecipientPolicy = Callable[[str], Reply | None]  # a forward-path -> the 4yz or 5yz refusal, or None to accept it

_NOT_ASCII = "5.6.7 An address beyond ASCII needs SMTPUTF8"  # RFC 6531 section 3.5


@dataclass(frozen=True, slots=True)
class Peer:
    """What is known of the client."""

    hello: Hello
    is_lmtp: bool
    is_encrypted: bool
    authenticated_as: str
    address: str  # "" if not known


class Transaction:
    """Owns what MAIL and RCPT said, from an accepted MAIL to the end of the mail data."""

    __slots__ = ("_dsn", "_forward_paths", "mail", "reception")

    def __init__(self, mail: MailFrom) -> None:
        self.mail = mail
        self.reception: Reception | None = None  # once mail data is under way
        self._forward_paths: list[str] = []
        self._dsn: list[RecipientDsn] = []

    @property
    def recipients(self) -> int:
        return len(self._forward_paths)

    def add(self, rcpt: RcptTo) -> None:
        self._forward_paths.append(rcpt.forward_path)
        self._dsn.append(rcpt.dsn)

    def envelope(self, peer: Peer, mail_data: bytes) -> Envelope:
        mail = self.mail
        return Envelope(
            mail.reverse_path,
            tuple(self._forward_paths),
            mail_data,
            parameters=mail.parameters,
            client_domain=peer.hello.domain,
            is_extended=peer.hello.is_extended,
            is_lmtp=peer.is_lmtp,
            is_encrypted=peer.is_encrypted,
            authenticated_as=peer.authenticated_as,
            client_address=peer.address,
            body=mail.body,
            is_smtputf8=mail.is_smtputf8,
            ret=mail.ret,
            envid=mail.envid,
            auth=mail.auth,
            dsn=tuple(self._dsn) if any(dsn != NO_DSN for dsn in self._dsn) else (),
            requires_tls=mail.requires_tls,
            idempotency_key=mail.idempotency_key,
        )


class Recipients:
    """Decides on senders and recipients: by the limits, by the operator's policy, and by whose domains are ours."""

    def __init__(self, limits: Limits, local_domains: tuple[str, ...], accepts: RecipientPolicy | None) -> None:
        self._limits = limits
        self._local_domains = frozenset(name.lower() for name in local_domains)
        self._accepts = accepts or self._refuse_relaying

    def refuse_mail(self, mail: MailFrom, mails_before: int) -> Reply | None:
        if self._limits.mails is not None and mails_before >= self._limits.mails:
            return Reply(452, (f"4.5.3 No more than {self._limits.mails} messages in a session",))
        if mail.size is not None and mail.size > self._limits.message_octets:
            return too_big(self._limits)
        if not mail.reverse_path.isascii() and not mail.is_smtputf8:
            return Reply(550, (_NOT_ASCII,))
        return None

    def refuse_rcpt(self, rcpt: RcptTo, transaction: Transaction) -> Reply | None:
        if transaction.recipients >= self._limits.recipients:
            # RFC 5321 section 4.5.3.1.10: 452 means the client sends the others in another transaction.
            return Reply(452, ("4.5.3 Too many recipients",))
        if not rcpt.forward_path.isascii() and not transaction.mail.is_smtputf8:
            return Reply(553, (_NOT_ASCII,))
        address = parse_recipient(rcpt.forward_path, is_utf8=True)
        is_local = not address.domain or address.domain.lower() in self._local_domains
        # RFC 5321 section 4.5.1: mail for the postmaster of a local domain is never refused.
        refusal = None if is_local and address.is_postmaster else self._accepts(rcpt.forward_path)
        if refusal is not None:
            check_refusal(refusal)
        return refusal

    def _refuse_relaying(self, forward_path: str) -> Reply | None:
        is_local = parse_recipient(forward_path, is_utf8=True).domain.lower() in self._local_domains
        return None if is_local else Reply(550, ("5.7.1 We do not relay",))


def check_refusal(reply: Reply) -> None:
    """The client would take anything else for an acceptance, or for the end of the session."""
    if reply.code == SERVICE_CLOSING or not (reply.is_transient or reply.is_permanent):
        raise LocalProtocolError(f"{reply.code} refuses neither a recipient nor a message")
