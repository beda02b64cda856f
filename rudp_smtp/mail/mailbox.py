"""Where accepted messages end up: the Mailbox protocol, a mailbox in memory, and the way from a server into one."""

from dataclasses import dataclass
from typing import Protocol, assert_never

from rudp_smtp.errors import KeyConflict, LocalProtocolError, MailboxError
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.events import MailAborted, MailData, MailReceived, MailStarted, SessionEnded
from rudp_smtp.smtp.replies import Reply
from rudp_smtp.smtp.server import Server


class Mailbox(Protocol):
    """Makes messages safe."""

    def deliver(self, envelope: Envelope, now: int) -> None:
        """Keep the message, as durably as this mailbox can, or raise MailboxError and keep nothing of it."""


@dataclass(frozen=True, slots=True)
class DeliveredMail:
    envelope: Envelope
    arrived_at: int


class MemoryMailbox:
    """Keeps every message, exactly as received and in order of arrival."""

    def __init__(self) -> None:
        self.messages: list[DeliveredMail] = []

    def deliver(self, envelope: Envelope, now: int) -> None:
        self.messages.append(DeliveredMail(envelope, now))


def deliver_received(server: Server, mailbox: Mailbox, now: int) -> SessionEnded | None:
    """Drain a server's events into the mailbox, answering each message; the end of the session if it came."""
    while (event := server.next_event()) is not None:
        match event:
            case MailReceived():
                _deliver_one(server, mailbox, event.envelope, now)
            case MailStarted() | MailData() | MailAborted():
                raise LocalProtocolError("this mailbox takes whole messages: Limits.held_octets has to be None")
            case SessionEnded():
                return event
            case _:
                assert_never(event)
    return None


def refusal(error: MailboxError) -> Reply:
    """How a server answers for a message that was not kept."""
    match error:
        case KeyConflict():
            return Reply(554, ("5.5.4 The idempotency key stands for another message",))
        case _ if error.is_full:
            return Reply(452, ("4.3.1 Insufficient storage",))
        case _:
            return Reply(451, ("4.3.0 The mailbox is out of order",))


def _deliver_one(server: Server, mailbox: Mailbox, envelope: Envelope, now: int) -> None:
    try:
        mailbox.deliver(envelope, now)
    except MailboxError as error:
        server.reject_mail(refusal(error))
    else:
        server.accept_mail()
