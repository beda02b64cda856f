"""Every delay within `jitter` of the constant one is equally likely: netem's own choice without a table."""

from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS, DelayDistribution, Piece


@DELAY_DISTRIBUTIONS.register
@dataclass(slots=True, kw_only=True)
class UniformDelay(DelayDistribution):
    """Whole nanoseconds from -jitter to +jitter, both included."""

    def offset(self, index: int, draws: DrawKey, jitter: int) -> int:
        return draws.below(index, 2 * jitter + 1) - jitter

    def pieces(self, jitter: int) -> list[Piece]:
        return [(-jitter - 0.5, jitter + 0.5, 1.0)]  # each whole number stands for what is rounded to it
