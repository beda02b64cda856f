"""Exactly these packets are lost, by their index at the link's entrance from 0. netem has no such model.

`copies` are the packets whose duplicates are lost, where that can be: behind the rate; unless given, the same ones. In
a scenario either is a list, or the name of a file of numbers beside the scenario.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.fates import check_indexes
from rudp_smtp.link.loss import LOSS_MODELS, LossModel


@LOSS_MODELS.register
@dataclass(slots=True, kw_only=True)
class ListedLoss(LossModel):
    """Owns the list; each index counts once however often it is given."""

    packets: tuple[int, ...]
    copies: tuple[int, ...] | None = None
    _lost: frozenset[int] = field(init=False)

    @staticmethod
    def check(packets: tuple[int, ...], copies: tuple[int, ...] | None = None) -> None:
        check_indexes(packets, "packets")
        check_indexes(copies or (), "copies")

    def __post_init__(self) -> None:
        self._lost = frozenset(self.packets)

    def drops(self, index: int, draws: DrawKey) -> bool:
        return index in self._lost

    def for_copies(self) -> LossModel:
        return self if self.copies is None else ListedLoss(packets=self.copies)

    def expected_loss(self, packets: int) -> Fraction:
        return Fraction(sum(index < packets for index in self._lost), max(packets, 1))

    def to_tc(self) -> list[str] | None:
        return None
