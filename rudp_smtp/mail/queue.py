"""The durable queue: bodies as files, a SQLite index, and 250 only when both are on the disk (RFC 5321 section 6.1).

Order: temporary file -> fsync -> rename -> fsync of the folder -> commit of the index -> the Receipt. `commit` takes
any number of messages: those that are small share one file, and all share one fsync of the folder and one commit. So a
server lets messages gather while a commit is under way, in whatever thread that is, and hands them over together.

Under a key a recipient gets a message once: a repeat gets the first answer, also after a crash. Recipients that the
first transaction did not have (they were refused then) are queued by the repeat.
"""

import fcntl
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from rudp_smtp.errors import KeyConflict, LocalProtocolError, MailboxError
from rudp_smtp.mail.files import Files, discard, storage_error
from rudp_smtp.mail.index import index_errors, transaction
from rudp_smtp.mail.queue_index import BODIES, QueueIndex
from rudp_smtp.mail.queued import Recipient, Settlement, Submission
from rudp_smtp.mail.spool import KEYS_KEPT_FOR, Draft, Place, Receipt, Spool, rounds
from rudp_smtp.smtp.parameters import check_key

TEMPORARY = "tmp"
NUMBERS_MAX = (1 << 63) - 1  # of messages, SQLite's
LOCK_NAME = "lock"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the last process left behind. `lost`: in the index without their octets; nobody was told 250 for them."""

    lost: int
    orphans: int
    temporary: int


@dataclass(slots=True)
class _Entry:
    """A draft of a batch on its way, and the recipients that do not have the message yet."""

    draft: Draft[Submission]
    recipients: tuple[Recipient, ...]
    outcome: Receipt | MailboxError | None = None


class Queue:
    """Owns the folder: one process at a time. Operators go by a QueueIndex of their own, as `index` is one.

    `identity`: a text that no other queue has, kept from the first opening on. The keys for the next hops begin with it
    (`relay_key`), and who can guess a key can use it up: draw it.
    """

    def __init__(
        self, path: Path, *, identity: str, files: Files | None = None, keys_kept_for: int = KEYS_KEPT_FOR
    ) -> None:
        check_key(f"{identity}.{NUMBERS_MAX}")
        self._keys_kept_for = keys_kept_for
        self._numbers = count(1)
        with ExitStack() as undo:
            undo.callback(os.close, _lock(path))
            self.index = QueueIndex(path, files)
            undo.callback(self.index.close)
            self._files = self.index.files
            self._spool = Spool(self._files, temporary=path / TEMPORARY, final=path / BODIES)
            self._prepare(path, identity)
            self.recovered = self._recover()
            self._held = undo.pop_all()

    def close(self) -> None:
        self._held.close()

    def relay_key(self, message_id: int) -> str:
        """The idempotency key of this message for its next hops, the same in every attempt."""
        return f"{self._identity}.{message_id}"

    def begin(self, submission: Submission, front: bytes = b"") -> Draft[Submission]:
        """A draft to write the octets into, then to `commit` or to abandon. `front`: our Received field."""
        if not submission.recipients:
            raise LocalProtocolError("a message without recipients")
        return Draft(self._spool, submission, self._name, front)

    def commit(self, drafts: Sequence[Draft[Submission]], now: int) -> list[Receipt | MailboxError]:
        """Make messages safe together; for each its receipt, or why it was not kept and nothing of it is left."""
        outcomes: dict[Draft[Submission], Receipt | MailboxError] = {}
        for batch in rounds(drafts):
            outcomes.update({entry.draft: self._finish(entry) for entry in self._commit(batch, now)})
        return [outcomes[draft] for draft in drafts]

    def settle(self, settlements: Sequence[Settlement], now: int) -> None:
        """Note what attempts came to and queue the notices about it, in one commit; finished messages leave.

        After a MailboxError nothing of it was noted: settle again, with notices made anew.
        """
        notices = [draft for settlement in settlements for draft in settlement.notices]
        places: dict[Draft[Submission], Place] = {}
        names: list[str] = []
        freed: list[str] = []
        try:
            for draft, place in zip(notices, self._spool.seal(notices, self._name), strict=True):
                if isinstance(place, MailboxError):
                    raise place
                places[draft] = place
                names.append(place.name)
            self._publish(names)
            with transaction(self.index.rows, self._files, "the attempts could not be noted"):
                for settlement in settlements:
                    freed += self._settle_one(settlement, places, now)
        except MailboxError:
            for draft in notices:
                draft.abandon()
            self._spool.withdraw(names)
            raise
        self.index.free([*freed, *names])  # of notices about a message that an operator has removed, too

    def _settle_one(self, settlement: Settlement, places: dict[Draft[Submission], Place], now: int) -> list[str]:
        wanted = (settlement.message_id,)
        if self.index.rows.execute("SELECT 1 FROM messages WHERE message_id = ?", wanted).fetchone() is None:
            return []
        for result in settlement.results:
            self.index.apply(settlement.message_id, result)
        for notice in settlement.notices:
            self.index.insert(notice.about, places[notice], now)
        return self.index.delete_if_over(settlement.message_id)

    def _commit(self, drafts: Sequence[Draft[Submission]], now: int) -> list[_Entry]:
        entries = [_Entry(draft, _once(draft.about.recipients), draft.failure) for draft in drafts]
        try:
            for entry in entries:
                if entry.outcome is None and entry.draft.about.key:
                    self._find_repeat(entry)
            self._store([entry for entry in entries if entry.outcome is None], now)
        except MailboxError as error:
            for entry in entries:
                entry.outcome = entry.outcome or error
        return entries

    def _find_repeat(self, entry: _Entry) -> None:
        key = entry.draft.about.key
        with index_errors("the keys cannot be read"):
            query = "SELECT forward_path, answer, fingerprint FROM keys WHERE key = ? ORDER BY message_id"
            known = self.index.rows.execute(query, (key,)).fetchall()
        if any(fingerprint != entry.draft.fingerprint for _, _, fingerprint in known):
            entry.outcome = KeyConflict("the idempotency key stands for another message")
            return
        paths = {path for path, _, _ in known}
        entry.recipients = tuple(wanted for wanted in entry.recipients if wanted.forward_path not in paths)
        if not entry.recipients:
            answer: str = known[-1][1]
            entry.outcome = Receipt(answer, is_repeat=True)

    def _store(self, entries: Sequence[_Entry], now: int) -> None:
        sealed = self._spool.seal([entry.draft for entry in entries], self._name)
        places: list[tuple[_Entry, Place]] = []
        for entry, place in zip(entries, sealed, strict=True):
            if isinstance(place, MailboxError):
                entry.outcome = place
            else:
                places.append((entry, place))
        names = [place.name for _, place in places]
        receipts = []
        try:
            self._publish(names)
            with transaction(self.index.rows, self._files, "the messages could not be noted"):
                self._forget_keys(now)
                receipts = [self._insert(entry, place, now) for entry, place in places]
        except MailboxError:
            self._spool.withdraw(names)
            raise
        for (entry, _), receipt in zip(places, receipts, strict=True):
            entry.outcome = receipt

    def _insert(self, entry: _Entry, place: Place, now: int) -> Receipt:
        submission = replace(entry.draft.about, recipients=entry.recipients)
        message_id = self.index.insert(submission, place, now)
        receipt = Receipt(f"2.0.0 Queued as {message_id}")
        if submission.key:
            self.index.rows.executemany(
                "INSERT INTO keys (key, forward_path, message_id, answer, fingerprint, expires_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [(submission.key, recipient.forward_path, message_id, receipt.answer, entry.draft.fingerprint,
                  now + self._keys_kept_for) for recipient in entry.recipients],
            )  # fmt: skip
        return receipt

    def _finish(self, entry: _Entry) -> Receipt | MailboxError:
        assert entry.outcome is not None
        if isinstance(entry.outcome, MailboxError) or entry.outcome.is_repeat:
            entry.draft.abandon()
        return entry.outcome

    def _forget_keys(self, now: int) -> None:
        self.index.rows.execute(
            "DELETE FROM keys WHERE expires_at <= ? AND message_id NOT IN (SELECT message_id FROM messages)", (now,)
        )

    def _publish(self, names: Sequence[str]) -> None:
        try:
            self._spool.publish(names)
        except OSError as error:
            raise storage_error("the messages could not be put into their place", error) from error

    def _name(self) -> str:
        """Never given twice: the generation is another one at each opening."""
        return f"{self._generation}-{next(self._numbers)}"

    def _prepare(self, path: Path, identity: str) -> None:
        what = f"{path} cannot be a queue"
        try:
            for folder in (TEMPORARY, BODIES):
                self._files.make_directory(path / folder)
            self._files.sync_directory(path)
            self._files.sync_directory(path.parent)
        except OSError as error:
            raise storage_error(what, error) from error
        with transaction(self.index.rows, self._files, what):
            rows = self.index.rows
            if rows.execute("SELECT 1 FROM about").fetchone() is None:
                rows.execute("INSERT INTO about (identity, generation) VALUES (?, 0)", (identity,))
            rows.execute("UPDATE about SET generation = generation + 1")
            self._identity, self._generation = rows.execute("SELECT identity, generation FROM about").fetchone()

    def _recover(self) -> Recovered:
        """Bring files and rows together again: what has only one of them was never acknowledged."""
        temporary, bodies = self._spool.temporary, self._spool.final
        try:
            left = list(self._files.sizes(temporary))
            sizes = self._files.sizes(bodies)
        except OSError as error:
            raise storage_error(f"{bodies} cannot be read", error) from error
        for name in left:
            discard(self._files, temporary / name)
        lost: list[int] = []
        with transaction(self.index.rows, self._files, "the queue could not be recovered"):
            rows = self.index.rows.execute("SELECT message_id, file, offset + octets FROM messages").fetchall()
            for message_id, file, end in rows:
                if sizes.get(file, -1) < end:
                    lost.append(message_id)
                    self.index.delete(message_id)
                    self.index.rows.execute("DELETE FROM keys WHERE message_id = ?", (message_id,))
        orphans = sorted(sizes.keys() - {file for _, file, _ in rows})
        self.index.free([*orphans, *(file for message_id, file, _ in rows if message_id in lost)])
        return Recovered(len(lost), len(orphans), len(left))


def _once(recipients: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    return tuple({recipient.forward_path: recipient for recipient in reversed(recipients)}.values())[::-1]


def _lock(path: Path) -> int:
    """Keep other servers out; the lock goes with the process, however it ends."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise MailboxError(f"another process has the queue {path}") from None
    except OSError as error:
        raise storage_error(f"{path} cannot be a queue", error) from error
    return handle
