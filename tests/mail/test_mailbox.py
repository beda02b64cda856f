"""The way from a server into a mailbox, and what the client hears of it."""

import pytest

from rudp_smtp.errors import KeyConflict, MailboxError
from rudp_smtp.mail.mailbox import DeliveredMail, MemoryMailbox, deliver_received
from rudp_smtp.smtp import Envelope, Server, SessionEnded

MESSAGE = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@mx.example>\r\nDATA\r\ntext\r\n.\r\n"
ENVELOPE = Envelope("", ("u@mx.example",), b"text\r\n")


class BrokenMailbox:
    def __init__(self, error: MailboxError) -> None:
        self._error = error

    def deliver(self, envelope: Envelope, now: int) -> None:
        raise self._error


def test_what_was_received_is_kept_with_its_time_and_answered() -> None:
    server, mailbox = Server(domain="mx.example"), MemoryMailbox()
    server.receive_data(MESSAGE + MESSAGE)
    assert deliver_received(server, mailbox, now=5) is None
    assert mailbox.messages == [DeliveredMail(ENVELOPE, 5), DeliveredMail(ENVELOPE, 5)]
    assert server.data_to_send().count(b"250 2.0.0 Message accepted\r\n") == 2


def test_the_end_of_the_session_is_told() -> None:
    server = Server(domain="mx.example")
    server.receive_data(MESSAGE + b"QUIT\r\n")
    assert deliver_received(server, MemoryMailbox(), now=0) == SessionEnded("QUIT", is_clean=True)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (MailboxError("full", is_full=True), b"452 4.3.1 "),
        (MailboxError("broken"), b"451 4.3.0 "),
        (KeyConflict("another"), b"554 5.5.4 "),
    ],
)
def test_a_mailbox_that_fails_says_whether_the_client_may_try_again(error: MailboxError, answer: bytes) -> None:
    server = Server(domain="mx.example")
    server.receive_data(MESSAGE)
    server.data_to_send()
    deliver_received(server, BrokenMailbox(error), now=0)
    assert server.data_to_send().startswith(answer)
