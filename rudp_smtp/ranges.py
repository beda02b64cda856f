"""RangeSet: sorted, disjoint, half-open integer ranges, for packet numbers and stream offsets (RFC 9000 s19.3.1)."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """Owns the ranges; adjacent ones are one. Adding at the end, the common case, takes constant time.

    `starts`, ascending, is for reading only: hot paths ask it whether the set is empty, which costs them no call.
    """

    __slots__ = ("_stops", "starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self.starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in ranges:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        """Add [start, stop)."""
        assert start < stop
        starts, stops = self.starts, self._stops
        if not stops or start > stops[-1]:
            starts.append(start)
            stops.append(stop)
            return
        if start >= starts[-1]:
            if stop > stops[-1]:
                stops[-1] = stop
            return
        first = bisect_left(stops, start)  # the first range that touches or follows `start`
        last = bisect_right(starts, stop)  # one past the last range that touches or precedes `stop`
        if first < last:
            start = min(start, starts[first])
            stop = max(stop, stops[last - 1])
        starts[first:last] = [start]
        stops[first:last] = [stop]

    def subtract(self, start: int, stop: int) -> None:
        """Remove [start, stop)."""
        assert start < stop
        starts, stops = self.starts, self._stops
        first = bisect_right(stops, start)  # the first range that ends after `start`
        last = bisect_left(starts, stop)  # one past the last range that begins before `stop`
        if first >= last:
            return
        kept: list[tuple[int, int]] = []
        if starts[first] < start:
            kept.append((starts[first], start))
        if stops[last - 1] > stop:
            kept.append((stop, stops[last - 1]))
        starts[first:last] = [low for low, _ in kept]
        stops[first:last] = [high for _, high in kept]

    def covers(self, start: int, stop: int) -> bool:
        """Say whether all of [start, stop) is in the set."""
        index = bisect_right(self.starts, start) - 1
        return index >= 0 and stop <= self._stops[index]

    def overlap(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of [start, stop) that are in the set, ascending."""
        starts, stops = self.starts, self._stops
        first, last = bisect_right(stops, start), bisect_left(starts, stop)
        return [(max(start, starts[i]), min(stop, stops[i])) for i in range(first, last)]

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of [start, stop) that are not in the set, ascending."""
        gaps: list[tuple[int, int]] = []
        for low, high in self.overlap(start, stop):
            if low > start:
                gaps.append((start, low))
            start = high
        if start < stop:
            gaps.append((start, stop))
        return gaps

    def pop_first(self) -> tuple[int, int]:
        """Take the lowest range out."""
        return self.starts.pop(0), self._stops.pop(0)

    def first(self) -> tuple[int, int]:
        return self.starts[0], self._stops[0]

    def last(self) -> tuple[int, int]:
        return self.starts[-1], self._stops[-1]

    @property
    def largest(self) -> int:
        """The largest integer in the set, which must not be empty."""
        return self._stops[-1] - 1

    def descending(self, limit: int) -> list[tuple[int, int]]:
        """At most `limit` ranges, highest first."""
        starts, stops = self.starts, self._stops
        first = max(0, len(starts) - limit)
        return [(starts[i], stops[i]) for i in range(len(starts) - 1, first - 1, -1)]

    def __contains__(self, value: int) -> bool:
        index = bisect_right(self.starts, value) - 1
        return index >= 0 and value < self._stops[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self.starts, self._stops, strict=True))

    def __len__(self) -> int:
        return len(self.starts)

    def __bool__(self) -> bool:
        return bool(self.starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self.starts == other.starts and self._stops == other._stops

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"RangeSet({list(self)!r})"
