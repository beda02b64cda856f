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
    """Owns the thread in which every fsync happens: the loop that moves the packets never waits for a disk.

    `commit` is `Queue.commit` or `Maildir.commit`; `clock` gives ns since the Unix epoch.
    """

    def __init__(self, commit: Commit[A], clock: Callable[[], int], name: str) -> None:
        self._commit = commit
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[tuple[Draft[A], asyncio.Future[Outcome]]] = SimpleQueue()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._under_way: list[asyncio.Future[Outcome]] = []  # the disk's own
        self._turn = threading.Lock()
        self._is_going = False  # guarded by `_turn`
        self._unanswered = 0  # the loop's own, as is the next
        self._idle = asyncio.Event()
        self._idle.set()

    async def commit(self, draft: Draft[A]) -> Outcome:
        """Make the draft safe; once this returns a Receipt it is."""
        done: asyncio.Future[Outcome] = self._loop.create_future()
        self._unanswered += 1
        self._idle.clear()
        self._waiting.put((draft, done))
        with self._turn:
            is_first, self._is_going = not self._is_going, True
        if is_first:
            self._begin()
        return await done

    async def close(self) -> None:
        """Finish what waits."""
        await self._idle.wait()
        self._disk.shutdown()

    def _begin(self) -> None:
        self._disk.submit(self._commit_waiting).add_done_callback(self._on_committed)

    def _commit_waiting(self) -> list[Outcome]:
        """In the thread, as is what follows."""
        batch: list[tuple[Draft[A], asyncio.Future[Outcome]]] = []
        while not self._waiting.empty() and len(batch) < BATCH_MAX:
            batch.append(self._waiting.get())
        self._under_way = [done for _, done in batch]
        if not batch:  # those before took it along
            return []
        return self._commit([draft for draft, _ in batch], self._clock())

    def _on_committed(self, attempt: Future[list[Outcome]]) -> None:
        self._loop.call_soon_threadsafe(self._tell, self._under_way, attempt)
        with self._turn:
            self._is_going = is_more = not self._waiting.empty()
        if is_more:
            self._begin()

    def _tell(self, waiting: list[asyncio.Future[Outcome]], attempt: Future[list[Outcome]]) -> None:
        """A store that fails in a way nobody foresaw fails these sessions: those that follow may do better."""
        self._unanswered -= len(waiting)
        if not self._unanswered:
            self._idle.set()
        error = attempt.exception()
        outcomes = attempt.result() if error is None else []
        for number, done in enumerate(waiting):
            if done.done():  # who waited is gone
                continue
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(outcomes[number])
