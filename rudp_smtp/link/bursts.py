"""Independent events that come at most so many times in a row, as the QUIC interop runner's losses do (`burst`).

After `cap` events in a row the next packet is spared whatever is drawn. A run of events is thus as long as a geometric
one, cut at `cap`, and one spared packet ends it: with k = `cap` the events' share in the long run is

    p (1 - p^k) / (1 - p^(k+1))

which is less than p: 29.4 % for 30 % and 3, 1.999 98 % for 2 % and 3.
"""

from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.units import PROBABILITY_ONE

CAP_MAX = 1000  # a longer burst is nothing that anybody means to forbid

# One slot of draws for each thing a packet's index decides.
_EVENT, _FIRST_RUN = 0, 1


class CappedEvents:
    """Owns how many there were in a row. It starts in equilibrium, as the loss models with a memory do."""

    __slots__ = ("_cap", "_p", "_run")

    def __init__(self, p: int, cap: int) -> None:
        self._p = p
        self._cap = cap
        self._run = -1  # not begun

    def happens(self, index: int, draws: DrawKey) -> bool:
        """Decide about the next packet by its index's draw."""
        if self._run < 0:
            self._run = self._first_run(draws.draw(index, _FIRST_RUN))
        if self._run < self._cap and draws.happens(index, self._p, _EVENT):
            self._run += 1
            return True
        self._run = 0
        return False

    def _first_run(self, draw: int) -> int:
        """How many the run has by now that a packet meets: j with a chance in proportion to p^j, up to the cap."""
        weights = [self._p**events * PROBABILITY_ONE ** (self._cap - events) for events in range(self._cap + 1)]
        place = draw * sum(weights) >> 64
        run = 0
        while place >= weights[run]:
            place -= weights[run]
            run += 1
        return run


def capped_share(p: int, cap: int) -> Fraction:
    """The events' share in the long run."""
    share = Fraction(p, PROBABILITY_ONE)
    if share == 1:
        return Fraction(cap, cap + 1)
    return share * (1 - share**cap) / (1 - share ** (cap + 1))


def capped_variance_ratio(p: int, cap: int, packets: int) -> float:
    """The variance of the share of so many packets, by that of independent events as frequent.

    Spared packets are a renewal process, a run of events and one more apart: their number varies by variance/mean^3.
    """
    share = p / PROBABILITY_ONE
    chances = [(1 - share) * share**events for events in range(cap)] + [share**cap]
    mean = sum(chance * (events + 1) for events, chance in enumerate(chances))
    variance = sum(chance * (events + 1 - mean) ** 2 for events, chance in enumerate(chances))
    if mean == 1:
        return 0.0
    return max(variance / mean**3 / ((1 - 1 / mean) / mean), 1 / packets)


def check_cap(cap: int | None) -> None:
    """Raises ConfigError for a cap that forbids all, or nothing."""
    if cap is not None and not 1 <= cap <= CAP_MAX:
        text = f"{cap} in a row; expected 1 to {CAP_MAX}, or null for any number"
        raise ConfigError(text, key="max_burst")
