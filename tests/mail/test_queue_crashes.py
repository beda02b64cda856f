"""The queue under failing steps, crashes between any two of them, and power cuts that forget what was not synced."""

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.queue import Queue, Recovered
from rudp_smtp.mail.queued import Recipient, Result, Settlement, Submission
from rudp_smtp.mail.spool import SPILL_OCTETS, Draft, Receipt
from rudp_smtp.mail.state import RecipientInput
from tests.mail.disks import Crash, WeakDisk

NOW = 1_700_000_000_000_000_000
LARGE = SPILL_OCTETS * 5 // 2
BODIES = {key: key.encode() * size for key, size in (("a", 9), ("b", 2000), ("c", LARGE), ("d", LARGE + 1), ("e", 1))}
BOUNCE = b"it failed\r\n"
SEEDS = (0, 1, 2)


@dataclass
class Client:
    """What somebody outside was told."""

    accepted: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)
    bounced: set[str] = field(default_factory=set)
    failures: list[MailboxError] = field(default_factory=list)

    def send(self, queue: Queue, *keys: str) -> None:
        drafts = [draft(queue, key) for key in keys]
        for key, outcome in zip(keys, queue.commit(drafts, NOW), strict=True):
            if isinstance(outcome, Receipt):
                self.accepted.add(key)
            else:
                self.failures.append(outcome)

    def settle(self, queue: Queue, key: str, happening: RecipientInput) -> None:
        """One attempt for the message, which fails with a bounce or is delivered."""
        mail = next((mail for mail in queue.index.listing() if mail.submission.key == key), None)
        if mail is None:
            return
        notices: tuple[Draft[Submission], ...] = ()
        if happening is RecipientInput.FAIL:
            bounce = queue.begin(Submission(reverse_path="", recipients=(Recipient(f"{key}@bounce.example"),)))
            bounce.write(BOUNCE)
            notices = (bounce,)
        results = tuple(Result(queued.recipient_id, happening, "reply") for queued in mail.recipients)
        try:
            queue.settle([Settlement(mail.message_id, results, notices)], NOW)
        except MailboxError as error:
            self.failures.append(error)
        else:
            (self.bounced if notices else self.delivered).add(key)


def draft(queue: Queue, key: str) -> Draft[Submission]:
    made = queue.begin(Submission(reverse_path="s@a.example", recipients=(Recipient(f"{key}@b.example"),), key=key))
    for start in range(0, len(BODIES[key]), 50_000):
        made.write(BODIES[key][start : start + 50_000])
    return made


def opened(path: Path, disk: WeakDisk | None = None) -> Queue:
    return Queue(path, identity="test", files=disk)


def script(queue: Queue, client: Client) -> None:
    client.send(queue, "a", "b", "c")
    client.settle(queue, "a", RecipientInput.DELIVER)
    client.settle(queue, "b", RecipientInput.FAIL)
    client.send(queue, "a", "d", "e")
    client.settle(queue, "d", RecipientInput.DELIVER)


def contents(queue: Queue) -> list[tuple[str, bytes]]:
    """Every message with its key (of a bounce, whom it is about), its octets read to the last."""
    found = []
    for mail in queue.index.listing():
        name = mail.submission.key or f"bounce {mail.recipients[0].recipient.forward_path[0]}"
        found.append((name, b"".join(queue.index.body(mail.message_id))))
    return found


def check_whole(queue: Queue, path: Path) -> None:
    """Nothing half written is visible, and nothing lies about that no message needs."""
    for name, octets in contents(queue):
        assert octets == (BOUNCE if name.startswith("bounce") else BODIES[name])
    assert list((path / "tmp").iterdir()) == []


