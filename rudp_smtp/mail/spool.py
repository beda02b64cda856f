"""Messages on their way to the disk: drafts that take octets as they come, and their way from tmp/ to their place.

What the queue and the Maildir share. The order is theirs to keep: `seal` (octets synced in tmp/), `publish` (renamed,
the folder synced), and a commit of their own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.files import Files, discard, storage_error, write_all
from rudp_smtp.mail.received import Fingerprint
from rudp_smtp.units import SECOND

SPILL_OCTETS = 64 << 10  # what a draft keeps in memory at most; a larger message gets a file of its own
NAME_ATTEMPTS = 16
KEYS_KEPT_FOR = 7 * 24 * 3600 * SECOND  # more than the 4-5 days that a client tries (RFC 5321 section 4.5.4.1)


class Keyed(Protocol):
    @property
    def key(self) -> str:
        """The idempotency key, "" for none."""


K = TypeVar("K", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The message is safe: now say 250. `is_repeat`: it had been before, and was not stored again."""

    answer: str
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message's octets are: a file of the folder and a part of it."""

    name: str
    offset: int
    octets: int


class Draft(Generic[K]):
    """A message being written. Owns its part of memory, or its file in tmp/, until it is sealed or abandoned.

    What goes wrong is kept in `failure`, after which octets are passed over: a server reads on to the end mark in any
    case, and hears of the failure when it commits. `front` goes before the message and is not part of `fingerprint`.
    """

    __slots__ = ("_buffered", "_file", "_fingerprint", "_handle", "_name", "_pieces", "_spool",
                 "about", "failure", "octets")  # fmt: skip

    def __init__(self, spool: "Spool", about: K, name: Callable[[], str], front: bytes) -> None:
        self.about = about
        self.octets = len(front)
        self.failure: MailboxError | None = None
        self._spool = spool
        self._name = name
        self._file = ""  # in tmp/, once there is one
        self._pieces = [front] if front else []
        self._buffered = len(front)
        self._handle: int | None = None
        self._fingerprint = Fingerprint()

    @property
    def is_small(self) -> bool:
        """It is in memory as a whole."""
        return self._handle is None

    @property
    def fingerprint(self) -> str:
        """Tells a message from another one that came under its key by mistake; no defence against malice."""
        assert self.about.key
        return self._fingerprint.text()

    def write(self, octets: bytes) -> None:
        if self.failure is not None:
            return
        if self.about.key:
            self._fingerprint.feed(octets)
        self.octets += len(octets)
        self._pieces.append(octets)
        self._buffered += len(octets)
        if self._buffered >= SPILL_OCTETS:
            self._spill()

    def abandon(self) -> None:
        """Forget the message; there is no way back from here."""
        if self.failure is None:
            self._fail(MailboxError("the message was abandoned"))

    def flush(self) -> int | None:
        """Give the octets to the file system as a whole; the handle to sync, None if it failed."""
        if self.failure is None:
            self._spill()
        return self._handle

    def seal(self, failure: OSError | None) -> Place | MailboxError:
        """The end of it: what became of the sync. Who calls gives the file its place."""
        if self.failure is None:
            handle, self._handle = self._handle, None
            assert handle is not None
            try:
                self._spool.files.close(handle)
            except OSError as error:
                failure = failure or error
        if self.failure is None and failure is not None:
            self._fail(storage_error(f"{self._file} could not be written", failure))
        return self.failure or Place(self._file, 0, self.octets)

    def take(self) -> bytes:
        """What is in memory, which is then no longer this draft's."""
        octets = b"".join(self._pieces)
        self._pieces, self._buffered = [], 0
        return octets

    def _spill(self) -> None:
        try:
            if self._handle is None:
                self._file, self._handle = self._spool.create(self._name)
            write_all(self._spool.files, self._handle, self.take())
        except OSError as error:
            self._fail(storage_error("the message could not be written", error))
        except MailboxError as error:
            self._fail(error)

    def _fail(self, failure: MailboxError) -> None:
        self.failure = failure
        self.take()
        if self._handle is not None:
            self._spool.close(self._handle)
            self._handle = None
        if self._file:
            discard(self._spool.files, self._spool.temporary / self._file)


