"""Delay distribution plug-ins: how jitter is spread about the constant delay (tc-netem(8) distribution)."""

from abc import ABC, abstractmethod

from rudp_smtp.draws import DrawKey
from rudp_smtp.registry import Registry

Piece = tuple[float, float, float]  # from, to (ns) and the share of the offsets evenly spread between; or all at one


class DelayDistribution(ABC):
    """Integer tables or arithmetic of our own: the same draw is the same delay on every machine."""

    @abstractmethod
    def offset(self, index: int, draws: DrawKey, jitter: int) -> int:
        """Nanoseconds to add to the constant delay of packet `index`; may be negative."""

    def offset_of_copy(self, index: int, draws: DrawKey, jitter: int) -> int:
        """The same for a duplicate of the packet, which has draws of its own."""
        return self.offset(index, draws, jitter)

    @abstractmethod
    def pieces(self, jitter: int) -> list[Piece] | None:
        """The distribution of the offsets, for theory to compare with; None where nothing is left to chance."""


DELAY_DISTRIBUTIONS: Registry[DelayDistribution] = Registry("delay distribution", __name__, support=("quantiles",))