def check_kept(queue: Queue, client: Client) -> None:
    names = [name for name, _ in contents(queue)]
    assert len(names) == len(set(names)), "nothing twice"
    for key in client.accepted - client.delivered - client.bounced:
        assert key in names or f"bounce {key}" in names or key in "ad", "an attempt may have been noted and not told"
    for key in client.accepted - {"a", "b", "d"}:
        assert key in names, "nothing accepted is lost"
    for key in client.bounced:
        assert f"bounce {key}" in names
    for key in client.delivered | client.bounced:
        assert key not in names, "what has its end stays ended"


def check_repeats(queue: Queue, client: Client) -> None:
    """A client that repeats everything it sent, whatever it was told: still once each."""
    before = [name for name, _ in contents(queue)]
    again = Client()
    again.send(queue, *BODIES)
    assert again.accepted == set(BODIES)
    after = [name for name, _ in contents(queue)]
    assert len(after) == len(set(after))
    for key in client.accepted:
        assert after.count(key) == before.count(key), "an accepted message is not stored again"


def count_steps(path: Path, act: Callable[[Queue, Client], None]) -> int:
    disk = WeakDisk()
    queue = opened(path, disk)
    disk.rest()
    act(queue, Client())
    queue.close()
    return len(disk.steps)


def test_the_script_runs_whole(tmp_path: Path) -> None:
    client, queue = Client(), opened(tmp_path / "q")
    script(queue, client)
    assert client == Client({"a", "b", "c", "d", "e"}, {"a", "d"}, {"b"})
    assert [name for name, _ in contents(queue)] == ["c", "bounce b", "e"]
    check_whole(queue, tmp_path / "q")
    queue.close()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_power_cut_at_any_step_loses_nothing_accepted_and_shows_nothing_half_written(
    tmp_path: Path, side: str, seed: int
) -> None:
    for step in range(count_steps(tmp_path / "whole", script)):
        path, left = tmp_path / f"q{step}", tmp_path / f"left{step}"
        disk, client = WeakDisk(), Client()
        queue = opened(path, disk)
        disk.rest()
        setattr(disk, f"ends_{side}", step)
        with pytest.raises(Crash):
            script(queue, client)
        disk.after_power_cut(path, left, seed)
        queue.close()
        again = opened(left)
        check_whole(again, left)
        check_kept(again, client)
        check_repeats(again, client)
        again.close()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_any_step_that_fails_is_an_error_with_a_name_and_leaves_nothing_half_done(tmp_path: Path, error: int) -> None:
    for step in range(count_steps(tmp_path / "whole", script)):
        path = tmp_path / f"q{step}"
        disk, client = WeakDisk(), Client()
        queue = opened(path, disk)
        disk.rest()
        disk.fails_at, disk.error = step, error
        script(queue, client)
        if disk.steps[step] != "remove":  # a file that cannot be removed is taken at the next start
            assert client.failures
            assert all(failure.is_full == (error == errno.ENOSPC) for failure in client.failures)
            check_whole(queue, path)
            assert {mail.octets for mail in queue.index.listing()} == {len(octets) for _, octets in contents(queue)}
        check_kept(queue, client)
        check_repeats(queue, client)
        queue.close()
        again = opened(path)
        check_whole(again, path)
        check_kept(again, client)
        again.close()


def test_a_crash_while_the_queue_is_opened_is_no_worse(tmp_path: Path) -> None:
    def used_and_left(path: Path) -> Client:
        queue, client = opened(path), Client()
        script(queue, client)
        draft(queue, "c")  # the process ended over it: its file stays in tmp/
        queue.close()
        (path / "bodies" / "orphan").touch()
        return client

    used_and_left(tmp_path / "whole")
    disk = WeakDisk()
    queue = opened(tmp_path / "whole", disk)
    assert queue.recovered == Recovered(lost=0, orphans=1, temporary=1)
    queue.close()
    for step in range(len(disk.steps)):
        path, weak = tmp_path / f"q{step}", WeakDisk()
        client = used_and_left(path)
        weak.ends_before = step
        with pytest.raises(Crash):
            opened(path, weak)
        again = opened(path)
        check_whole(again, path)
        check_kept(again, client)
        again.close()
