"""A distribution of the user's own, as netem's .dist files have it: each value is equally likely, 8192 is one `jitter`.

In a scenario `values` is a list, or the name of a file of numbers beside the scenario. They are taken as they stand:
a table with another mean than 0 moves the delay, and one with another deviation than 8192 spreads it otherwise.
"""

from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS, DelayDistribution, Piece
from rudp_smtp.link.delay.quantiles import even_points

SCALE = 8192  # NETEM_DIST_SCALE


@DELAY_DISTRIBUTIONS.register
@dataclass(slots=True, kw_only=True)
class TableDelay(DelayDistribution):
    """Owns the values."""

    values: tuple[int, ...]

    @staticmethod
    def check(values: tuple[int, ...]) -> None:
        if not values:
            raise ConfigError("an empty table has no delay in it; expected at least one number", key="values")

    def offset(self, index: int, draws: DrawKey, jitter: int) -> int:
        return self.values[draws.below(index, len(self.values))] * jitter // SCALE

    def pieces(self, jitter: int) -> list[Piece]:
        return even_points(value * jitter // SCALE for value in self.values)
