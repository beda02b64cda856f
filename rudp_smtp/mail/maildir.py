"""Mailbox on disk, in the order that makes 250 true: write, fsync, rename, fsync the directory, and only then return.

The format is qmail's Maildir, so any mail reader opens it. Octets are kept as they came, CRLF line ends included,
behind the trace fields that RFC 5321 section 4.4 asks of the server that makes the final delivery.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Protocol

from rudp_smtp.errors import MailboxError
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.units import MICROSECOND, SECOND

STALE_AFTER = 36 * 3600 * SECOND  # maildir(5): a file this long in tmp/ belongs to nobody
NAME_ATTEMPTS = 16
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Files(Protocol):
    """What delivery asks of a file system. Every method may raise OSError."""

    def make_directory(self, path: Path) -> None: ...

    def create(self, path: Path) -> int:
        """Open a file that must not exist yet, for writing; its handle."""

    def write(self, handle: int, octets: bytes | memoryview) -> int:
        """How many octets were taken; perhaps not all of them."""

    def sync(self, handle: int) -> None: ...

    def close(self, handle: int) -> None: ...

    def rename(self, source: Path, target: Path) -> None: ...

    def sync_directory(self, path: Path) -> None: ...

    def exists(self, path: Path) -> bool: ...

    def remove(self, path: Path) -> None: ...

    def modified(self, path: Path) -> dict[str, int]:
        """Each file that stays in a directory and when it was last written, ns since the epoch."""


class Disk:
    """The real file system."""

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, handle: int, octets: bytes | memoryview) -> int:
        return os.write(handle, octets)

    def sync(self, handle: int) -> None:
        os.fsync(handle)

    def close(self, handle: int) -> None:
        os.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def sync_directory(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def exists(self, path: Path) -> bool:
        return os.path.lexists(path)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def modified(self, path: Path) -> dict[str, int]:
        times = {}
        with os.scandir(path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # delivered by somebody else meanwhile
                    times[entry.name] = entry.stat(follow_symlinks=False).st_mtime_ns
        return times


class Maildir:
    """Owns one Maildir folder's tmp/ and its way into new/. Here `now` is ns since the Unix epoch.

    `unique` gives a text it never gives twice, nor does anyone else delivering to the same folder at the same time: a
    counter behind something of this process's own. `domain` is the name this server goes by.
    """

    def __init__(self, path: Path, *, domain: str, unique: Callable[[], str], files: Files | None = None) -> None:
        self._path = path
        self._domain = domain
        self._unique = unique
        self._files = files or Disk()
        try:
            for folder in ("tmp", "new", "cur"):
                self._files.make_directory(path / folder)
            self._files.sync_directory(path)
            self._files.sync_directory(path.parent)
        except OSError as error:
            raise _mailbox_error(f"{path} cannot be a Maildir", error) from error

    def deliver(self, envelope: Envelope, now: int) -> None:
        message = trace_fields(envelope, domain=self._domain, now=now) + envelope.mail_data
        name, handle = self._create(now)
        temporary, final = self._path / "tmp" / name, self._path / "new" / name
        try:
            self._write(handle, message)
            self._files.rename(temporary, final)
            self._files.sync_directory(final.parent)
        except OSError as error:
            # After a failed fsync of the directory the message may be visible, but it is not safe: the client will be
            # told to repeat it, so it must go.
            self._discard(temporary)
            self._discard(final)
            raise _mailbox_error(f"{name} could not be delivered to {self._path}", error) from error

    def clean(self, now: int) -> int:
        """Remove what deliveries that were cut off left in tmp/; how many files were stale."""
        folder = self._path / "tmp"
        try:
            stale = [name for name, time in sorted(self._files.modified(folder).items()) if now - time > STALE_AFTER]
            for name in stale:
                with suppress(FileNotFoundError):  # somebody else cleans too
                    self._files.remove(folder / name)
        except OSError as error:
            raise _mailbox_error(f"{folder} cannot be cleaned", error) from error
        return len(stale)

    def _create(self, now: int) -> tuple[str, int]:
        """A file in tmp/ that nobody else has, open for writing, under a name that is free in new/ as well.

        Looking there once the file in tmp/ is ours leaves no gap: who had the name before has renamed it by then. A
        rename onto a message would destroy what was answered with 250.
        """
        seconds, rest = divmod(now, SECOND)
        host = self._domain.replace("/", "\\057").replace(":", "\\072")
        for _ in range(NAME_ATTEMPTS):
            name = f"{seconds}.M{rest // MICROSECOND:06}{self._unique()}.{host}"
            try:
                handle = self._files.create(self._path / "tmp" / name)
                if not self._files.exists(self._path / "new" / name):
                    return name, handle
                self._files.close(handle)
                self._files.remove(self._path / "tmp" / name)
            except FileExistsError:
                continue
            except OSError as error:
                raise _mailbox_error(f"{name} could not be made in {self._path}", error) from error
        raise MailboxError(f"no unused name in {self._path} after {NAME_ATTEMPTS} attempts")

    def _write(self, handle: int, message: bytes) -> None:
        try:
            rest = memoryview(message)
            while rest:
                rest = rest[self._files.write(handle, rest) :]
            self._files.sync(handle)
        finally:
            self._files.close(handle)

    def _discard(self, path: Path) -> None:
        # If it fails, either it is not there, or the disk refuses this too: `clean` finds it in tmp/ later, and the
        # caller hears of the first error in any case.
        with suppress(OSError):
            self._files.remove(path)


def trace_fields(envelope: Envelope, *, domain: str, now: int) -> bytes:
    """Return-Path and Received, as the server making the final delivery prepends them (RFC 5321 section 4.4)."""
    date = format_datetime(datetime.fromtimestamp(now // SECOND, UTC))
    protocol = "ESMTP" if envelope.is_extended else "SMTP"
    # Naming one of several recipients to another would tell who was in Bcc (RFC 5321 section 7.2).
    recipient = f"\r\n\tfor <{envelope.forward_paths[0]}>" if len(envelope.forward_paths) == 1 else ""
    return (
        f"Return-Path: <{envelope.reverse_path}>\r\n"
        f"Received: from {envelope.client_domain or 'unknown'}\r\n"
        f"\tby {domain} with {protocol}{recipient};\r\n"
        f"\t{date}\r\n"
    ).encode("ascii")


def _mailbox_error(what: str, error: OSError) -> MailboxError:
    return MailboxError(f"{what}: {error.strerror or error}", is_full=error.errno in FULL_DISK)
