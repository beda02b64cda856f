"""Exactly these delays: `offsets[i]` of packet i, in `jitter`s, so that with a jitter of 1ns they are nanoseconds.

Packets after the last have none. `copies` are pairs, a packet and its duplicate's offset. In a scenario either is a
list, or the name of a file of numbers beside the scenario.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS, DelayDistribution, Piece
from rudp_smtp.link.fates import check_groups, pairs


@DELAY_DISTRIBUTIONS.register
@dataclass(slots=True, kw_only=True)
class ListedDelay(DelayDistribution):
    """Owns the lists."""

    offsets: tuple[int, ...]
    copies: tuple[int, ...] = ()
    _of_copies: Mapping[int, int] = field(init=False)

    @staticmethod
    def check(offsets: tuple[int, ...], copies: tuple[int, ...] = ()) -> None:
        check_groups(copies, 2, "pairs of a packet and an offset", "copies")

    def __post_init__(self) -> None:
        self._of_copies = pairs(self.copies)

    def offset(self, index: int, draws: DrawKey, jitter: int) -> int:
        return self.offsets[index] * jitter if index < len(self.offsets) else 0

    def offset_of_copy(self, index: int, draws: DrawKey, jitter: int) -> int:
        return self._of_copies.get(index, 0) * jitter

    def pieces(self, jitter: int) -> list[Piece] | None:
        return None
