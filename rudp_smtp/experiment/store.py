"""One atomic file per finished run, named by the run's key: what is there is not run again.

A file appears whole or not at all (temporary, fsync, rename, fsync of the folder), so killing the process at any
moment loses no finished run. What is read back is believed only if its format (the columns it fills), its key and its
digest are right.
"""

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from rudp_smtp.experiment.files import write_atomic
from rudp_smtp.experiment.records import Record, columns

VERSION = 1


class Store:
    """The `runs` folder of one results folder. Several processes may use it at once: they write the same bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._format = f"{VERSION}-{_digest(columns())[:16]}"

    def load(self, key: str) -> Record | None:
        """The record of a finished run; None if there is none, or only a torn, stale or foreign file."""
        try:
            document = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(document, dict) or document.get("format") != self._format:
            return None
        body = document.get("record")
        if not isinstance(body, dict) or document.get("sha256") != _digest(body) or body.get("key") != key:
            return None
        return Record.from_document(body)

    def save(self, record: Record) -> None:
        """Keep a finished run for good, and tidy up what a killed process left half written for it."""
        body = record.document()
        document = {"format": self._format, "sha256": digest(record), "record": body}
        path = self._path(record.key)
        write_atomic(path, (_canonical(document) + "\n").encode())
        _unlink(path.parent.glob(f".{path.name}.*.tmp"))

    def discard(self, keys: Iterable[str]) -> None:
        """Forget these runs; others in the folder stay."""
        _unlink(map(self._path, keys))

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def digest(record: Record) -> str:
    """What tells a live run from others of the same key: it never has the same times."""
    return _digest(record.document())


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _canonical(document: object) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _digest(body: object) -> str:
    return sha256(_canonical(body).encode()).hexdigest()
