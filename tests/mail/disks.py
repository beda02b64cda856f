"""A disk that fails, stops or forgets: the real file system underneath, and an account of what a power cut would leave.

What was not synced may be gone: octets without `sync`, names without `sync_directory`. A rename is atomic, as on every
file system with a journal: it is lost or kept in both folders. The SQLite index keeps its own promise and is copied.
"""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from rudp_smtp.draws import DrawKey
from rudp_smtp.mail.files import Disk, StrPath

T = TypeVar("T")


class Crash(BaseException):
    """What SIGKILL does: no handler of ours runs."""


class WeakDisk(Disk):
    """Counts the steps that change something; one of them can be told to fail, or to be the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.fails_at: int | None = None
        self.error = errno.EIO
        self.ends_before: int | None = None
        self.ends_after: int | None = None
        self._is_dead = False
        self._paths: dict[int, Path] = {}
        self._octets: dict[int, bytes] = {}  # inode -> what was synced
        self._names: dict[Path, dict[str, int]] = {}  # folder -> its synced names and their inodes

    def rest(self) -> None:
        """From here on: no faults, and steps counted anew."""
        self.steps.clear()
        self.fails_at = self.ends_before = self.ends_after = None

    def make_directory(self, path: Path) -> None:
        super().make_directory(path)
        self._names.setdefault(path, {})

    def create(self, path: StrPath) -> int:
        handle = self._step("create", lambda: super(WeakDisk, self).create(path))
        self._paths[handle] = Path(path)
        return handle

    def write(self, handle: int, octets: bytes | memoryview) -> int:
        return self._step("write", lambda: super(WeakDisk, self).write(handle, octets))

    def sync(self, handle: int) -> None:
        def sync() -> None:
            self._octets[os.fstat(handle).st_ino] = self._paths[handle].read_bytes()

        self._step("sync", sync)

    def close(self, handle: int) -> None:
        super().close(handle)
        self._step("close", lambda: None)

    def rename(self, source: StrPath, target: StrPath) -> None:
        self._step("rename", lambda: super(WeakDisk, self).rename(source, target))

    def sync_directory(self, path: Path) -> None:
        def sync() -> None:
            names = {file.name: file.stat().st_ino for file in path.iterdir() if file.is_file()}
            for folder, others in self._names.items():
                if folder != path:
                    moved = [name for name, inode in others.items() if inode in names.values()]
                    for name in moved:
                        del others[name]
            self._names[path] = names

        if path not in self._names:
            return  # beside what is tested
        self._step("sync_directory", sync)

    def commit(self, index: sqlite3.Connection) -> None:
        try:
            self._step("commit", lambda: super(WeakDisk, self).commit(index))
        except OSError as error:
            failure = sqlite3.OperationalError("disk I/O error")
            failure.sqlite_errorcode = (
                sqlite3.SQLITE_FULL if error.errno == errno.ENOSPC else sqlite3.SQLITE_IOERR
            )  # fmt: skip
            raise failure from error

    def remove(self, path: StrPath) -> None:
        self._step("remove", lambda: super(WeakDisk, self).remove(path))

    def _step(self, name: str, act: Callable[[], T]) -> T:
        number = len(self.steps)
        if self._is_dead or number == self.ends_before:
            self._is_dead = True
            raise Crash
        self.steps.append(name)
        if number == self.fails_at:
            raise OSError(self.error, "injected")
        done = act()
        if number == self.ends_after:
            self._is_dead = True
            raise Crash
        return done

    def after_power_cut(self, root: Path, target: Path, seed: int) -> None:
        """Make `target` what is found at the next start. Seed 0: nothing survives that need not; others: some does."""
        for folder in sorted(self._names):
            place = target / folder.relative_to(root)
            place.mkdir(parents=True, exist_ok=True)
            for name, octets in self._survivors(folder, seed):
                (place / name).write_bytes(octets)
        for file in root.rglob("*.sqlite*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, target / file.relative_to(root))

    def _survivors(self, folder: Path, seed: int) -> Iterator[tuple[str, bytes]]:
        durable = self._names[folder]
        current = {file.name: file.stat().st_ino for file in folder.iterdir() if file.is_file()}
        for name in sorted(name for name in durable.keys() | current.keys() if ".sqlite" not in name):
            draws = DrawKey(seed, name)  # the same in the folder it was renamed from
            inode = (current if seed and draws.below(0, 2) else durable).get(name)
            if inode is None:
                continue
            octets = self._octets.get(inode)
            if octets is None:  # its name survived, its octets perhaps not
                whole = (folder / name).read_bytes() if name in current else b""
                octets = whole[: draws.below(1, len(whole) + 1)] if seed else b""
            yield name, octets
