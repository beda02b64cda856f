"""The chain of tc-netem(8) `loss state`: 1 arrives, 2 arrives within a burst, 3 is lost within a burst, 4 lost alone.

`p13` and `p14` lead out of state 1, `p31` and `p32` out of 3, `p23` out of 2; from 4 the way leads back to 1 at once.
What is not given is netem's: p31 = 1 - p13, p32 = 0, p23 = 1, p14 = 0.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.loss import LOSS_MODELS, LossModel
from rudp_smtp.units import PROBABILITY_ONE, Probability, print_probability

# One slot of draws for each thing a packet's index decides.
_TRANSITION, _FIRST_STATE = 0, 1
_LOST = (3, 4)


@LOSS_MODELS.register
@dataclass(slots=True, kw_only=True)
class FourState(LossModel):
    """Owns the chain's state. It starts in equilibrium, where netem starts in state 1."""

    p13: Probability
    p31: Probability | None = None
    p32: Probability = 0
    p23: Probability = PROBABILITY_ONE
    p14: Probability = 0
    _back: int = field(init=False)  # p31, given or not
    _state: int = field(init=False, default=0)  # 0: not begun

    @staticmethod
    def check(p13: int, p31: int | None = None, p32: int = 0, p23: int = PROBABILITY_ONE, p14: int = 0) -> None:
        if p13 + p14 > PROBABILITY_ONE:
            raise ConfigError("p13 and p14 together are more than certain; expected at most 100% in all", key="p14")
        if p31 is None and p32 > p13:
            text = "p32 leaves no room for p31, which is 100% - p13 unless given; expected p31 too"
            raise ConfigError(text, key="p32")
        if p31 is not None and p31 + p32 > PROBABILITY_ONE:
            raise ConfigError("p31 and p32 together are more than certain; expected at most 100% in all", key="p32")

    def __post_init__(self) -> None:
        self._back = PROBABILITY_ONE - self.p13 if self.p31 is None else self.p31

    @property
    def state(self) -> int:
        """Where the chain is for the next packet: 1 to 4, and 0 before the first."""
        return self._state

    def drops(self, index: int, draws: DrawKey) -> bool:
        if self._state == 0:
            weights = self._equilibrium()
            place = draws.draw(index, _FIRST_STATE) * sum(weights) >> 64
            self._state = 1
            while place >= weights[self._state - 1]:
                place -= weights[self._state - 1]
                self._state += 1
        is_lost = self._state in _LOST
        self._state = self._next_state(draws.draw(index, _TRANSITION))
        return is_lost

    def _next_state(self, draw: int) -> int:
        if self._state == 1:
            if draw < self.p14:
                return 4
            return 3 if draw < self.p14 + self.p13 else 1
        if self._state == 2:
            return 3 if draw < self.p23 else 2
        if self._state == 3:
            if draw < self.p32:
                return 2
            return 1 if draw < self.p32 + self._back else 3
        return 1

    def _equilibrium(self) -> tuple[int, int, int, int]:
        """Weights of the states in the long run: what flows from 1 to 3 flows back, and so between 3 and 2."""
        if self.p13 == 0:  # the burst's states are never entered
            return PROBABILITY_ONE, 0, 0, self.p14
        if self.p32 == 0:  # state 2 is never entered
            return self._back * PROBABILITY_ONE, 0, self.p13 * PROBABILITY_ONE, self._back * self.p14
        return (
            self._back * self.p23 * PROBABILITY_ONE,
            self.p13 * self.p32 * PROBABILITY_ONE,
            self.p13 * self.p23 * PROBABILITY_ONE,
            self._back * self.p23 * self.p14,
        )

    def expected_loss(self, packets: int) -> Fraction:
        _, _, burst, alone = weights = self._equilibrium()
        return Fraction(burst + alone, sum(weights))

    def variance_ratio(self, packets: int) -> float:
        mean = self.expected_loss(packets)
        if mean in (0, 1):
            return 0.0
        weights = self._equilibrium()
        states = [state for state, weight in enumerate(weights) if weight]
        shares = [Fraction(weights[state], sum(weights)) for state in states]
        losses = [Fraction(state + 1 in _LOST) - mean for state in states]
        transitions = self._transitions()
        # (I - P + 1 pi) x = losses: x sums what is still to come of each state's difference from the mean.
        rows = [
            [
                Fraction(i == j) - transitions[a][b] + share
                for j, (b, share) in enumerate(zip(states, shares, strict=True))
            ]
            for i, a in enumerate(states)
        ]
        sums = _solve(rows, losses)
        terms = zip(shares, losses, sums, strict=True)
        covariance = sum((share * loss * (total - loss) for share, loss, total in terms), Fraction(0))
        return max(float(1 + 2 * covariance / (mean * (1 - mean))), 1 / packets)

    def _transitions(self) -> list[list[Fraction]]:
        """Row i: the chances of the next state, from state i + 1."""
        p13, p31, p32, p23, p14 = (
            Fraction(chance, PROBABILITY_ONE) for chance in (self.p13, self._back, self.p32, self.p23, self.p14)
        )
        none = Fraction(0)
        return [
            [1 - p13 - p14, none, p13, p14],
            [none, 1 - p23, p23, none],
            [p31, p32, 1 - p31 - p32, none],
            [Fraction(1), none, none, none],
        ]

    def to_tc(self) -> list[str] | None:
        chances = (self.p13, self._back, self.p32, self.p23, self.p14)
        return ["loss", "state", *map(print_probability, chances)]


def _solve(rows: list[list[Fraction]], values: list[Fraction]) -> list[Fraction]:
    """Gauss and Jordan's elimination, exact."""
    system = [[*row, value] for row, value in zip(rows, values, strict=True)]
    for column in range(len(system)):
        pivot = next(row for row in system[column:] if row[column])
        system.remove(pivot)
        scaled = [value / pivot[column] for value in pivot]
        system = [[a - row[column] * b for a, b in zip(row, scaled, strict=True)] for row in system]
        system.insert(column, scaled)
    return [row[-1] for row in system]
