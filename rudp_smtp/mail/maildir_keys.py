"""Which idempotency keys a Maildir has delivered, and which deliveries were promised but perhaps not carried out.

A row is the promise: once it is committed, the message that is safe in tmp/ belongs into new/, whatever happens.
Whether a mail reader has moved or deleted it since then is no matter: it is gone from tmp/, so it was delivered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rudp_smtp.mail.files import Files, storage_error
from rudp_smtp.mail.index import index_errors, open_index, transaction

KEYS_NAME = "rudp-keys.sqlite"

VERSION = 1
SCHEMA = """
CREATE TABLE keys (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, fingerprint TEXT NOT NULL,
    expires_at INTEGER NOT NULL, is_moved INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX keys_by_expiry ON keys (expires_at);
CREATE INDEX keys_unmoved ON keys (name) WHERE NOT is_moved;
"""


@dataclass(frozen=True, slots=True)
class Promise:
    """A message in tmp/ under this name, to be moved into new/."""

    key: str
    name: str
    fingerprint: str
    is_moved: bool = False


class DeliveredKeys:
    """Owns the index beside the three folders. Deliveries that are over are noted with the next promises."""

    def __init__(self, path: Path, files: Files) -> None:
        self._files = files
        self._rows = open_index(path / KEYS_NAME, SCHEMA, VERSION)
        self._moved: list[str] = []
        try:
            files.sync_directory(path)
        except OSError as error:
            raise storage_error(f"{path} cannot keep keys", error) from error

    def close(self) -> None:
        self._rows.close()

    def find(self, key: str) -> Promise | None:
        with index_errors("the keys cannot be read"):
            row = self._rows.execute("SELECT * FROM keys WHERE key = ?", (key,)).fetchone()
        return None if row is None else Promise(row[0], row[1], row[2], row[1] in self._moved or bool(row[4]))

    def unmoved(self) -> list[str]:
        with index_errors("the keys cannot be read"):
            rows = self._rows.execute("SELECT name FROM keys WHERE NOT is_moved ORDER BY name").fetchall()
        return [name for (name,) in rows if name not in self._moved]

    def promise(self, promises: Sequence[Promise], now: int, expires_at: int) -> None:
        """Make the promises durable; what expired before `now` is forgotten."""
        with transaction(self._rows, self._files, "the keys could not be noted"):
            self._rows.executemany("UPDATE keys SET is_moved = 1 WHERE name = ?", [(name,) for name in self._moved])
            self._rows.execute("DELETE FROM keys WHERE expires_at <= ? AND is_moved", (now,))
            self._rows.executemany(
                "INSERT INTO keys VALUES (?, ?, ?, ?, 0)",
                [(promise.key, promise.name, promise.fingerprint, expires_at) for promise in promises],
            )
        self._moved = []

    def note_moved(self, names: Sequence[str]) -> None:
        """They are in new/, durably. That this is lost in a crash does no harm: they are no longer in tmp/."""
        self._moved += names
