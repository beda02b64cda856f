"""The values the queue takes and gives. Times are ns since the Unix epoch."""

from dataclasses import dataclass

from rudp_smtp.mail.spool import Draft
from rudp_smtp.mail.state import RecipientInput, RecipientState

TLS_OPTIONAL = ("TLS-REQUIRED", "NO")  # RFC 8689 section 3: what the header says; no parameter, but kept as one


@dataclass(frozen=True, slots=True)
class Recipient:
    """A forward-path, and what the sender asked to be told of it (RFC 3461 section 4.1, 4.2)."""

    forward_path: str
    notify: tuple[str, ...] = ()  # NEVER, or any of SUCCESS, FAILURE, DELAY; empty: nothing was said
    original: str = ""  # ORCPT: an address type, a semicolon and the address, its xtext decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An accepted message without its octets.

    `key`: the idempotency key, "" for none. Who takes keys from clients that do not trust each other puts the client's
    name in front of it.
    """

    reverse_path: str
    recipients: tuple[Recipient, ...]
    envelope_id: str = ""  # ENVID, its xtext decoded
    returns: str = ""  # RET: FULL, HDRS or nothing
    parameters: tuple[tuple[str, str], ...] = ()  # of MAIL, to be said to the next hop too: BODY, SMTPUTF8, ...
    key: str = ""

    @property
    def is_tls_optional(self) -> bool:
        """It would rather go without TLS than not at all."""
        return TLS_OPTIONAL in self.parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRecipient:
    recipient_id: int
    recipient: Recipient
    state: RecipientState
    attempts: int
    next_attempt: int
    reply: str  # the last one, "" before the first attempt
    is_delay_told: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMail:
    message_id: int
    submission: Submission
    arrived_at: int
    octets: int
    recipients: tuple[QueuedRecipient, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRecipient:
    """A recipient whose time has come, with what is needed to decide where to try."""

    message_id: int
    recipient_id: int
    forward_path: str
    attempts: int
    next_attempt: int
    arrived_at: int
    is_delay_told: bool
    is_tls_optional: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one recipient. `happening`: DELIVER, DEFER or FAIL."""

    recipient_id: int
    happening: RecipientInput
    reply: str
    next_attempt: int = 0
    is_attempt: bool = True  # not when it was only put off because its destination is down
    is_delay_told: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one attempt came to, and the notices about it: all of it becomes durable at once, or nothing."""

    message_id: int
    results: tuple[Result, ...]
    notices: tuple[Draft[Submission], ...] = ()
