"""A message on its way at the client: the transactions that its recipients are split into, and what became of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rudp_smtp.errors import LocalProtocolError, SmtpSyntaxError
from rudp_smtp.smtp.address import parse_mailbox, parse_recipient
from rudp_smtp.smtp.body import MailSource
from rudp_smtp.smtp.commands import MailFrom, RcptTo
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.events import DeliveryReport, Outcome
from rudp_smtp.smtp.lines import CRLF, first_defect
from rudp_smtp.smtp.parameters import KEY_OCTETS, NO_DSN, NO_IDENTITY, BodyType, check_envid, check_key
from rudp_smtp.smtp.replies import Reply

TOO_MANY_RECIPIENTS = 452  # RFC 5321 section 4.5.3.1.10; other reasons have other enhanced status codes

# The fate of the recipient that fared best decides; what may still arrive goes before what certainly did not.
_BEST_FIRST = (Outcome.ACCEPTED, Outcome.UNCONFIRMED, Outcome.UNSENT, Outcome.DEFERRED, Outcome.REFUSED)


@dataclass(slots=True, eq=False)
class Transaction:
    """One MAIL with some of the message's recipients, and what was said about it so far."""

    message: "Message"
    indices: tuple[int, ...]  # of the message's recipients
    is_chunked: bool
    recipients_written: int = 0
    mail_reply: Reply | None = None
    recipient_replies: list[Reply] = field(default_factory=list)  # in the order of the forward-paths
    chunk_refusal: Reply | None = None  # of the first chunk that was refused
    is_text_sent: bool = False  # handed out to its very end, to somebody: it may have arrived

    @property
    def is_mail_refused(self) -> bool:
        return self.mail_reply is not None and not self.mail_reply.is_positive

    @property
    def has_recipient(self) -> bool:
        return not self.is_mail_refused and any(reply.is_positive for reply in self.recipient_replies)

    @property
    def forward_paths(self) -> list[str]:
        return [self.message.envelope.forward_paths[index] for index in self.indices]

    @property
    def has_rest(self) -> bool:
        """Some of its recipients are for another transaction."""
        return self.has_recipient and any(map(_is_one_too_many, self.recipient_replies))

    def next_rcpt(self) -> RcptTo:
        envelope, index = self.message.envelope, self.indices[self.recipients_written]
        self.recipients_written += 1
        return RcptTo(envelope.forward_paths[index], envelope.dsn_of(index) if self.message.is_dsn_offered else NO_DSN)

    def refusals(self) -> list[Reply | None]:
        """The server's no to each recipient, as far as the replies have come; None: it has not said no."""
        if self.is_mail_refused:
            return [self.mail_reply] * len(self.indices)
        replies = [None if reply.is_positive else reply for reply in self.recipient_replies]
        replies += [None] * (len(self.indices) - len(replies))
        return [reply or self.chunk_refusal for reply in replies]

    def verdicts(self, decision: Reply) -> tuple[Reply, list[Reply]]:
        """What decided, and the reply of each recipient; `decision` answers the last command that mattered."""
        if self.mail_reply is not None and self.is_mail_refused:
            return self.mail_reply, [self.mail_reply] * len(self.indices)
        if self.has_recipient:
            decision = self.chunk_refusal or decision
            return decision, [decision if reply.is_positive else reply for reply in self.recipient_replies]
        replies = self.recipient_replies
        return next((reply for reply in replies if reply.is_transient), replies[-1]), replies


