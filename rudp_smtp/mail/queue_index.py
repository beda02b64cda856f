"""The queue as an operator sees it, also beside a running server: what is in it, hold, release, retry, remove.

Owns the rows; the files in bodies/ are made by `queue.Queue`, which is the one writer of messages.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.files import Disk, Files, discard, reading
from rudp_smtp.mail.index import index_errors, open_index, transaction
from rudp_smtp.mail.queued import (
    TLS_OPTIONAL,
    DueRecipient,
    QueuedMail,
    QueuedRecipient,
    Recipient,
    Result,
    Submission,
)
from rudp_smtp.mail.spool import Place
from rudp_smtp.mail.state import TRANSITIONS, RecipientInput, RecipientState, is_final

INDEX_NAME = "index.sqlite"
BODIES = "bodies"
READ_OCTETS = 64 << 10
DUE_MAX = 10_000

VERSION = 1
SCHEMA = """
CREATE TABLE about (identity TEXT NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE messages (
    message_id INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL, offset INTEGER NOT NULL, octets INTEGER NOT NULL,
    arrived_at INTEGER NOT NULL,
    reverse_path TEXT NOT NULL, envelope_id TEXT NOT NULL, returns TEXT NOT NULL, parameters TEXT NOT NULL,
    key TEXT NOT NULL
);
CREATE INDEX messages_by_file ON messages (file);
CREATE TABLE recipients (
    recipient_id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
    forward_path TEXT NOT NULL, notify TEXT NOT NULL, original TEXT NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, next_attempt INTEGER NOT NULL,
    reply TEXT NOT NULL, is_delay_told INTEGER NOT NULL
);
CREATE INDEX recipients_by_message ON recipients (message_id);
CREATE INDEX recipients_due ON recipients (next_attempt, recipient_id) WHERE state = 'pending';
CREATE TABLE keys (
    key TEXT NOT NULL, forward_path TEXT NOT NULL,
    message_id INTEGER NOT NULL, answer TEXT NOT NULL, fingerprint TEXT NOT NULL, expires_at INTEGER NOT NULL,
    PRIMARY KEY (key, forward_path)
) WITHOUT ROWID;
CREATE INDEX keys_by_expiry ON keys (expires_at);
CREATE INDEX keys_by_message ON keys (message_id);
"""

_LIVE = tuple(state.value for state in RecipientState if not is_final(state))
_MAIL = "message_id, reverse_path, envelope_id, returns, parameters, key, arrived_at, octets"
_RECIPIENT = (
    "recipient_id, forward_path, notify, original, state, attempts, next_attempt, reply, is_delay_told"
)  # fmt: skip

_TLS_OPTIONAL = json.dumps(TLS_OPTIONAL)  # as it is in the text of all parameters; in a value its quotes would not be


class QueueIndex:
    """One call at a time, from any thread. Other processes may work on the same index meanwhile."""

    def __init__(self, path: Path, files: Files | None = None) -> None:
        self.path = path
        self.files = files or Disk()
        self.rows = open_index(path / INDEX_NAME, SCHEMA, VERSION)

    def close(self) -> None:
        self.rows.close()

    def due(self, now: int, limit: int = DUE_MAX) -> list[DueRecipient]:
        """Who may be tried now, those who have waited longest first."""
        wanted = "message_id, recipient_id, forward_path, attempts, next_attempt, arrived_at, is_delay_told, parameters"
        query = (
            f"SELECT {wanted} FROM recipients JOIN messages USING (message_id) "
            "WHERE state = 'pending' AND next_attempt <= ? ORDER BY next_attempt, recipient_id LIMIT ?"
        )
        return [
            DueRecipient(
                message_id=message_id,
                recipient_id=recipient_id,
                forward_path=forward_path,
                attempts=attempts,
                next_attempt=next_attempt,
                arrived_at=arrived_at,
                is_delay_told=bool(is_delay_told),
                is_tls_optional=_TLS_OPTIONAL in parameters,
            )
            for (
                message_id,
                recipient_id,
                forward_path,
                attempts,
                next_attempt,
                arrived_at,
                is_delay_told,
                parameters,
            ) in self._ask(query, now, limit)
        ]

    def next_due(self) -> int | None:
        """When the first of those who are pending may be tried."""
        row = self._ask("SELECT min(next_attempt) FROM recipients WHERE state = 'pending'")[0]
        due: int | None = row[0]
        return due

    def mail(self, message_id: int) -> QueuedMail | None:
        found = self._ask(f"SELECT {_MAIL} FROM messages WHERE message_id = ?", message_id)
        return self._mail(found[0]) if found else None

    def listing(self) -> Iterator[QueuedMail]:
        """All of it, oldest first; a message that leaves meanwhile may be missing."""
        for (message_id,) in self._ask("SELECT message_id FROM messages ORDER BY message_id"):
            mail = self.mail(message_id)
            if mail is not None:
                yield mail

    def body(self, message_id: int) -> Iterator[bytes]:
        """The message's octets as they came, behind our Received field, in pieces."""
        found = self._ask("SELECT file, offset, octets FROM messages WHERE message_id = ?", message_id)
        if not found:
            raise MailboxError(f"message {message_id} is not in the queue")
        return self._read(self.path / BODIES / found[0][0], found[0][1], found[0][2])

    def hold(self, message_ids: Sequence[int]) -> int:
        """Try no more until `release`; how many recipients that changed."""
        return self._operate(RecipientInput.HOLD, message_ids, None)

    def release(self, message_ids: Sequence[int], now: int) -> int:
        return self._operate(RecipientInput.RELEASE, message_ids, now)

    def retry(self, message_ids: Sequence[int], now: int) -> int:
        """Try those who are pending now and not at their time."""
        return self._operate(RecipientInput.RETRY, message_ids, now)

    def remove(self, message_ids: Sequence[int]) -> int:
        """Forget messages without a word to anybody; how many there were. Their keys stay: they were accepted."""
        with transaction(self.rows, self.files, "the messages could not be removed"):
            removed = [file for message_id in message_ids for file in self.delete(message_id)]
        self.free(removed)
        return len(removed)

    # What follows are the parts of a transaction that the caller has begun.

    def insert(self, submission: Submission, place: Place, now: int) -> int:
        row = self.rows.execute(
            "INSERT INTO messages (file, offset, octets, arrived_at, reverse_path, envelope_id, returns, parameters, "
            "key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING message_id",
            (place.name, place.offset, place.octets, now, submission.reverse_path, submission.envelope_id,
             submission.returns, json.dumps(submission.parameters), submission.key),
        ).fetchone()  # fmt: skip
        message_id = int(row[0])
        self.rows.executemany(
            "INSERT INTO recipients (message_id, forward_path, notify, original, state, attempts, next_attempt, reply, "
            "is_delay_told) VALUES (?, ?, ?, ?, ?, 0, ?, '', 0)",
            [(message_id, recipient.forward_path, " ".join(recipient.notify), recipient.original,
              RecipientState.PENDING.value, now) for recipient in submission.recipients],
        )  # fmt: skip
        return message_id

    def apply(self, message_id: int, result: Result) -> None:
        """What an attempt came to. A recipient that is no more, or has its end, keeps it."""
        for (source, happening), target in TRANSITIONS.items():
            if happening is not result.happening:
                continue
            changed = self.rows.execute(
                "UPDATE recipients SET state = ?, attempts = attempts + ?, next_attempt = ?, reply = ?, "
                "is_delay_told = is_delay_told OR ? WHERE recipient_id = ? AND message_id = ? AND state = ?",
                (target.value, result.is_attempt, result.next_attempt, result.reply, result.is_delay_told,
                 result.recipient_id, message_id, source.value),
            ).rowcount  # fmt: skip
            if changed:
                return

    def delete_if_over(self, message_id: int) -> list[str]:
        """The file that may be free now, when no recipient is left to be tried."""
        marks = ", ".join("?" * len(_LIVE))
        live = self.rows.execute(
            f"SELECT 1 FROM recipients WHERE message_id = ? AND state IN ({marks}) LIMIT 1", (message_id, *_LIVE)
        ).fetchone()
        return self.delete(message_id) if live is None else []

    def delete(self, message_id: int) -> list[str]:
        rows = self.rows.execute("DELETE FROM messages WHERE message_id = ? RETURNING file", (message_id,)).fetchall()
        return [row[0] for row in rows]

    def free(self, names: Sequence[str]) -> None:
        """Remove files that no message is in any more; after the commit, for until then a message is."""
        for name in dict.fromkeys(names):
            if not self._ask("SELECT 1 FROM messages WHERE file = ? LIMIT 1", name):
                discard(self.files, self.path / BODIES / name)

    def _operate(self, happening: RecipientInput, message_ids: Sequence[int], next_attempt: int | None) -> int:
        changed = 0
        with transaction(self.rows, self.files, f"{happening.value} could not be noted"):
            for (source, taken), target in TRANSITIONS.items():
                for message_id in message_ids if taken is happening else ():
                    changed += self.rows.execute(
                        "UPDATE recipients SET state = ?, next_attempt = coalesce(?, next_attempt) "
                        "WHERE message_id = ? AND state = ?",
                        (target.value, next_attempt, message_id, source.value),
                    ).rowcount
        return changed

    def _ask(
        self, query: str, *values: object
    ) -> list[Any]:  # rows: SQLite's columns have no types that mypy could see
        with index_errors(f"{self.path / INDEX_NAME} cannot be read"):
            return self.rows.execute(query, values).fetchall()

    def _mail(self, row: Any) -> QueuedMail:
        message_id, reverse_path, envelope_id, returns, parameters, key, arrived_at, octets = row
        query = f"SELECT {_RECIPIENT} FROM recipients WHERE message_id = ? ORDER BY recipient_id"
        recipients = tuple(_recipient(found) for found in self._ask(query, message_id))
        submission = Submission(
            reverse_path=reverse_path,
            recipients=tuple(queued.recipient for queued in recipients),
            envelope_id=envelope_id,
            returns=returns,
            parameters=tuple((name, value) for name, value in json.loads(parameters)),
            key=key,
        )
        return QueuedMail(
            message_id=message_id,
            submission=submission,
            arrived_at=arrived_at,
            octets=octets,
            recipients=recipients,
        )

    def _read(self, path: Path, offset: int, octets: int) -> Iterator[bytes]:
        end = offset + octets
        with reading(self.files, path) as handle:
            while offset < end:
                piece = self.files.read(handle, min(READ_OCTETS, end - offset), offset)
                if not piece:
                    raise MailboxError(f"{path} is shorter than the message in it")
                offset += len(piece)
                yield piece


def _recipient(row: Any) -> QueuedRecipient:
    recipient_id, forward_path, notify, original, state, attempts, next_attempt, reply, is_delay_told = row
    return QueuedRecipient(
        recipient_id=recipient_id,
        recipient=Recipient(forward_path, tuple(notify.split()), original),
        state=RecipientState(state),
        attempts=attempts,
        next_attempt=next_attempt,
        reply=reply,
        is_delay_told=bool(is_delay_told),
    )
