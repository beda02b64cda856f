"""kill -9 under load, again and again on the same folder: what was accepted is there, once, whole."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.maildir import Maildir
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queued import Recipient, Submission
from rudp_smtp.mail.spool import Receipt
from rudp_smtp.smtp.envelope import Envelope
from tests.mail.busy_store import BATCH, NOW, octets

ROOT = Path(__file__).parents[2]
NAMES = count()  # one for all checks: a name is never given twice
LIFE_MAX = 60  # ms after it is ready


@dataclass
class Told:
    """What the victims said, over all their lives."""

    accepted: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)
    next_first: int = 0


def live_and_die(kind: str, path: Path, told: Told, life: int) -> None:
    """One life of `life` microseconds. What it said before it died is true, the last line too if it is whole."""
    command = [sys.executable, "-m", "tests.mail.busy_store", kind, str(path), str(told.next_first)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            victim.wait(life / 1e6)
        victim.send_signal(signal.SIGKILL)
        said = victim.stdout.read().decode().splitlines()
        assert victim.wait() == -signal.SIGKILL
    for line in said:
        what, number = line.split()
        (told.accepted if what == "accepted" else told.settled).add(int(number))
    begun = max(told.accepted, default=-1) + 1
    told.next_first = max(told.next_first, begun) + BATCH  # one batch may be half done: the repeat tells


def lives(count_of_lives: int) -> list[int]:
    draws = DrawKey(0, "kill")
    return [1 + draws.below(number, LIFE_MAX * 1000) for number in range(count_of_lives)]


def check_queue(path: Path, told: Told) -> None:
    queue = Queue(path, identity="busy")
    assert queue.recovered.lost == 0
    found: dict[str, int] = {}
    bounces: list[int] = []
    for mail in queue.index.listing():
        body = b"".join(queue.index.body(mail.message_id))
        if mail.submission.key:
            assert mail.submission.key not in found
            found[mail.submission.key] = mail.message_id
            assert body == octets(int(mail.submission.key))
        else:
            bounces.append(int(mail.recipients[0].recipient.forward_path.partition("@")[2].split(".")[0]))
            assert body == b"bounce"
    for number in told.accepted:
        assert str(number) in found or number % BATCH in (0, 1), "an attempt may have been noted and not told"
    assert not {str(number) for number in told.settled} & found.keys()
    assert len(bounces) == len(set(bounces))
    assert {number - 1 for number in told.settled if number % BATCH == 1} <= set(bounces)
    repeat_queue(queue, told)
    queue.close()


def repeat_queue(queue: Queue, told: Told) -> None:
    """The client repeats everything, as after lost replies."""
    before = sum(1 for _ in queue.index.listing())
    for number in sorted(told.accepted):
        about = Submission(reverse_path="", recipients=(Recipient(f"u@{number}.example"),), key=str(number))
        draft = queue.begin(about)
        draft.write(octets(number))
        (outcome,) = queue.commit([draft], NOW)
        assert isinstance(outcome, Receipt)
        assert outcome.is_repeat
    assert sum(1 for _ in queue.index.listing()) == before


def check_maildir(path: Path, told: Told) -> None:
    maildir = Maildir(path, domain="mx.example", unique=lambda: f"C{os.getpid()}Q{next(NAMES)}")
    numbers = range(told.next_first)
    for number in numbers:
        draft = maildir.begin(Envelope("", ("u@mx.example",), b""), NOW, key=str(number))
        draft.write(octets(number))
        (outcome,) = maildir.commit([draft], NOW)
        assert not isinstance(outcome, MailboxError)
        assert outcome.is_repeat or number not in told.accepted
    found = []
    for file in (path / "new").iterdir():
        body = file.read_bytes().partition(b"+0000\r\n")[2]
        found.append(int(body.split()[0]))
        assert body == octets(found[-1])
    assert sorted(found) == list(numbers), "every message once, whatever was told of it"
    maildir.close()


CHECKS = {"queue": check_queue, "maildir": check_maildir}


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("count_of_lives", [10, pytest.param(200, marks=pytest.mark.sweep)])
def test_what_was_accepted_before_kill_9_is_there_once_and_whole(
    tmp_path: Path, kind: str, count_of_lives: int
) -> None:
    told = Told()
    for number, life in enumerate(lives(count_of_lives)):
        live_and_die(kind, tmp_path / "store", told, life)
        if number % 10 == 9 or count_of_lives == 10:
            CHECKS[kind](tmp_path / "store", told)
    assert told.accepted, "on a busy machine a life may end before its first commit, but not each of them"
