"""A rate that changes as it was recorded: Mahimahi's format, a time in ms for each opportunity to send 1504 octets.

After the last time the trace begins again, that much later. An opportunity that finds nothing to send is gone; several
small packets share one, and a packet that does not fit goes on in the next and has left with its last octet.
"""

from bisect import bisect_left

from rudp_smtp.link.config import OPPORTUNITY_OCTETS
from rudp_smtp.units import MILLISECOND


class Opportunities:
    """Owns the place in the trace: which opportunity is being used, and what is left of it."""

    __slots__ = ("_left", "_number", "_period", "_time", "_times")

    def __init__(self, times_ms: tuple[int, ...]) -> None:
        self._times = tuple(time * MILLISECOND for time in times_ms)
        self._period = self._times[-1]
        self._number = -1  # of the opportunity in use, counted through all rounds
        self._time = -1
        self._left = 0  # octets

    def send(self, octets: int, start: int) -> int:
        """When a packet that is ready at `start` has left."""
        if self._time < start:
            self._left = 0
            self._number = max(self._number, self._first_from(start) - 1)
        rest = octets
        while rest > self._left or self._time < start:
            rest -= self._left
            self._number += 1
            rounds, place = divmod(self._number, len(self._times))
            self._time = rounds * self._period + self._times[place]
            self._left = OPPORTUNITY_OCTETS
        self._left -= rest
        return self._time

    def _first_from(self, start: int) -> int:
        """The number of the first opportunity at `start` or later."""
        rounds = max(0, -(-start // self._period) - 1)  # a time of a round's end belongs to it too
        return rounds * len(self._times) + bisect_left(self._times, start - rounds * self._period)
