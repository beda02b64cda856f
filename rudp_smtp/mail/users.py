"""Who may log in: a small file, a line for each user, `name:` and what is kept of the password.

Whoever reads the file can try passwords against it, so it is for its owner alone (mode 0600) or it is refused. A change
is written beside it and renamed into place: a reader sees the old file or the new one, whatever happens.
"""

import os
import stat
from contextlib import ExitStack
from pathlib import Path

from rudp_smtp.errors import ConfigError, LocalProtocolError
from rudp_smtp.mail.files import Disk, Files, discard, write_all
from rudp_smtp.smtp.credentials import (
    NAME_OCTETS,
    PASSWORD_OCTETS,
    Entropy,
    StoredPassword,
    decode_password,
    saslprep,
    store_password,
)

OTHERS = stat.S_IRWXG | stat.S_IRWXO
FILE_OCTETS_MAX = 16 << 20


class UserFile:
    """The file as a server's Credentials: `find` looks again when it was changed, so nobody restarts a server."""

    def __init__(self, path: Path, files: Files | None = None) -> None:
        self._path = path
        self._files = files or Disk()
        self._seen: tuple[int, ...] = ()
        self._users: dict[str, StoredPassword] = {}

    def find(self, name: str) -> StoredPassword | None:
        """What is kept for a name as `saslprep` leaves it. Raises ConfigError if the file cannot be trusted or read."""
        self._refresh()
        return self._users.get(name)

    def names(self) -> list[str]:
        self._refresh()
        return sorted(self._users)

    def add(self, name: str, password: str, entropy: Entropy) -> bool:
        """Keep a password for a name, in the place of the one it had; whether it had one. Makes the file."""
        prepared = _checked(name)
        if len(password.encode("utf-8", "replace")) > PASSWORD_OCTETS:
            raise ConfigError(f"a password has at most {PASSWORD_OCTETS} octets")
        try:
            kept = store_password(password, entropy)
        except LocalProtocolError as error:
            raise ConfigError(f"the password cannot be used: {error}") from None
        return self._changed(prepared, kept)

    def remove(self, name: str) -> bool:
        """Whether there was such a user."""
        self._refresh()
        return self._changed(_checked(name), None)

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)
            seen = (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)
            if seen == self._seen:
                return
            if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_OCTETS_MAX:
                raise ConfigError(f"{self._path} is no file of users")
            if status.st_mode & OTHERS:
                raise ConfigError(f"{self._path} is open to others: chmod 600 {self._path}")
            octets = self._path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be read: {error.strerror}") from error
        self._users = _parse(self._path, octets)
        self._seen = seen

    def _changed(self, name: str, kept: StoredPassword | None) -> bool:
        """Give a name another password, or none; whether it had one."""
        beside = self._path.with_name(f".{self._path.name}.new")
        try:
            return self._change(beside, name, kept)
        except FileExistsError:
            raise ConfigError(
                f"{beside} is there: another process changes the users, or one was cut off and it may be removed"
            ) from None
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be written: {error.strerror}") from error

    def _change(self, beside: Path, name: str, kept: StoredPassword | None) -> bool:
        """Read once the file beside is ours: its name keeps other writers out. Write, sync, rename, sync the folder."""
        handle = self._files.create(beside)
        with ExitStack() as undo:
            undo.callback(discard, self._files, beside)
            try:
                if os.path.lexists(self._path):
                    self._refresh()
                had_one = name in self._users
                users = self._users | ({} if kept is None else {name: kept})
                lines = [f"{each}:{users[each].encode()}\n" for each in sorted(users) if kept or each != name]
                write_all(self._files, handle, "".join(lines).encode())
                self._files.sync(handle)
            finally:
                self._files.close(handle)
            self._files.rename(beside, self._path)
            undo.pop_all()
        self._files.sync_directory(self._path.parent)
        return had_one


def _checked(name: str) -> str:
    try:
        prepared = saslprep(name)
    except LocalProtocolError as error:
        raise ConfigError(f"{name!r} cannot be a user: {error}") from None
    if ":" in prepared or len(prepared.encode()) > NAME_OCTETS:
        raise ConfigError(f"{name[:40]!r} cannot be a user: a name has no colon and at most {NAME_OCTETS} octets")
    return prepared


def _parse(path: Path, octets: bytes) -> dict[str, StoredPassword]:
    users: dict[str, StoredPassword] = {}
    for number, line in enumerate(octets.split(b"\n"), 1):
        if not line:
            continue
        name, colon, kept = line.decode("utf-8", "replace").partition(":")
        try:
            if not colon or _checked(name) != name:
                raise ConfigError("it does not begin with a name and a colon")
            users[name] = decode_password(kept)
        except ConfigError:
            # What it holds is not told: it may be a password that somebody put there by mistake.
            raise ConfigError(f"{path}, line {number} is not a user; `rudp-smtp user add` writes them") from None
    return users
