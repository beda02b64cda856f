"""Maildir delivery with idempotency keys under failing steps, crashes and power cuts: exactly once, and whole."""

import errno
import mailbox
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from rudp_smtp.errors import KeyConflict, MailboxError
from rudp_smtp.mail.maildir import DELIVERED, Delivery, Maildir
from rudp_smtp.mail.spool import SPILL_OCTETS, Draft, Receipt
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.units import SECOND
from tests.mail.disks import Crash, WeakDisk

NOW = 1_700_000_000 * SECOND
DAY = 86_400 * SECOND
ENVELOPE = Envelope("a@b.example", ("u@mx.example",), b"")
BODIES = {key: b"Subject: %s\r\n\r\n" % key.encode() + b"x" * size for key, size in
          (("a", 10), ("b", 3 * SPILL_OCTETS), ("no key", 20), ("d", SPILL_OCTETS))}  # fmt: skip
NAMES = count()
NOBODY = 65534
FIRST = Receipt(DELIVERED)
REPEAT = Receipt(DELIVERED, is_repeat=True)


@dataclass
class Client:
    accepted: set[str] = field(default_factory=set)
    failures: list[MailboxError] = field(default_factory=list)

    def send(self, maildir: Maildir, *keys: str) -> None:
        outcomes = maildir.commit([drafted(maildir, key) for key in keys], NOW)
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, Receipt):
                self.accepted.add(key)
            else:
                self.failures.append(outcome)


def drafted(maildir: Maildir, key: str) -> Draft[Delivery]:
    draft = maildir.begin(ENVELOPE, NOW, "" if key == "no key" else key)
    for start in range(0, len(BODIES[key]), 50_000):
        draft.write(BODIES[key][start : start + 50_000])
    return draft


def opened(path: Path, disk: WeakDisk | None = None) -> Maildir:
    return Maildir(path, domain="mx.example", unique=lambda: f"Q{next(NAMES)}", files=disk)


def put(maildir: Maildir, key: str, now: int = NOW) -> Receipt | MailboxError:
    (outcome,) = maildir.commit([drafted(maildir, key)], now)
    return outcome


def script(maildir: Maildir, client: Client) -> None:
    client.send(maildir, "a", "b", "no key")
    client.send(maildir, "a", "d")


def visible(path: Path) -> list[str]:
    """Which messages a reader sees, each of them whole."""
    found = []
    for file in [*(path / "new").iterdir(), *(path / "cur").iterdir()]:
        front, mark, body = file.read_bytes().partition(b"Subject: ")
        assert front.startswith(b"Return-Path: <a@b.example>\r\nReceived: ")
        found.append(body.partition(b"\r\n")[0].decode())
        assert mark + body == BODIES[found[-1]]
    return sorted(found)


def check(path: Path, client: Client) -> None:
    assert len(visible(path)) == len(set(visible(path)))
    assert client.accepted <= set(visible(path))
    maildir = opened(path)
    for key in BODIES.keys() - {"no key"}:
        assert put(maildir, key) == REPEAT or key not in client.accepted
    maildir.close()
    assert [name for name in visible(path) if name != "no key"] == ["a", "b", "d"]


def count_steps(path: Path, act: Callable[[Maildir, Client], None]) -> int:
    disk = WeakDisk()
    maildir = opened(path, disk)
    disk.rest()
    act(maildir, Client())
    maildir.close()
    return len(disk.steps)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_power_cut_at_any_step_neither_loses_nor_doubles(tmp_path: Path, side: str, seed: int) -> None:
    for step in range(count_steps(tmp_path / "whole", script)):
        path, left = tmp_path / f"box{step}", tmp_path / f"left{step}"
        disk, client = WeakDisk(), Client()
        maildir = opened(path, disk)
        disk.rest()
        setattr(disk, f"ends_{side}", step)
        with pytest.raises(Crash):
            script(maildir, client)
        disk.after_power_cut(path, left, seed)
        maildir.close()
        opened(left).close()
        check(left, client)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_any_step_that_fails_has_a_name_and_the_repeat_delivers_once(tmp_path: Path, error: int) -> None:
    for step in range(count_steps(tmp_path / "whole", script)):
        path = tmp_path / f"box{step}"
        disk, client = WeakDisk(), Client()
        maildir = opened(path, disk)
        disk.rest()
        disk.fails_at, disk.error = step, error
        script(maildir, client)
        maildir.close()
        assert client.failures or disk.steps[step] == "remove"
        assert all(failure.is_full == (error == errno.ENOSPC) for failure in client.failures)
        if len(client.failures) == 3:
            assert "no key" not in visible(path)
        check(path, client)


