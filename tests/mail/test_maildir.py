"""Maildir delivery: the durable order, and every step failing."""

import errno
import mailbox
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Barrier

import pytest

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.files import Disk, StrPath
from rudp_smtp.mail.maildir import Maildir
from rudp_smtp.mail.received import trace_fields
from rudp_smtp.smtp import Envelope
from rudp_smtp.units import SECOND

NOW = 1_700_000_000 * SECOND + 123_456_789
DATE = "Tue, 14 Nov 2023 22:13:20 +0000"
HOUR = 3600 * SECOND
ENVELOPE = Envelope(
    "a@b.example",
    ("u@mx.example",),
    b"Subject: caf\xe9\r\n\r\n.dot\r\n",
    client_domain="client.example",
    is_extended=True,
)
TRACE = (
    b"Return-Path: <a@b.example>\r\nReceived: from client.example\r\n\tby mx.example with ESMTP\r\n"
    b"\tfor <u@mx.example>;\r\n\t" + DATE.encode() + b"\r\n"
)


class FaultyDisk(Disk):
    """The real file system, which notes each step and can fail at one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.fails_at = ""
        self.error = errno.EIO
        self.write_at_most = 1 << 30

    def step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.fails_at:
            raise OSError(self.error, "injected")

    def create(self, path: StrPath) -> int:
        self.step(f"create {Path(path).parent.name}")
        return super().create(path)

    def write(self, handle: int, octets: bytes | memoryview) -> int:
        self.step("write")
        return super().write(handle, octets[: self.write_at_most])

    def sync(self, handle: int) -> None:
        self.step("sync")
        super().sync(handle)

    def close(self, handle: int) -> None:
        super().close(handle)
        self.step("close")

    def rename(self, source: StrPath, target: StrPath) -> None:
        self.step(f"rename {Path(source).parent.name} {Path(target).parent.name}")
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self.step(f"sync directory {path.name}")
        super().sync_directory(path)

    def remove(self, path: StrPath) -> None:
        self.step(f"remove {Path(path).parent.name}")
        super().remove(path)


def counter() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"P1Q{next(numbers)}"


def folder(path: Path, name: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted((path / name).iterdir())]


@pytest.fixture(name="disk")
def make_disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture(name="maildir")
def make_maildir(tmp_path: Path, disk: FaultyDisk) -> Maildir:
    maildir = Maildir(tmp_path / "box", domain="mx.example", unique=counter(), files=disk)
    disk.steps.clear()
    return maildir


def test_a_message_is_on_the_disk_before_it_is_visible_and_its_name_before_it_is_delivered(
    maildir: Maildir, disk: FaultyDisk
) -> None:
    maildir.deliver(ENVELOPE, NOW)
    assert disk.steps == ["create tmp", "write", "sync", "close", "rename tmp new", "sync directory new"]


def test_a_message_is_kept_octet_for_octet_behind_its_trace_fields(tmp_path: Path, maildir: Maildir) -> None:
    maildir.deliver(ENVELOPE, NOW)
    assert folder(tmp_path / "box", "new") == [TRACE + ENVELOPE.mail_data]
    assert folder(tmp_path / "box", "tmp") == []
    (file,) = (tmp_path / "box" / "new").iterdir()
    assert file.name == "1700000000.M123456P1Q1.mx.example"


def test_python_reads_what_was_delivered(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "box", domain="mx.example", unique=counter())
    for i in range(3):
        maildir.deliver(Envelope("", ("u@mx.example",), f"Subject: {i}\r\n\r\nbody {i}\r\n".encode()), NOW)
    messages = sorted(mailbox.Maildir(tmp_path / "box", create=False), key=lambda message: str(message["Subject"]))
    assert [message["Subject"] for message in messages] == ["0", "1", "2"]
    assert [message["Return-Path"] for message in messages] == ["<>"] * 3
    # `mailbox` shows the line ends of the platform, whatever the file has.
    assert messages[2].get_payload(decode=True) == b"body 2\n"


@pytest.mark.parametrize(
    "step", ["create tmp", "write", "sync", "close", "rename tmp new", "sync directory new"]
)  # fmt: skip
def test_a_step_that_fails_leaves_nothing_behind_and_the_next_message_is_delivered(
    tmp_path: Path, maildir: Maildir, disk: FaultyDisk, step: str
) -> None:
    disk.fails_at = step
    with pytest.raises(MailboxError, match="injected") as caught:
        maildir.deliver(ENVELOPE, NOW)
    assert not caught.value.is_full
    assert folder(tmp_path / "box", "tmp") == folder(tmp_path / "box", "new") == []
    disk.fails_at = ""
    maildir.deliver(ENVELOPE, NOW)
    assert len(folder(tmp_path / "box", "new")) == 1


def test_a_full_disk_is_told_from_a_broken_one(maildir: Maildir, disk: FaultyDisk) -> None:
    disk.fails_at, disk.error = "write", errno.ENOSPC
    with pytest.raises(MailboxError) as caught:
        maildir.deliver(ENVELOPE, NOW)
    assert caught.value.is_full


def test_a_disk_that_takes_a_little_at_a_time_gets_it_all(tmp_path: Path, maildir: Maildir, disk: FaultyDisk) -> None:
    disk.write_at_most = 7
    maildir.deliver(ENVELOPE, NOW)
    assert folder(tmp_path / "box", "new") == [TRACE + ENVELOPE.mail_data]


def test_a_file_that_cannot_even_be_removed_stays_invisible_until_it_is_stale(
    tmp_path: Path, maildir: Maildir, disk: FaultyDisk
) -> None:
    class Crash(BaseException):
        """What SIGKILL does: no handler of ours runs."""

    def crash(handle: int) -> None:
        raise Crash

    disk.sync = crash  # type: ignore[method-assign]
    with pytest.raises(Crash):
        maildir.deliver(ENVELOPE, NOW)
    assert folder(tmp_path / "box", "new") == []
    assert len(folder(tmp_path / "box", "tmp")) == 1
    (left,) = (tmp_path / "box" / "tmp").iterdir()
    written = left.stat().st_mtime_ns
    assert maildir.clean(written + 36 * HOUR) == 0
    assert maildir.clean(written + 36 * HOUR + 1) == 1
    assert folder(tmp_path / "box", "tmp") == []


def test_a_name_that_is_taken_is_not_used_again(tmp_path: Path) -> None:
    names = iter(["a", "a", "b"])
    maildir = Maildir(tmp_path / "box", domain="mx.example", unique=lambda: next(names))
    (tmp_path / "box" / "tmp" / "1700000000.M123456a.mx.example").touch()
    maildir.deliver(ENVELOPE, NOW)
    assert [file.name for file in (tmp_path / "box" / "new").iterdir()] == ["1700000000.M123456b.mx.example"]


def test_a_name_that_a_delivered_message_has_is_not_used_again(tmp_path: Path) -> None:
    names = iter(["a", "a", "b"])  # as a counter that began again with its process
    maildir = Maildir(tmp_path / "box", domain="mx.example", unique=lambda: next(names))
    maildir.deliver(ENVELOPE, NOW)
    maildir.deliver(Envelope("", ("u@mx.example",), b"another\r\n"), NOW)
    first, second = folder(tmp_path / "box", "new")
    assert first == TRACE + ENVELOPE.mail_data
    assert second.endswith(b"another\r\n")
    assert folder(tmp_path / "box", "tmp") == []


def test_cleaning_and_delivering_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    class BusyFolder(Disk):
        """Others remove each file between the look at it and our turn."""

        def remove(self, path: StrPath) -> None:
            super().remove(path)
            super().remove(path)

    maildir = Maildir(tmp_path / "box", domain="mx.example", unique=counter(), files=BusyFolder())
    (tmp_path / "box" / "tmp" / "left").touch()
    assert maildir.clean((tmp_path / "box" / "tmp" / "left").stat().st_mtime_ns + 48 * HOUR) == 1
    assert folder(tmp_path / "box", "tmp") == []


def test_a_source_of_names_that_repeats_itself_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "box", domain="mx.example", unique=lambda: "a")
    (tmp_path / "box" / "tmp" / "1700000000.M123456a.mx.example").touch()
    with pytest.raises(MailboxError, match="no unused name"):
        maildir.deliver(ENVELOPE, NOW)


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MailboxError, match="file/box"):
        Maildir(tmp_path / "file" / "box", domain="mx.example", unique=counter())


def test_several_recipients_are_not_told_of_each_other() -> None:
    fields = trace_fields(Envelope("", ("u@mx.example", "v@mx.example"), b""), domain="mx.example", now=NOW)
    assert fields == (
        b"Return-Path: <>\r\nReceived: from unknown\r\n\tby mx.example with SMTP;\r\n\t" + DATE.encode() + b"\r\n"
    )


def test_the_syncs_of_a_batch_may_overlap_and_one_that_fails_is_the_failure_of_its_message(tmp_path: Path) -> None:
    class OneBadFile(Disk):
        def sync(self, handle: int) -> None:
            together.wait(timeout=10)  # nobody passes before all three are here
            if os.fstat(handle).st_size == bad_size:
                raise OSError(errno.EIO, "injected")
            super().sync(handle)

    together, bad_size = Barrier(3), len(TRACE) + 2
    with ThreadPoolExecutor(3) as threads:
        disk = OneBadFile(threads.map)
        maildir = Maildir(tmp_path / "box", domain="mx.example", unique=counter(), files=disk)
        drafts = [maildir.begin(ENVELOPE, NOW) for _ in range(3)]
        for size, draft in enumerate(drafts, 1):
            draft.write(b"x" * size)
        first, second, third = maildir.commit(drafts, NOW)
    assert isinstance(second, MailboxError)
    assert not isinstance(first, MailboxError)
    assert not isinstance(third, MailboxError)
    assert folder(tmp_path / "box", "new") == [TRACE + b"x", TRACE + b"xxx"]
    assert folder(tmp_path / "box", "tmp") == []
