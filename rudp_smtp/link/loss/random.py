"""Independent loss of every packet with the same probability (tc-netem(8) `loss random`, without correlation)."""

from dataclasses import dataclass
from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.loss import LOSS_MODELS, LossModel
from rudp_smtp.units import PROBABILITY_ONE, Probability, print_probability


@LOSS_MODELS.register
@dataclass(slots=True, kw_only=True)
class RandomLoss(LossModel):
    """Owns nothing: each packet's fate is its own draw."""

    p: Probability

    def drops(self, index: int, draws: DrawKey) -> bool:
        return draws.happens(index, self.p)

    def expected_loss(self, packets: int) -> Fraction:
        return Fraction(self.p, PROBABILITY_ONE)

    def variance_ratio(self, packets: int) -> float:
        return float(0 < self.p < PROBABILITY_ONE)

    def to_tc(self) -> list[str] | None:
        return ["loss", "random", print_probability(self.p)]
