"""The normal distribution, cut off at five deviations; `jitter` is the standard deviation (netem's normal.dist).

Floats would differ between machines (DETERMINISM rule 3), so the distribution function is tabled in whole numbers:
the density by an exact recurrence, its integral by Simpson's rule, to an error below 1e-12. A draw is looked up in
the table and interpolated inside a cell of 1/256 deviation, which moves the distribution function by less than 1e-6.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS, DelayDistribution, Piece

CELLS_PER_DEVIATION = 256
DEVIATIONS_MAX = 5  # netem's table ends at four

_HALF = 1 << 63  # a draw's upper bit is the sign, the other 63 the place in the upper half
_FRACTION_BITS = 32  # of a cell
PARTS = CELLS_PER_DEVIATION << _FRACTION_BITS  # of a deviation: what a quantile is counted in
_SCALE_BITS = 160  # fixed point: rounding errors stay far below the table's 63 bits


def _exponential(numerator: int, denominator: int) -> int:
    """exp(-numerator/denominator), fixed point, by its power series."""
    term = total = 1 << _SCALE_BITS
    power = 0
    while term:
        power += 1
        term = -(abs(term) * numerator // (denominator * power)) * (1 if term > 0 else -1)
        total += term
    return total


def _cumulative() -> list[int]:
    """P(|X| < k/256 given |X| < 5) for each k, out of 2**63."""
    steps = 2 * CELLS_PER_DEVIATION  # Simpson's rule needs each cell's middle too
    # exp(-x*x/2) at x = k/steps: the ratio of neighbours shrinks by exp(-1/steps**2) every time.
    density = 1 << _SCALE_BITS
    ratio = _exponential(1, 2 * steps * steps)
    shrink = _exponential(1, steps * steps)
    densities = [density]
    for _ in range(DEVIATIONS_MAX * steps):
        density = density * ratio >> _SCALE_BITS
        ratio = ratio * shrink >> _SCALE_BITS
        densities.append(density)
    sums = [0]
    for k in range(0, DEVIATIONS_MAX * steps, 2):
        sums.append(sums[-1] + densities[k] + 4 * densities[k + 1] + densities[k + 2])
    return [_HALF * partial // sums[-1] for partial in sums]


_TABLE = _cumulative()


def upper_quantile(place: int) -> int:
    """What a share `place` (out of 2**63) of the upper half stays below, in parts of a deviation: see PARTS."""
    cell = bisect_right(_TABLE, place) - 1
    low = _TABLE[cell]
    within = (place - low << _FRACTION_BITS) // (_TABLE[cell + 1] - low)
    return (cell << _FRACTION_BITS) + within


@DELAY_DISTRIBUTIONS.register
@dataclass(slots=True, kw_only=True)
class NormalDelay(DelayDistribution):
    """Inverts the tabled distribution function."""

    def offset(self, index: int, draws: DrawKey, jitter: int) -> int:
        draw = draws.draw(index)
        distance = upper_quantile(draw & (_HALF - 1)) * jitter // PARTS
        return distance if draw & _HALF else -distance

    def pieces(self, jitter: int) -> list[Piece]:
        upper = []
        for cell, (low, high) in enumerate(pairwise(_TABLE)):
            width = jitter / CELLS_PER_DEVIATION
            upper.append((cell * width, (cell + 1) * width, (high - low) / (2 * _HALF)))
        return [(-high, -low, share) for low, high, share in reversed(upper)] + upper
