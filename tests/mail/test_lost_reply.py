"""The lost 250 (RFC 1047), from queue to Maildir: without a key it doubles mail, with one it never does."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.maildir import Maildir
from rudp_smtp.mail.notices import Notifier
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queued import Recipient, Submission
from rudp_smtp.mail.relay import Attempt, Fate, Relay
from rudp_smtp.mail.transit import envelope_of
from rudp_smtp.smtp import Client, DeliveryReport, Extensions, MailReceived, Server
from rudp_smtp.units import SECOND

NOW = 1_700_000_000 * SECOND
BEFORE_THE_ANSWER = 235  # octets of replies: 354 was said, 250 for the message was not
TEXT = b"Subject: once\r\n\r\ntext\r\n"


class Way:
    """Queue, relay, client -- a connection that is cut after so many octets of replies -- server, Maildir."""

    def __init__(self, path: Path, *, is_idempotent: bool) -> None:
        self._extensions = Extensions(is_idempotent=is_idempotent)
        self._names = count()
        self._path = path
        self.queue = Queue(path / "queue", identity="sender-7f3a")
        self.relay = Relay(route=lambda path: "mx", draws=DrawKey(1, "relay"))
        self.notifier = Notifier(self.queue, self.relay, domain="a.example", token=lambda: "token", host_of=str)
        self.now = NOW

    def send(self) -> None:
        draft = self.queue.begin(Submission(reverse_path="s@a.example", recipients=(Recipient("u@mx.example"),)))
        draft.write(TEXT)
        self.queue.commit([draft], self.now)

    def run(self, cuts: Iterator[int | None]) -> int:
        """Until the queue is empty; how many attempts it took."""
        attempts = 0
        while (moment := self.queue.index.next_due()) is not None:
            self.now = max(self.now, moment)
            plan = self.relay.plan(self.queue.index.due(self.now), self.now)
            fates = list(plan.fates)
            for attempt in plan.attempts:
                attempts += 1
                fates += self._try(attempt, next(cuts))
            self.notifier.settle(fates, self.now)
        return attempts

    def _try(self, attempt: Attempt, cut: int | None) -> tuple[Fate, ...]:
        mail = self.queue.index.mail(attempt.message_id)
        assert mail is not None
        paths = [recipient.forward_path for recipient in attempt.recipients]
        body = b"".join(self.queue.index.body(attempt.message_id))
        client = Client(domain="a.example")
        client.submit(envelope_of(mail, paths, key=self.queue.relay_key(mail.message_id), mail_data=body), 0)
        client.quit()
        report = self._talk(client, cut)
        return self.relay.on_report(attempt, report, self.now, success=None)

    def _talk(self, client: Client, cut: int | None) -> DeliveryReport:
        """One session. The server is another process each time: nothing of it survives but its Maildir."""
        maildir = Maildir(self._path / "box", domain="mx.example", unique=lambda: f"Q{next(self._names)}")
        server = Server(domain="mx.example", extensions=self._extensions)
        heard = 0
        while not client.done:
            said = server.data_to_send()
            allowed = said if cut is None else said[: max(0, cut - heard)]
            heard += len(allowed)
            client.receive_data(allowed)
            if len(allowed) < len(said):
                client.receive_eof()
            server.receive_data(client.data_to_send())
            self._serve(server, maildir)
        maildir.close()
        events = list(iter(client.next_event, None))
        (report,) = [event for event in events if isinstance(event, DeliveryReport)]
        return report

    def _serve(self, server: Server, maildir: Maildir) -> None:
        while (event := server.next_event()) is not None:
            if isinstance(event, MailReceived):
                draft = maildir.begin(event.envelope, self.now, event.envelope.idempotency_key)
                draft.write(event.envelope.mail_data)
                (outcome,) = maildir.commit([draft], self.now)
                assert not isinstance(outcome, MailboxError)
                server.accept_mail(outcome.answer)

    def delivered(self) -> list[bytes]:
        return [file.read_bytes() for file in (self._path / "box" / "new").iterdir()]


def copies(path: Path, cut: int, *, is_idempotent: bool) -> int:
    """How often the message is in the Maildir when the first session is cut after so many octets of replies."""
    way = Way(path, is_idempotent=is_idempotent)
    way.send()
    way.run(iter([cut, None]))
    found = way.delivered()
    assert all(octets.endswith(b"\r\n" + TEXT) for octets in found)
    way.queue.close()
    return len(found)


def test_with_a_key_mail_is_delivered_exactly_once_wherever_the_session_is_cut(tmp_path: Path) -> None:
    assert {copies(tmp_path / f"{cut}", cut, is_idempotent=True) for cut in range(0, 330, 6)} == {1}


def test_without_a_key_the_window_is_real(tmp_path: Path) -> None:
    found = [copies(tmp_path / f"{cut}", cut, is_idempotent=False) for cut in range(0, 330, 10)]
    assert set(found) == {1, 2}


@pytest.mark.parametrize("lost", [1, 5])
def test_a_reply_that_is_lost_again_and_again_makes_no_more_copies(tmp_path: Path, lost: int) -> None:
    way = Way(tmp_path / "way", is_idempotent=True)
    way.send()

    def cuts() -> Iterator[int | None]:
        for _ in range(lost):
            yield BEFORE_THE_ANSWER
            assert len(way.delivered()) == 1, "it had arrived, and the sender does not know"
        yield None

    assert way.run(cuts()) == lost + 1
    assert len(way.delivered()) == 1
    way.queue.close()