class Message:
    """Owns what is known of a submitted message, until its report."""

    def __init__(self, token: int, envelope: Envelope, source: MailSource | None) -> None:
        self.token = token
        self.envelope = envelope
        self.source = source
        self.is_dsn_offered = False
        self.open: list[Transaction] = []
        self._left = list(range(len(envelope.forward_paths)))  # the recipients that no transaction has yet
        self._accepted: list[str] = []
        self._refused: list[tuple[str, Reply]] = []
        self._refused_here: list[str] = []
        self._decision: tuple[Outcome, Reply, bool] | None = None

    @property
    def size(self) -> int | None:
        return len(self.envelope.mail_data) if self.source is None else self.source.size

    @property
    def is_assigned(self) -> bool:
        """Every recipient is in a transaction, or past one."""
        return not self._left

    @property
    def is_over(self) -> bool:
        return self.is_assigned and not self.open

    def begin(self, limits: Mapping[str, int], *, is_chunked: bool) -> Transaction:
        """A transaction for as many of the recipients that are left as the server takes at once."""
        paths = self.envelope.forward_paths
        indices: list[int] = []
        domains: set[str] = set()
        for index in self._left[: limits.get("RCPTMAX")]:
            domains.add(paths[index].rpartition("@")[2].lower())
            if len(domains) > limits.get("RCPTDOMAINMAX", len(paths)):
                break
            indices.append(index)
        del self._left[: len(indices)]
        transaction = Transaction(self, tuple(indices), is_chunked)
        self.open.append(transaction)
        return transaction

    def settle(self, transaction: Transaction, decision: Reply) -> None:
        """A transaction came to its end."""
        self.open.remove(transaction)
        decision, replies = transaction.verdicts(decision)
        for index, reply in zip(transaction.indices, replies, strict=True):
            if reply.is_positive:
                self._accepted.append(self.envelope.forward_paths[index])
            elif _is_one_too_many(reply) and transaction.has_recipient:
                # RFC 5321 section 4.5.3.1.10: those go in another transaction, which one accepted recipient at least
                # makes shorter than this one.
                self._left.append(index)
            else:
                self._refused.append((self.envelope.forward_paths[index], reply))
        self._note(_outcome(decision), decision, is_local=False)

    def give_up(self, reply: Reply, *, is_local: bool, outcome: Outcome = Outcome.UNSENT, is_read: bool = True) -> None:
        """Nothing more will be heard of it. What was wholly sent may have arrived, if the server still read it.

        Whom the server has refused before is and stays refused.
        """
        for transaction in self.open:
            refusals = transaction.refusals()
            fate = Outcome.UNCONFIRMED if is_read and transaction.is_text_sent else outcome
            for path, refusal in zip(transaction.forward_paths, refusals, strict=True):
                if refusal is None:
                    self._drop([path], fate, reply, is_local=is_local)
                else:
                    self._drop([path], _outcome(refusal), refusal, is_local=False)
        self.open.clear()
        self.give_up_rest(reply, is_local=is_local, outcome=outcome)

    def give_up_rest(self, reply: Reply, *, is_local: bool, outcome: Outcome = Outcome.UNSENT) -> None:
        """No other transaction will be begun. Those that are open go on."""
        paths = self.envelope.forward_paths
        self._drop([paths[index] for index in self._left], outcome, reply, is_local=is_local)
        self._left.clear()

    def report(self) -> DeliveryReport:
        assert self._decision is not None
        outcome, reply, is_local = self._decision
        accepted, refused, here = tuple(self._accepted), tuple(self._refused), tuple(self._refused_here)
        return DeliveryReport(self.token, outcome, accepted, refused, reply, is_local, here)

    def _drop(self, paths: Iterable[str], outcome: Outcome, reply: Reply, *, is_local: bool) -> None:
        refused = [(path, reply) for path in paths]
        self._refused += refused
        self._refused_here += [path for path, _ in refused if is_local]
        if refused:
            self._note(outcome, reply, is_local=is_local)

    def _note(self, outcome: Outcome, reply: Reply, *, is_local: bool) -> None:
        if self._decision is None or _BEST_FIRST.index(outcome) < _BEST_FIRST.index(self._decision[0]):
            self._decision = (outcome, reply, is_local)


