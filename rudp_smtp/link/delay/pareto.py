"""Long-tailed delays: Pareto of shape 3, as netem's table of that name has it, but with the deviation asked for.

`jitter` is the standard deviation. No delay is more than 0.62 of it below the mean; one in 4096 is over 20 above.
"""

from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS, DelayDistribution, Piece
from rudp_smtp.link.delay.quantiles import ENTRIES, UNIT, even_points, pareto_quantile, standardised

TABLE = standardised([pareto_quantile(entry, UNIT) for entry in range(ENTRIES)])


@DELAY_DISTRIBUTIONS.register
@dataclass(slots=True, kw_only=True)
class ParetoDelay(DelayDistribution):
    """Every entry of the table is equally likely."""

    def offset(self, index: int, draws: DrawKey, jitter: int) -> int:
        return TABLE[draws.below(index, ENTRIES)] * jitter // UNIT

    def pieces(self, jitter: int) -> list[Piece]:
        return even_points(value * jitter // UNIT for value in TABLE)