def rounds(drafts: Sequence[Draft[K]]) -> Iterator[list[Draft[K]]]:
    """Batches without a key twice: the second message must know what became of the first."""
    waiting = list(drafts)
    while waiting:
        keys: set[str] = set()
        batch: list[Draft[K]] = []
        later: list[Draft[K]] = []
        for draft in waiting:
            (later if draft.about.key in keys else batch).append(draft)
            keys |= {draft.about.key} - {""}
        yield batch
        waiting = later


class Spool:
    """Owns the way of files from tmp/ to the folder where they stay."""

    def __init__(self, files: Files, *, temporary: Path, final: Path) -> None:
        self.files = files
        self.temporary = temporary
        self.final = final
        self._temporary, self._final = f"{temporary}/", f"{final}/"

    def create(self, name: Callable[[], str]) -> tuple[str, int]:
        """A file in tmp/ that nobody else has, open for writing, under a name that is free in its place as well.

        Looking there once the file in tmp/ is ours leaves no gap: who had the name before has renamed it by then. A
        rename onto a message would destroy what was answered with 250.
        """
        for _ in range(NAME_ATTEMPTS):
            chosen = name()
            try:
                handle = self.files.create(self._temporary + chosen)
            except FileExistsError:
                continue
            if not self.files.exists(self._final + chosen):
                return chosen, handle
            self.close(handle)
            self.files.remove(self.temporary / chosen)
        raise MailboxError(f"no unused name in {self.temporary} after {NAME_ATTEMPTS} attempts")

    def seal(self, drafts: Sequence[Draft[K]], pack_name: Callable[[], str] | None) -> list[Place | MailboxError]:
        """Make the octets of all safe in tmp/. With `pack_name` those in memory share one file, and so one fsync."""
        places: dict[Draft[K], Place | MailboxError] = {}
        small = [draft for draft in drafts if draft.is_small and draft.failure is None]
        if pack_name is not None and len(small) > 1:  # one needs a file of its own in any case
            places.update(zip(small, self._pack([draft.take() for draft in small], pack_name), strict=True))
        handles = {draft: draft.flush() for draft in drafts if draft not in places}
        live = {draft: handle for draft, handle in handles.items() if handle is not None}
        failures = dict(zip(live, self.files.sync_all(list(live.values())), strict=True))
        places.update({draft: draft.seal(failures.get(draft)) for draft in handles})
        return [places[draft] for draft in drafts]

    def publish(self, names: Sequence[str]) -> None:
        """Rename sealed files to their place, and make that durable with one fsync. Packed messages name one file."""
        for name in dict.fromkeys(names):
            self.move(name)
        if names:
            self.files.sync_directory(self.final)

    def move(self, name: str) -> None:
        """Rename a sealed file to its place."""
        self.files.rename(self._temporary + name, self._final + name)

    def withdraw(self, names: Sequence[str]) -> None:
        """Undo `seal` and `publish` where the rest went wrong: a visible message that was refused must go."""
        for name in names:
            discard(self.files, self.temporary / name)
            discard(self.files, self.final / name)

    def close(self, handle: int) -> None:
        """Close what will not be kept: an error of it changes nothing."""
        try:
            self.files.close(handle)
        except OSError:
            return

    def _pack(self, messages: Sequence[bytes], name: Callable[[], str]) -> list[Place | MailboxError]:
        places: list[Place | MailboxError] = []
        offset = 0
        chosen = ""
        try:
            chosen, handle = self.create(name)
            for octets in messages:
                places.append(Place(chosen, offset, len(octets)))
                offset += len(octets)
            try:
                write_all(self.files, handle, b"".join(messages))
                self.files.sync(handle)
            except OSError:
                self.close(handle)
                raise
            self.files.close(handle)
        except OSError as error:
            if chosen:
                discard(self.files, self.temporary / chosen)
            failure = storage_error("the messages could not be written", error)
            return [failure] * len(messages)
        except MailboxError as failure:
            return [failure] * len(messages)
        return places
