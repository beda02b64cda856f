"""Recorded fates, one a packet: 1 is lost, 0 is not; after the last the first again. netem has no such model.

In a scenario `fates` is a list, or the name of a file of numbers beside the scenario.
"""

from dataclasses import dataclass
from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.loss import LOSS_MODELS, LossModel


@LOSS_MODELS.register
@dataclass(slots=True, kw_only=True)
class RecordedLoss(LossModel):
    """Owns nothing: the index decides."""

    fates: tuple[int, ...]

    @staticmethod
    def check(fates: tuple[int, ...]) -> None:
        if not fates:
            raise ConfigError("an empty trace tells no fate; expected at least one 0 or 1", key="fates")
        for position, fate in enumerate(fates):
            if fate not in (0, 1):
                raise ConfigError(f"{fate} is no fate; expected 0 (arrives) or 1 (lost)", key=f"fates[{position}]")

    def drops(self, index: int, draws: DrawKey) -> bool:
        return self.fates[index % len(self.fates)] == 1

    def expected_loss(self, packets: int) -> Fraction:
        rounds, rest = divmod(packets, len(self.fates))
        return Fraction(rounds * sum(self.fates) + sum(self.fates[:rest]), max(packets, 1))

    def to_tc(self) -> list[str] | None:
        return None
