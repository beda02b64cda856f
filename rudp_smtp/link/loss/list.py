"""Exactly these packets are lost, by their index at the link's entrance from 0. netem has no such model."""

from dataclasses import dataclass, field
from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.loss import LOSS_MODELS, LossModel


@LOSS_MODELS.register
@dataclass(slots=True, kw_only=True)
class ListedLoss(LossModel):
    """Owns the list; each index counts once however often it is given."""

    packets: tuple[int, ...]
    _lost: frozenset[int] = field(init=False)

    @staticmethod
    def check(packets: tuple[int, ...]) -> None:
        for position, index in enumerate(packets):
            if index < 0:
                raise ConfigError(f"{index} is no packet; indexes count from 0", key=f"packets[{position}]")

    def __post_init__(self) -> None:
        self._lost = frozenset(self.packets)

    def drops(self, index: int, draws: DrawKey) -> bool:
        return index in self._lost

    def expected_loss(self, packets: int) -> Fraction:
        return Fraction(sum(index < packets for index in self._lost), max(packets, 1))

    def to_tc(self) -> list[str] | None:
        return None
