"""A quarter normal and three quarters Pareto, quantile by quantile: what NISTnet's authors found on the real network.

As netem's table of that name, but with mean 0 and with `jitter` as the standard deviation.
"""

from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS, DelayDistribution, Piece
from rudp_smtp.link.delay.normal import PARTS, upper_quantile
from rudp_smtp.link.delay.quantiles import ENTRIES, UNIT, even_points, pareto_quantile, standardised


def _normal_quantile(entry: int) -> int:
    """The middle of cell `entry` of the normal distribution; its halves mirror each other."""
    distance = abs(2 * entry + 1 - ENTRIES)
    value = upper_quantile((distance << 63) // ENTRIES) * UNIT // PARTS
    return value if 2 * entry >= ENTRIES else -value


TABLE = standardised([_normal_quantile(entry) + 3 * pareto_quantile(entry, UNIT) for entry in range(ENTRIES)])


@DELAY_DISTRIBUTIONS.register
@dataclass(slots=True, kw_only=True)
class ParetoNormalDelay(DelayDistribution):
    """Every entry of the table is equally likely."""

    def offset(self, index: int, draws: DrawKey, jitter: int) -> int:
        return TABLE[draws.below(index, ENTRIES)] * jitter // UNIT

    def pieces(self, jitter: int) -> list[Piece]:
        return even_points(value * jitter // UNIT for value in TABLE)
