"""A disk that really is full: a file system of two megabytes, mail until nothing fits, and again when there is room."""

import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.maildir import Maildir
from rudp_smtp.mail.queue import Queue, Recovered
from rudp_smtp.mail.queued import Recipient, Submission
from rudp_smtp.mail.spool import Receipt
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.units import SECOND

NOW = 1_700_000_000 * SECOND
BODIES = (b"small " * 500, b"large " * 20_000)


@pytest.fixture(name="small_disk")
def make_small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.getuid() != 0:
        pytest.skip("not root: a small file system cannot be mounted, so no disk was really full")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted, so no disk was really full: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def put(queue: Queue, number: int, key: str) -> Receipt | MailboxError:
    draft = queue.begin(Submission(reverse_path="", recipients=(Recipient("u@b.example"),), key=key))
    draft.write(BODIES[number % 2])
    (outcome,) = queue.commit([draft], NOW)
    return outcome


def test_a_queue_on_a_full_disk_says_so_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    path = small_disk / "queue"
    queue = Queue(path, identity="x")
    accepted: dict[int, int] = {}
    full = 0
    for number in count():
        outcome = put(queue, number, f"k{number}")
        if isinstance(outcome, Receipt):
            accepted[len(accepted) + 1] = number
            continue
        assert outcome.is_full, outcome
        full += 1
        if full == 10:
            break
    assert len(accepted) > 10
    kept = {mail.message_id: b"".join(queue.index.body(mail.message_id)) for mail in queue.index.listing()}
    assert list(kept.values()) == [BODIES[number % 2] for number in accepted.values()]
    assert list((path / "tmp").iterdir()) == []
    queue.close()
    again = Queue(path, identity="x")
    assert again.recovered == Recovered(0, 0, 0)
    again.index.remove(list(kept)[:10])
    assert isinstance(put(again, 1, "another"), Receipt)
    for number in accepted.values():
        repeat = put(again, number, f"k{number}")
        assert isinstance(repeat, Receipt)
        assert repeat.is_repeat
    again.close()


@pytest.mark.parametrize("key", ["", "k"])
def test_a_maildir_on_a_full_disk_says_so_and_goes_on_when_there_is_room(small_disk: Path, key: str) -> None:
    names = count()
    maildir = Maildir(small_disk / "box", domain="mx.example", unique=lambda: f"Q{next(names)}")

    def deliver(number: int) -> Receipt | MailboxError:
        draft = maildir.begin(Envelope("", ("u@mx.example",), b""), NOW, key and f"{key}{number}")
        draft.write(BODIES[number % 2])
        (outcome,) = maildir.commit([draft], NOW)
        return outcome

    accepted: list[int] = []
    for number in count():
        outcome = deliver(number)
        if isinstance(outcome, MailboxError):
            assert outcome.is_full, outcome
            break
        accepted.append(number)
    new = list((small_disk / "box" / "new").iterdir())
    assert len(new) == len(accepted)
    assert all(file.read_bytes().endswith(BODIES) for file in new)
    assert list((small_disk / "box" / "tmp").iterdir()) == []
    for file in new[:5]:
        file.unlink()
    assert isinstance(deliver(1_000_000), Receipt)
    maildir.close()
