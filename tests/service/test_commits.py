"""Group commit: everybody hears of their own message, many at once, and a failure fails those it was about."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.files import Disk
from rudp_smtp.mail.spool import Draft, Receipt, Spool
from rudp_smtp.service.commits import GroupCommit, Outcome


@dataclass(frozen=True, slots=True)
class About:
    number: int
    key: str = ""


class Store:
    """Answers each message by its number: refuses the sevens, and breaks down at a thirteen."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._spool = Spool(Disk(), temporary=path, final=path)
        self._seconds = seconds
        self.batches: list[list[int]] = []

    def draft(self, number: int) -> Draft[About]:
        return Draft(self._spool, About(number), lambda: f"{number}", b"")

    def commit(self, drafts: Sequence[Draft[About]], now: int) -> list[Outcome]:
        time.sleep(self._seconds)
        numbers = [draft.about.number for draft in drafts]
        self.batches.append(numbers)
        if any(number % 13 == 12 for number in numbers):
            raise ZeroDivisionError(f"{numbers}")
        return [MailboxError(f"{number}") if number % 7 == 6 else Receipt(f"{number}") for number in numbers]


@pytest.mark.parametrize("seconds", [0.0, 0.001])
def test_everybody_hears_of_their_own_message(tmp_path: Path, seconds: float) -> None:
    store = Store(tmp_path, seconds)

    async def send(commits: GroupCommit[About], worker: int) -> None:
        for number in range(worker, 2000, 10):
            (outcome,) = await asyncio.gather(commits.commit(store.draft(number)), return_exceptions=True)
            if isinstance(outcome, ZeroDivisionError):
                assert number in {int(word) for word in str(outcome).strip("[]").split(",")}
            else:
                assert outcome == Receipt(f"{number}") or (number % 7 == 6 and str(outcome) == f"{number}")

    async def run() -> None:
        commits = GroupCommit(store.commit, lambda: 0, "test")
        async with asyncio.TaskGroup() as group:
            for worker in range(10):
                group.create_task(send(commits, worker))
        await commits.close()

    asyncio.run(run())
    assert sorted(number for batch in store.batches for number in batch) == list(range(2000))
    assert max(map(len, store.batches)) > 1


def test_closing_finishes_what_waits_also_for_who_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path, 0.05)

    async def run() -> None:
        commits = GroupCommit(store.commit, lambda: 0, "test")
        waiting = [asyncio.create_task(commits.commit(store.draft(number))) for number in range(5)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        waiting[4].cancel()
        await commits.close()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert told[1:4] == [Receipt(f"{number}") for number in (1, 2, 3)]

    asyncio.run(run())
    assert sorted(number for batch in store.batches for number in batch) == list(range(5))
