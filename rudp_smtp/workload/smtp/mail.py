"""Mail: a message on its way from the sender's hands to its row in the report."""

from dataclasses import dataclass

from rudp_smtp.smtp import Envelope
from rudp_smtp.workload import Delivery


def client_domain(session: int) -> str:
    """What a session calls itself in EHLO; copies in the mailbox are told apart by it."""
    return f"session-{session}.client.example"


def domain_session(domain: str) -> int | None:
    """The inverse of `client_domain`; None for any other name."""
    number = domain.removeprefix("session-").removesuffix(".client.example")
    is_own = number.isascii() and number.isdecimal() and len(number) < 10 and client_domain(int(number)) == domain
    return int(number) if is_own else None


@dataclass(slots=True, eq=False)
class Mail:
    """A message to be sent, from when on, and its row so far."""

    envelope: Envelope
    due_at: int
    row: Delivery
