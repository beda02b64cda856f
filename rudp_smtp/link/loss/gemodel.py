"""Gilbert-Elliott: a good and a bad state, each with a loss probability of its own (tc-netem(8) `loss gemodel`).

netem's four numbers are p, r, 1-h and 1-k: `p` leads from good to bad, `r` from bad to good, `loss_bad` is 1-h and
`loss_good` is 1-k. With netem's defaults (100 % and 0 %) bursts are geometric with mean 1/r, gaps with mean 1/p.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.loss import LOSS_MODELS, LossModel
from rudp_smtp.units import PROBABILITY_ONE, Probability, print_probability

# One slot of draws for each thing a packet's index decides.
_LOSS, _TRANSITION, _FIRST_STATE = 0, 1, 2


@LOSS_MODELS.register
@dataclass(slots=True, kw_only=True)
class GilbertElliott(LossModel):
    """Owns the chain's state. It starts in equilibrium, not in netem's good state, so short runs are not flattered."""

    p: Probability
    r: Probability
    loss_bad: Probability = PROBABILITY_ONE
    loss_good: Probability = 0
    _is_bad: bool | None = field(init=False, default=None)  # None: not begun

    def drops(self, index: int, draws: DrawKey) -> bool:
        if self._is_bad is None:
            self._is_bad = draws.below(index, self.p + self.r, _FIRST_STATE) < self.p
        if self._is_bad:
            is_lost = draws.happens(index, self.loss_bad, _LOSS)
            self._is_bad = not draws.happens(index, self.r, _TRANSITION)
        else:
            is_lost = draws.happens(index, self.loss_good, _LOSS)
            self._is_bad = draws.happens(index, self.p, _TRANSITION)
        return is_lost

    def expected_loss(self, packets: int) -> Fraction:
        if self.p + self.r == 0:
            return Fraction(self.loss_good, PROBABILITY_ONE)
        weighted = self.p * self.loss_bad + self.r * self.loss_good
        return Fraction(weighted, (self.p + self.r) * PROBABILITY_ONE)

    def variance_ratio(self, packets: int) -> float:
        """(1 + L) / (1 - L) in the long run where only the bad state loses, and there everything: L = 1 - p - r."""
        mean = float(self.expected_loss(packets))
        if mean in (0, 1):
            return 0.0
        if self.p + self.r == 0:
            return 1.0
        bad = self.p / (self.p + self.r)
        contrast = ((self.loss_bad - self.loss_good) / PROBABILITY_ONE) ** 2
        share = contrast * bad * (1 - bad) / (mean * (1 - mean))  # of the variance, due to the states
        lag, rest = 1 - (self.p + self.r) / PROBABILITY_ONE, (self.p + self.r) / PROBABILITY_ONE
        return 1 + 2 * share * (lag / rest - lag * (1 - lag**packets) / (packets * rest**2))

    def to_tc(self) -> list[str] | None:
        return ["loss", "gemodel", *map(print_probability, (self.p, self.r, self.loss_bad, self.loss_good))]
