"""Skips: packet numbers left out now and then, so that nobody acknowledges what he has not seen (RFC 9000 s21.4)."""

from rudp_smtp.draws import DrawKey
from rudp_smtp.recovery.recovery import Recovery

DISTANCE_MIN = 512  # packets between two skips, on average, ...
DISTANCE_WINDOWS = 2  # ... or this many windows: who acknowledges ahead goes at least that far


class Skips:
    """Owns the number that is skipped next. A skip costs the peer an acknowledgement at once and one gap to report."""

    __slots__ = ("_draw_count", "_draws", "_recovery", "upcoming")

    def __init__(self, recovery: Recovery, draws: DrawKey) -> None:
        self._recovery = recovery
        self._draws = draws
        self._draw_count = 0
        self.upcoming = self._draw_distance(DISTANCE_MIN)

    def skip(self, max_datagram_size: int) -> int:
        """Leave `upcoming` out; the number after it."""
        number = self.upcoming
        self._recovery.sent.skip_packet_number()
        window = self._recovery.congestion.congestion_window // max_datagram_size
        self.upcoming = number + 1 + self._draw_distance(max(DISTANCE_MIN, DISTANCE_WINDOWS * window))
        return number + 1

    def _draw_distance(self, mean: int) -> int:
        """From half of the mean to one and a half."""
        self._draw_count += 1
        return mean // 2 + self._draws.below(self._draw_count, mean)
