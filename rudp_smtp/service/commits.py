"""Group commit: while one commit is under way the messages of all sessions gather, and go together in the next."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.spool import Draft, Keyed, Receipt

A = TypeVar("A", bound=Keyed)
Outcome = Receipt | MailboxError
Commit = Callable[[Sequence[Draft[A]], int], list[Outcome]]

BATCH_MAX = 500


class GroupCommit(Generic[A]):
    """Owns the threads in which every fsync happens: the loop that moves the packets never waits for a disk.

    `commit` is `Queue.commit` or `Maildir.commit`; `clock` gives ns since the Unix epoch.
    """

    def __init__(self, commit: Commit[A], clock: Callable[[], int], name: str) -> None:
        self._commit = commit
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[tuple[Draft[A], asyncio.Future[Outcome]] | None] = SimpleQueue()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def commit(self, draft: Draft[A]) -> Outcome:
        """Make the draft safe; once this returns a Receipt it is."""
        done: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting.put((draft, done))
        return await asyncio.shield(done)

    async def close(self) -> None:
        """Finish what waits."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        self._disk.shutdown()

    def _work(self) -> None:
        is_over = False
        while not is_over:
            batch = [self._waiting.get()]
            while not self._waiting.empty() and len(batch) < BATCH_MAX:
                batch.append(self._waiting.get())
            entries = [entry for entry in batch if entry is not None]
            is_over = len(entries) < len(batch)
            if entries:
                self._do([draft for draft, _ in entries], [done for _, done in entries])

    def _do(self, drafts: list[Draft[A]], waiting: list[asyncio.Future[Outcome]]) -> None:
        """A store that fails in a way nobody foresaw fails these sessions: those that follow may do better."""
        attempt: Future[list[Outcome]] = self._disk.submit(self._commit, drafts, self._clock())
        error = attempt.exception()
        if error is not None:
            self._loop.call_soon_threadsafe(_fail, waiting, error)
        else:
            self._loop.call_soon_threadsafe(_tell, waiting, attempt.result())


def _tell(waiting: list[asyncio.Future[Outcome]], outcomes: list[Outcome]) -> None:
    for done, outcome in zip(waiting, outcomes, strict=True):
        if not done.done():
            done.set_result(outcome)


def _fail(waiting: list[asyncio.Future[Outcome]], error: BaseException) -> None:
    for done in waiting:
        if not done.done():
            done.set_exception(error)