def test_what_was_promised_is_delivered_at_the_next_start_and_the_repeat_hears_so(tmp_path: Path) -> None:
    disk = WeakDisk()
    maildir = opened(tmp_path / "box", disk)
    put(maildir, "a")
    disk.rest()
    disk.ends_after = count_steps(tmp_path / "other", lambda box, client: client.send(box, "b")) - 3
    with pytest.raises(Crash):
        put(maildir, "b")
    assert disk.steps[-1] == "commit"
    assert visible(tmp_path / "box") == ["a"]
    maildir.close()
    again = opened(tmp_path / "box")
    assert visible(tmp_path / "box") == ["a", "b"]
    assert put(again, "b") == REPEAT
    again.close()


def test_a_message_that_its_reader_has_moved_or_deleted_is_not_delivered_again(tmp_path: Path) -> None:
    maildir = opened(tmp_path / "box")
    assert (put(maildir, "a"), put(maildir, "b")) == (FIRST, FIRST)
    first, second = sorted((tmp_path / "box" / "new").iterdir())
    first.rename(tmp_path / "box" / "cur" / f"{first.name}:2,S")
    second.unlink()
    maildir.close()
    again = opened(tmp_path / "box")
    assert (put(again, "a"), put(again, "b")) == (REPEAT, REPEAT)
    assert visible(tmp_path / "box") == ["a"]
    again.close()


def test_a_key_is_kept_for_its_time_and_means_one_message(tmp_path: Path) -> None:
    maildir = opened(tmp_path / "box")
    put(maildir, "a")
    other = maildir.begin(ENVELOPE, NOW, "a")
    other.write(b"something else")
    (outcome,) = maildir.commit([other], NOW)
    assert isinstance(outcome, KeyConflict)
    put(maildir, "b", NOW + 7 * DAY - 1)
    assert put(maildir, "a", NOW + 7 * DAY - 1) == REPEAT
    put(maildir, "d", NOW + 7 * DAY)
    assert put(maildir, "a", NOW + 7 * DAY) == FIRST
    maildir.close()


def test_one_key_twice_in_a_batch_is_delivered_once(tmp_path: Path) -> None:
    maildir = opened(tmp_path / "box")
    assert maildir.commit([drafted(maildir, "a") for _ in range(3)], NOW) == [FIRST, REPEAT, REPEAT]
    assert visible(tmp_path / "box") == ["a"]
    assert list((tmp_path / "box" / "tmp").iterdir()) == []
    maildir.close()


def test_a_batch_shares_the_sync_of_the_folder_and_the_commit(tmp_path: Path) -> None:
    def ten(maildir: Maildir, client: Client) -> None:
        drafts = [maildir.begin(ENVELOPE, NOW, f"k{number}") for number in range(10)]
        for draft in drafts:
            draft.write(b"text\r\n")
        assert maildir.commit(drafts, NOW) == [FIRST] * 10

    disk = WeakDisk()
    maildir = opened(tmp_path / "box", disk)
    ten(maildir, Client())
    disk.rest()
    put(maildir, "a")
    single = [step for step in disk.steps if step in ("sync", "sync_directory", "commit")]
    assert single == ["sync", "sync_directory", "commit", "sync_directory"]
    maildir.close()
    again = opened(tmp_path / "other", disk)
    disk.rest()
    ten(again, Client())
    assert disk.steps.count("sync") == 10
    assert disk.steps.count("commit") == 1
    again.close()


def test_other_readers_open_it_though_keys_lie_beside(tmp_path: Path) -> None:
    maildir = opened(tmp_path / "box")
    for key in ("a", "b"):
        put(maildir, key)
    maildir.close()
    assert sorted(str(message["Subject"]) for message in mailbox.Maildir(tmp_path / "box", create=False)) == ["a", "b"]


@pytest.mark.skipif(shutil.which("doveadm") is None, reason="Dovecot is not here: no proof that it reads our Maildir")
def test_dovecot_reads_it() -> None:
    owner = os.getuid() or NOBODY  # it refuses to read mail as root
    with TemporaryDirectory() as folder:  # which others may enter, unlike tmp_path
        root = Path(folder)
        maildir = opened(root / "box")
        for key in ("a", "b"):
            put(maildir, key)
        maildir.close()
        configuration = root / "dovecot.conf"
        owners = f"mail_uid = {owner}\nmail_gid = {owner}\nfirst_valid_uid = 0\nfirst_valid_gid = 0\n"
        configuration.write_text(f"mail_location = maildir:{root / 'box'}\n{owners}log_path = /dev/stderr\n")
        for path in (root, *root.rglob("*")):
            os.chown(path, owner, owner)
        environment = {"USER": "somebody", "HOME": folder, "PATH": "/usr/bin:/bin:/usr/sbin"}
        command = ["doveadm", "-c", str(configuration), "fetch", "hdr.subject", "mailbox", "INBOX"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.replace("\f", "").split()) == ["a", "b", "hdr.subject:", "hdr.subject:"]
