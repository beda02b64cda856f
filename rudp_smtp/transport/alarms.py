"""Alarms: which connection wants to be woken next.

A deadline that moves later, as an idle time-out does with every packet, leaves its entry where it is; it is put right
when it comes to the top. So a connection costs nothing until the time for which its alarm was set.
"""

from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, Protocol, TypeVar

STALE_MAX = 64  # entries that no longer count, besides one for each that does


class Sleeper(Protocol):
    deadline: int | None  # when it wants to be woken
    alarm: int | None  # when it will be looked at: never later


Kind = TypeVar("Kind", bound=Sleeper)


class Alarms(Generic[Kind]):
    """Owns the order of the alarms, and both times of each sleeper."""

    __slots__ = ("_count", "_heap", "_set")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Kind]] = []  # an entry counts if its time is its sleeper's `alarm`
        self._count = 0  # makes entries of one time keep their order
        self._set = 0  # sleepers with an alarm

    def settle(self, sleeper: Kind, deadline: int | None) -> None:
        """Note when a sleeper wants to be woken."""
        sleeper.deadline = deadline
        if deadline is not None and (sleeper.alarm is None or deadline < sleeper.alarm):
            self._push(sleeper, deadline)

    def cancel(self, sleeper: Kind) -> None:
        if sleeper.alarm is not None:
            self._set -= 1
        sleeper.alarm = sleeper.deadline = None

    def next_time(self) -> int | None:
        heap = self._heap
        while heap:
            time, _, sleeper = heap[0]
            deadline = sleeper.deadline
            if sleeper.alarm != time:
                heappop(heap)
            elif deadline == time:
                return time
            elif deadline is None:
                heappop(heap)
                self.cancel(sleeper)
            else:
                self._count += 1
                sleeper.alarm = deadline
                heapreplace(heap, (deadline, self._count, sleeper))
        return None

    def pop_due(self, now: int) -> Kind | None:
        """The next one whose deadline has come; it has no alarm until it is settled again."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            time, _, sleeper = heappop(heap)
            if sleeper.alarm != time:
                continue
            sleeper.alarm = None
            self._set -= 1
            deadline = sleeper.deadline
            if deadline is None:
                continue
            if deadline <= now:
                return sleeper
            self._push(sleeper, deadline)
        return None

    def _push(self, sleeper: Kind, time: int) -> None:
        if sleeper.alarm is None:
            self._set += 1
        sleeper.alarm = time
        self._count += 1
        heap = self._heap
        heappush(heap, (time, self._count, sleeper))
        if len(heap) > STALE_MAX + 2 * self._set:
            heap[:] = [entry for entry in heap if entry[2].alarm == entry[0]]
            heapify(heap)