def mail_command(
    message: Message, extensions: Mapping[str, str], *, is_encrypted: bool, is_authenticated: bool
) -> MailFrom | Reply:
    """The MAIL that a message needs, or why it cannot be sent to a server that offers no more than this."""
    envelope, size = message.envelope, message.size
    declared = extensions.get("SIZE", "")
    if size is not None and declared.isdecimal() and 0 < int(declared) < size:  # RFC 1870 section 4: 0 is no limit
        return Reply(552, (f"5.3.4 {size} octets are over the server's limit of {declared}",))
    body = _body(message, extensions)
    if isinstance(body, Reply):
        return body
    is_smtputf8 = envelope.is_smtputf8 or not all(
        path.isascii() for path in (envelope.reverse_path, *envelope.forward_paths)
    )
    if is_smtputf8 and "SMTPUTF8" not in extensions:
        return Reply(553, ("5.6.7 Addresses beyond ASCII, and the server does not offer SMTPUTF8",))
    can_require_tls = is_encrypted and "REQUIRETLS" in extensions
    if envelope.requires_tls and envelope.reverse_path and not can_require_tls:
        return Reply(550, ("5.7.30 REQUIRETLS support required, and the server or its certificate has it not",))
    message.is_dsn_offered = "DSN" in extensions
    return MailFrom(
        envelope.reverse_path,
        size if "SIZE" in extensions else None,
        body,
        is_smtputf8=is_smtputf8,
        ret=envelope.ret if message.is_dsn_offered else None,
        envid=envelope.envid if message.is_dsn_offered else "",
        # RFC 4954 section 5: "<>" only where it must be said, for not every server that offers AUTH knows it.
        auth=envelope.auth if "AUTH" in extensions and (is_authenticated or envelope.auth != NO_IDENTITY) else "",
        # RFC 8689 section 5: a notice goes on to a server that cannot promise it, rather than be lost.
        requires_tls=envelope.requires_tls and can_require_tls,
        idempotency_key=envelope.idempotency_key if takes_key(extensions, envelope.idempotency_key) else "",
    )


def takes_key(extensions: Mapping[str, str], key: str) -> bool:
    """A server that offers this delivers a message under this key once, however often it comes."""
    octets = extensions.get("XIDEMPOTENT", "0")
    return len(key) <= (int(octets) if octets.isdecimal() else KEY_OCTETS)


def _body(message: Message, extensions: Mapping[str, str]) -> BodyType | Reply | None:
    envelope = message.envelope
    if envelope.body is BodyType.BINARY_MIME:
        if "BINARYMIME" in extensions and "CHUNKING" in extensions:
            return BodyType.BINARY_MIME
        return Reply(554, ("5.6.3 Mail data is binary and the server does not offer BINARYMIME",))
    if "8BITMIME" in extensions:
        is_declared = message.source is not None or envelope.body is BodyType.EIGHT_BIT_MIME
        return BodyType.EIGHT_BIT_MIME if is_declared or not envelope.mail_data.isascii() else None
    if not envelope.mail_data.isascii():
        # RFC 6152 section 3: convert to 7 bits or give up. We never change a message.
        return Reply(554, ("5.6.3 Mail data has 8-bit octets and the server does not offer 8BITMIME",))
    return None


def _is_one_too_many(reply: Reply) -> bool:
    return reply.code == TOO_MANY_RECIPIENTS and reply.status in ("", "4.5.3")


def _outcome(reply: Reply) -> Outcome:
    if reply.is_positive:
        return Outcome.ACCEPTED
    return Outcome.DEFERRED if reply.is_transient else Outcome.REFUSED


def check_envelope(envelope: Envelope, source: MailSource | None) -> None:
    """Raise at the caller what SMTP cannot carry as it stands."""
    if not envelope.forward_paths:
        raise LocalProtocolError("envelope without a forward-path")
    try:
        if envelope.reverse_path:
            parse_mailbox(envelope.reverse_path, is_utf8=True)
        if envelope.auth not in ("", NO_IDENTITY):
            parse_mailbox(envelope.auth)
        for path in envelope.forward_paths:
            parse_recipient(path, is_utf8=True)
    except SmtpSyntaxError as error:
        raise LocalProtocolError(f"envelope address: {error}") from None
    if envelope.dsn and len(envelope.dsn) != len(envelope.forward_paths):
        raise LocalProtocolError(f"{len(envelope.dsn)} notices for {len(envelope.forward_paths)} forward-paths")
    check_envid(envelope.envid)
    check_key(envelope.idempotency_key)
    if source is not None and envelope.mail_data:
        raise LocalProtocolError("mail data in the envelope and from a source")
    if envelope.body is BodyType.BINARY_MIME:
        return
    if envelope.mail_data and not envelope.mail_data.endswith(CRLF):
        raise LocalProtocolError("mail data that does not end in CRLF")
    defect = first_defect(envelope.mail_data)
    if defect is not None:
        raise LocalProtocolError(f"mail data with {defect}")
