"""What the mail store asks of a file system, and the real one. Tests hand in one that fails or forgets.

Durability is made of four steps, each named here: `sync` (a file's octets), `rename`, `sync_directory` (its name) and
`commit` (a row of the SQLite index, which is the last of them). Nothing is safe before the last one returned.
"""

import errno
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from rudp_smtp.errors import MailboxError

Each = Callable[[Callable[[int], OSError | None], Iterable[int]], Iterable[OSError | None]]

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


StrPath = str | Path  # a text where there is one for every message: to put a Path together takes longer than a rename


class Files(Protocol):
    """Every method may raise OSError, `commit` also sqlite3.Error."""

    def make_directory(self, path: Path) -> None: ...

    def create(self, path: StrPath) -> int:
        """Open a file that must not exist yet, for writing; its handle."""

    def open(self, path: Path) -> int:
        """Open a file for reading; its handle."""

    def read(self, handle: int, octets: int, offset: int) -> bytes:
        """As many octets as there are from this offset on, at most `octets`; none at the end."""

    def write(self, handle: int, octets: bytes | memoryview) -> int:
        """How many octets were taken; perhaps not all of them."""

    def sync(self, handle: int) -> None: ...

    def sync_all(self, handles: Sequence[int]) -> list[OSError | None]:
        """Sync files that do not depend on each other; for each what went wrong."""

    def close(self, handle: int) -> None: ...

    def rename(self, source: StrPath, target: StrPath) -> None: ...

    def sync_directory(self, path: Path) -> None: ...

    def commit(self, index: sqlite3.Connection) -> None:
        """Make the open transaction durable."""

    def exists(self, path: StrPath) -> bool: ...

    def remove(self, path: StrPath) -> None: ...

    def modified(self, path: Path) -> dict[str, int]:
        """Each file that stays in a directory and when it was last written, ns since the epoch."""

    def sizes(self, path: Path) -> dict[str, int]:
        """Each file that stays in a directory and how many octets it holds."""


class Disk:
    """The real file system.

    `each`: the way to do one thing for each of many, in order or at once. With the `map` of a thread pool the syncs of
    a batch overlap, and the journal of the file system is written for several of them in one go.
    """

    def __init__(self, each: Each = map) -> None:
        self._each = each

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, path: StrPath) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, handle: int, octets: int, offset: int) -> bytes:
        return os.pread(handle, octets, offset)

    def write(self, handle: int, octets: bytes | memoryview) -> int:
        return os.write(handle, octets)

    def sync(self, handle: int) -> None:
        os.fsync(handle)

    def sync_all(self, handles: Sequence[int]) -> list[OSError | None]:
        if len(handles) > 1 and sys.platform == "linux":
            for handle in handles:  # all are on their way to the disk before the first is waited for
                with suppress(OSError):
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        return list(self._each(self._try_to_sync, handles))

    def close(self, handle: int) -> None:
        os.close(handle)

    def rename(self, source: StrPath, target: StrPath) -> None:
        os.rename(source, target)

    def sync_directory(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def commit(self, index: sqlite3.Connection) -> None:
        index.commit()

    def exists(self, path: StrPath) -> bool:
        return os.path.lexists(path)

    def remove(self, path: StrPath) -> None:
        os.unlink(path)

    def modified(self, path: Path) -> dict[str, int]:
        return {name: status.st_mtime_ns for name, status in _entries(path).items()}

    def sizes(self, path: Path) -> dict[str, int]:
        return {name: status.st_size for name, status in _entries(path).items()}

    def _try_to_sync(self, handle: int) -> OSError | None:
        try:
            self.sync(handle)
        except OSError as error:
            return error
        return None


def _entries(path: Path) -> dict[str, os.stat_result]:
    found = {}
    with os.scandir(path) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # delivered by somebody else meanwhile
                found[entry.name] = entry.stat(follow_symlinks=False)
    return found


def write_all(files: Files, handle: int, octets: bytes) -> None:
    rest = memoryview(octets)
    while rest:
        rest = rest[files.write(handle, rest) :]


@contextmanager
def reading(files: Files, path: Path) -> Iterator[int]:
    """The handle of a file while it is read."""
    try:
        handle = files.open(path)
        try:
            yield handle
        finally:
            files.close(handle)
    except OSError as error:
        raise storage_error(f"{path} cannot be read", error) from error


def discard(files: Files, path: StrPath) -> None:
    """Remove what nobody was promised.

    If it fails, either it is not there, or the disk refuses this too: the next start finds it, and the caller hears of
    the first error in any case.
    """
    with suppress(OSError):
        files.remove(path)


def storage_error(what: str, error: OSError | sqlite3.Error) -> MailboxError:
    """The error that a server answers with 452 when the disk is full, with 451 otherwise."""
    if isinstance(error, OSError):
        return MailboxError(f"{what}: {error.strerror or error}", is_full=error.errno in FULL_DISK)
    # `sqlite_errorcode` is there only if SQLite itself spoke.
    is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return MailboxError(f"{what}: {error}", is_full=is_full)
