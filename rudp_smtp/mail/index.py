"""A SQLite file as an index beside message files: how it is opened, and a transaction that ends by the file layer."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.files import Files, storage_error

BUSY_TIMEOUT = 10.0  # seconds to wait for another process's transaction: an operator's command beside the server


def open_index(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """Open or make the index. A commit is on the disk when it returns (WAL with synchronous=FULL)."""
    with index_errors(f"{path} cannot be opened"):
        # One call at a time is the caller's duty; which thread makes it is not our business.
        index = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        index.execute("PRAGMA journal_mode=WAL")
        index.execute("PRAGMA synchronous=FULL")
        index.execute("PRAGMA foreign_keys=ON")
        found = index.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            index.executescript(f"BEGIN IMMEDIATE; {schema} PRAGMA user_version={version}; COMMIT;")
        elif found != version:
            index.close()
            raise MailboxError(f"{path} has version {found} of the index, this program reads version {version}")
    return index


@contextmanager
def transaction(index: sqlite3.Connection, files: Files, what: str) -> Iterator[None]:
    """All of it or nothing; `what` could not be done begins the error's message."""
    with index_errors(what):
        index.execute("BEGIN IMMEDIATE")
        try:
            yield
            files.commit(index)
        finally:
            if index.in_transaction:
                index.rollback()


@contextmanager
def index_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise storage_error(what, error) from error
