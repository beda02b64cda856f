"""Independent loss of every packet with the same probability (tc-netem(8) `loss random`, without correlation).

With `max_burst` at most so many packets in a row are lost, and so fewer in the long run (`bursts` has the formula).
"""

from dataclasses import dataclass, field
from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.bursts import CappedEvents, capped_share, capped_variance_ratio, check_cap
from rudp_smtp.link.loss import LOSS_MODELS, LossModel
from rudp_smtp.registry import UNSAID
from rudp_smtp.units import PROBABILITY_ONE, Probability, print_probability


@LOSS_MODELS.register
@dataclass(slots=True, kw_only=True)
class RandomLoss(LossModel):
    """Owns nothing without a cap: each packet's fate is its own draw."""

    p: Probability
    max_burst: int | None = field(default=None, metadata=UNSAID)
    _capped: CappedEvents | None = field(init=False, default=None)

    @staticmethod
    def check(p: int, max_burst: int | None = None) -> None:
        check_cap(max_burst)

    def __post_init__(self) -> None:
        if self.max_burst is not None:
            self._capped = CappedEvents(self.p, self.max_burst)

    def drops(self, index: int, draws: DrawKey) -> bool:
        if self._capped is not None:
            return self._capped.happens(index, draws)
        p = self.p
        return p > 0 and (p >= PROBABILITY_ONE or draws.draw(index) < p)  # as `happens` has it, without the call

    def expected_loss(self, packets: int) -> Fraction:
        if self.max_burst is not None:
            return capped_share(self.p, self.max_burst)
        return Fraction(self.p, PROBABILITY_ONE)

    def variance_ratio(self, packets: int) -> float:
        if self.max_burst is not None:
            return capped_variance_ratio(self.p, self.max_burst, packets)
        return float(0 < self.p < PROBABILITY_ONE)

    def to_tc(self) -> list[str] | None:
        return ["loss", "random", print_probability(self.p)]
