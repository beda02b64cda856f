"""Who is woken next, and that what was put off costs neither order nor memory."""

import sys
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.transport.alarms import Alarms


@dataclass(slots=True)
class Dozer:
    deadline: int | None = None
    alarm: int | None = None


def woken(alarms: Alarms[Dozer], now: int) -> list[Dozer]:
    """All whose time has come. Each goes back to sleep for good."""
    found = []
    while (dozer := alarms.pop_due(now)) is not None:
        alarms.settle(dozer, None)
        found.append(dozer)
    return found


def test_of_one_time_the_one_that_was_settled_first_is_woken_first() -> None:
    alarms: Alarms[Dozer] = Alarms()
    dozers = [Dozer() for _ in range(5)]
    for dozer in dozers:
        alarms.settle(dozer, 7)
    assert alarms.next_time() == 7
    assert woken(alarms, 6) == []
    assert all(one is other for one, other in zip(woken(alarms, 7), dozers, strict=True))
    assert alarms.next_time() is None


@given(st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(1, 20)), max_size=60), st.integers(0, 21))
def test_nobody_is_woken_but_by_the_deadline_given_last(changes: list[tuple[int, int | None]], now: int) -> None:
    alarms: Alarms[Dozer] = Alarms()
    dozers = [Dozer() for _ in range(5)]
    latest: dict[int, int | None] = {}
    for place, deadline in changes:
        if deadline is None:
            alarms.cancel(dozers[place])
        else:
            alarms.settle(dozers[place], deadline)
        latest[place] = deadline
    times = [deadline for deadline in latest.values() if deadline is not None]
    assert alarms.next_time() == min(times, default=None)
    due = [place for place, deadline in latest.items() if deadline is not None and deadline <= now]
    found = woken(alarms, now)
    assert [place for place, dozer in enumerate(dozers) if any(one is dozer for one in found)] == sorted(due)
    assert len(found) == len(due)


def test_deadlines_that_come_and_go_leave_nothing_behind() -> None:
    """A line that is busy for a moment, beside an idle time-out that is far away: the heap must not keep every one."""
    alarms: Alarms[Dozer] = Alarms()
    dozer = Dozer()
    before = sys.getallocatedblocks()
    for now in range(100_000):
        alarms.settle(dozer, now + 10**9)
        alarms.cancel(dozer)
    assert sys.getallocatedblocks() - before < 10_000
