"""Sessions that share a store: mail data goes to the disk as it comes, and one commit answers all of them."""

import errno
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from rudp_smtp.mail.intake import Intake
from rudp_smtp.mail.maildir import Delivery, Maildir
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queued import Submission
from rudp_smtp.mail.received import received_field
from rudp_smtp.mail.spool import Draft
from rudp_smtp.mail.transit import submission_of
from rudp_smtp.smtp import Limits, Server, SessionEnded
from rudp_smtp.smtp.config import Extensions
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.lines import encode_text
from rudp_smtp.units import SECOND
from tests.mail.disks import WeakDisk

NOW = 1_700_000_000 * SECOND
SHORT = b"Subject: short\r\n\r\n.dot\r\n"
LONG = b"Subject: long\r\n\r\n" + b".a line of a long message\r\n" * 20_000


class Sessions:
    """Several clients that write, and a driver that commits for all of them at once."""

    def __init__(self, queue: Queue, how_many: int) -> None:
        self._queue = queue
        self.servers = [
            Server(
                domain="mx.example",
                limits=Limits(held_octets=4096),
                extensions=Extensions(is_idempotent=True),
                accepts=lambda path: None,
            )
            for _ in range(how_many)
        ]
        self.intakes = [Intake(server, self.begin) for server in self.servers]
        self.ended: list[SessionEnded] = []

    def begin(self, envelope: Envelope) -> Draft[Submission]:
        return self._queue.begin(submission_of(envelope), received_field(envelope, domain="mx.example", now=NOW))

    def commit(self, waiting: dict[int, Draft[Submission]]) -> list[bytes]:
        """What each client hears then."""
        for server in self.servers:
            server.data_to_send()
        outcomes = self._queue.commit(list(waiting.values()), NOW)
        for number, outcome in zip(waiting, outcomes, strict=True):
            self.intakes[number].answer(outcome)
        return [self.servers[number].data_to_send() for number in waiting]

    def hand_over(self, number: int, key: str, octets: bytes) -> Draft[Submission]:
        parameter = f" XIDEMPOTENT={key}" if key else ""
        server = self.servers[number]
        server.receive_data(f"EHLO c\r\nMAIL FROM:<>{parameter}\r\nRCPT TO:<u@{number}.example>\r\nDATA\r\n".encode())
        assert self.intakes[number].next_event() is None
        data = encode_text(octets)
        for start in range(0, len(data), 50_000):
            server.receive_data(data[start : start + 50_000])
            event = self.intakes[number].next_event()
        assert isinstance(event, Draft)
        return event


def opened(path: Path, disk: WeakDisk | None = None) -> Queue:
    return Queue(path, identity="q", files=disk)


def test_ten_sessions_are_answered_by_one_commit(tmp_path: Path) -> None:
    disk = WeakDisk()
    queue = opened(tmp_path / "q", disk)
    sessions = Sessions(queue, 10)
    bodies = [LONG if number % 5 == 0 else SHORT for number in range(10)]
    waiting = {number: sessions.hand_over(number, "", body) for number, body in enumerate(bodies)}
    assert all(server.is_waiting for server in sessions.servers)
    disk.rest()
    assert sessions.commit(waiting) == [b"250 2.0.0 Queued as %d\r\n" % number for number in range(1, 11)]
    assert [disk.steps.count(step) for step in ("sync", "sync_directory", "commit")] == [3, 1, 1]
    for mail, body in zip(queue.index.listing(), bodies, strict=True):
        octets = b"".join(queue.index.body(mail.message_id))
        assert octets.startswith(b"Received: from c\r\n\tby mx.example with ESMTP\r\n\tfor <u@")
        assert octets.endswith(b"+0000\r\n" + body)
    queue.close()


def test_a_client_that_did_not_hear_the_answer_repeats_and_hears_the_same(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q")
    heard = []
    for body in (LONG, LONG):
        sessions = Sessions(queue, 1)
        heard += sessions.commit({0: sessions.hand_over(0, "k1", body)})
        queue.close()
        queue = opened(tmp_path / "q")
    assert heard == [b"250 2.0.0 Queued as 1\r\n"] * 2
    assert len(list(queue.index.listing())) == 1
    sessions = Sessions(queue, 1)
    (said,) = sessions.commit({0: sessions.hand_over(0, "k1", SHORT)})
    assert said.startswith(b"554 5.5.4 ")
    queue.close()


def test_a_session_that_ends_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q")
    sessions = Sessions(queue, 1)
    server, intake = sessions.servers[0], sessions.intakes[0]
    server.receive_data(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@b.example>\r\nDATA\r\n" + LONG)
    assert intake.next_event() is None
    server.receive_data(LONG)
    assert intake.next_event() is None
    assert len(list((tmp_path / "q" / "tmp").iterdir())) == 1
    server.receive_eof()
    assert isinstance(intake.next_event(), SessionEnded)
    assert list((tmp_path / "q" / "tmp").iterdir()) == []
    queue.close()


@pytest.mark.parametrize(("error", "answer"), [(errno.ENOSPC, b"452 4.3.1 "), (errno.EIO, b"451 4.3.0 ")])
def test_a_disk_that_fails_while_mail_data_comes_in_is_told_at_the_end(
    tmp_path: Path, error: int, answer: bytes
) -> None:
    disk = WeakDisk()
    queue = opened(tmp_path / "q", disk)
    sessions = Sessions(queue, 2)
    disk.rest()
    disk.fails_at, disk.error = 1, error  # the first write
    waiting = {0: sessions.hand_over(0, "", LONG), 1: sessions.hand_over(1, "", LONG)}
    first, second = sessions.commit(waiting)
    assert first.startswith(answer)
    assert second == b"250 2.0.0 Queued as 1\r\n"
    queue.close()


def test_a_maildir_takes_the_same_way(tmp_path: Path) -> None:
    names = count()
    maildir = Maildir(tmp_path / "box", domain="mx.example", unique=lambda: f"Q{next(names)}")
    begin: Callable[[Envelope], Draft[Delivery]] = lambda envelope: maildir.begin(envelope, NOW)  # noqa: E731
    for _ in range(2):
        server = Server(domain="mx.example", extensions=Extensions(is_idempotent=True))
        intake = Intake(server, begin)
        server.receive_data(b"EHLO c\r\nMAIL FROM:<> XIDEMPOTENT=k\r\nRCPT TO:<u@mx.example>\r\nDATA\r\n")
        server.receive_data(encode_text(SHORT) + b"QUIT\r\n")
        draft = intake.next_event()
        assert isinstance(draft, Draft)
        server.data_to_send()
        (outcome,) = maildir.commit([draft], NOW)
        intake.answer(outcome)
        assert server.data_to_send().startswith(b"250 2.0.0 Delivered\r\n221 ")
        assert isinstance(intake.next_event(), SessionEnded)
    (file,) = (tmp_path / "box" / "new").iterdir()
    assert file.read_bytes().endswith(SHORT)
    maildir.close()
