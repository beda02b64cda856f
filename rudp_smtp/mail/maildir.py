"""Mailbox on disk, in the order that makes 250 true: write, fsync, rename, fsync the directory, and only then return.

The format is qmail's Maildir, so any mail reader opens it. Octets are kept as they came, CRLF line ends included,
behind the trace fields that RFC 5321 section 4.4 asks of the server that makes the final delivery.

A message with an idempotency key is promised in between: once its octets and its name in tmp/ are safe, a row is
committed that says it belongs into new/. Who finds such a row later carries it out, so it is delivered exactly once.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rudp_smtp.errors import KeyConflict, MailboxError
from rudp_smtp.mail.files import Disk, Files, storage_error
from rudp_smtp.mail.maildir_keys import KEYS_NAME, DeliveredKeys, Promise
from rudp_smtp.mail.received import trace_fields
from rudp_smtp.mail.spool import KEYS_KEPT_FOR, Draft, Place, Receipt, Spool, rounds
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.units import MICROSECOND, SECOND

STALE_AFTER = 36 * 3600 * SECOND  # maildir(5): a file this long in tmp/ belongs to nobody
DELIVERED = "2.0.0 Delivered"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Whose message it is; the envelope's own mail data is not asked, a draft is written."""

    envelope: Envelope
    key: str = ""


class Maildir:
    """Owns one Maildir folder's tmp/ and its way into new/. Here `now` is ns since the Unix epoch.

    `unique` gives a text it never gives twice, nor does anyone else delivering to the same folder at the same time: a
    counter behind something of this process's own. `domain` is the name this server goes by.
    """

    def __init__(
        self,
        path: Path,
        *,
        domain: str,
        unique: Callable[[], str],
        files: Files | None = None,
        keys_kept_for: int = KEYS_KEPT_FOR,
    ) -> None:
        self._path = path
        self._domain = domain
        self._unique = unique
        self._files = files or Disk()
        self._keys_kept_for = keys_kept_for
        self._spool = Spool(self._files, temporary=path / "tmp", final=path / "new")
        self._keys: DeliveredKeys | None = None
        try:
            for folder in ("tmp", "new", "cur"):
                self._files.make_directory(path / folder)
            self._files.sync_directory(path)
            self._files.sync_directory(path.parent)
            has_keys = self._files.exists(path / KEYS_NAME)
        except OSError as error:
            raise storage_error(f"{path} cannot be a Maildir", error) from error
        if has_keys:
            self._carry_out(self._open_keys().unmoved())

    def close(self) -> None:
        if self._keys is not None:
            self._keys.close()
            self._keys = None

    def begin(self, envelope: Envelope, now: int, key: str = "", *, trace_id: str = "") -> Draft[Delivery]:
        """A draft to write the octets into, then to `commit` or to abandon."""
        front = trace_fields(envelope, domain=self._domain, now=now, trace_id=trace_id)
        return Draft(self._spool, Delivery(envelope, key), lambda: self._name(now), front)

    def commit(self, drafts: Sequence[Draft[Delivery]], now: int) -> list[Receipt | MailboxError]:
        """Deliver messages together; for each its receipt, or why it is not in the mailbox.

        A message with a key whose delivery failed behind its promise is delivered by the repeat, or at the next start.
        """
        outcomes: dict[Draft[Delivery], Receipt | MailboxError] = {}
        for batch in rounds(drafts):
            outcomes |= self._commit(batch, now)
        return [outcomes[draft] for draft in drafts]

    def deliver(self, envelope: Envelope, now: int) -> None:
        draft = self.begin(envelope, now, envelope.idempotency_key)
        draft.write(envelope.mail_data)
        (outcome,) = self.commit([draft], now)
        if isinstance(outcome, MailboxError):
            raise outcome

    def clean(self, now: int) -> int:
        """Remove what deliveries that were cut off left in tmp/; how many files were stale."""
        folder = self._path / "tmp"
        try:
            stale = [name for name, time in sorted(self._files.modified(folder).items()) if now - time > STALE_AFTER]
            for name in stale:
                with suppress(FileNotFoundError):  # somebody else cleans too
                    self._files.remove(folder / name)
        except OSError as error:
            raise storage_error(f"{folder} cannot be cleaned", error) from error
        return len(stale)

    def _commit(self, drafts: Sequence[Draft[Delivery]], now: int) -> dict[Draft[Delivery], Receipt | MailboxError]:
        outcomes = {draft: known for draft in drafts if (known := self._known(draft)) is not None}
        waiting = [draft for draft in drafts if draft not in outcomes]
        placed: list[tuple[Draft[Delivery], Place]] = []
        for draft, place in zip(waiting, self._spool.seal(waiting, None), strict=True):
            if isinstance(place, MailboxError):
                outcomes[draft] = place
            else:
                placed.append((draft, place))
        promises = [
            Promise(draft.about.key, place.name, draft.fingerprint) for draft, place in placed if draft.about.key
        ]
        names = [place.name for _, place in placed]
        try:
            self._promise(promises, now)
        except MailboxError as error:
            failure: MailboxError | None = error
            # A commit that failed may still be found done after a crash, unless it did not even fit: then a message
            # that is gone from tmp/ would count as delivered. What stays there is invisible, and `clean` takes it.
            self._spool.withdraw([place.name for draft, place in placed if error.is_full or not draft.about.key])
        else:
            failure = self._move(names, [promise.name for promise in promises])
        outcomes.update({draft: failure or Receipt(DELIVERED) for draft, _ in placed})
        return outcomes

    def _known(self, draft: Draft[Delivery]) -> Receipt | MailboxError | None:
        """The answer to a draft that needs no delivery: it failed, or its key was delivered before."""
        if draft.failure is not None or not draft.about.key:
            return draft.failure
        try:
            known = self._open_keys().find(draft.about.key)
            if known is None:
                return None
            draft.abandon()
            if known.fingerprint != draft.fingerprint:
                return KeyConflict("the idempotency key stands for another message")
            if not known.is_moved:
                self._carry_out([known.name])
        except MailboxError as error:
            draft.abandon()
            return error
        return Receipt(DELIVERED, is_repeat=True)

    def _promise(self, promises: Sequence[Promise], now: int) -> None:
        if not promises:
            return
        try:
            self._files.sync_directory(self._path / "tmp")
        except OSError as error:
            raise storage_error(f"{self._path / 'tmp'} could not be made safe", error) from error
        self._open_keys().promise(promises, now, now + self._keys_kept_for)

    def _move(self, names: Sequence[str], promised: Sequence[str]) -> MailboxError | None:
        try:
            for name in names:
                # Of a promise somebody else who delivers here may have taken care when he started.
                with suppress(*((FileNotFoundError,) if name in promised else ())):
                    self._spool.move(name)
            if names:
                self._files.sync_directory(self._spool.final)
        except OSError as error:
            # After a failed fsync of the directory the message may be visible, but it is not safe: the client will be
            # told to repeat it, so it must go. A promise stands.
            self._spool.withdraw([name for name in names if name not in promised])
            return storage_error(f"a message could not be delivered to {self._path}", error)
        if promised:
            self._open_keys().note_moved(promised)
        return None

    def _carry_out(self, names: Sequence[str]) -> None:
        failure = self._move(names, names)
        if failure is not None:
            raise failure

    def _open_keys(self) -> DeliveredKeys:
        if self._keys is None:
            self._keys = DeliveredKeys(self._path, self._files)
        return self._keys

    def _name(self, now: int) -> str:
        seconds, rest = divmod(now, SECOND)
        host = self._domain.replace("/", "\\057").replace(":", "\\072")
        return f"{seconds}.M{rest // MICROSECOND:06}{self._unique()}.{host}"
