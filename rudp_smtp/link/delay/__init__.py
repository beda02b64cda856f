"""Delay distribution plug-ins: how jitter is spread about the constant delay (tc-netem(8) distribution)."""

from abc import ABC, abstractmethod

from rudp_smtp.draws import DrawKey
from rudp_smtp.registry import Registry


class DelayDistribution(ABC):
    """Integer tables or arithmetic of our own: the same draw is the same delay on every machine."""

    @abstractmethod
    def offset(self, index: int, draws: DrawKey, jitter: int) -> int:
        """Nanoseconds to add to the constant delay of packet `index`; may be negative."""


DELAY_DISTRIBUTIONS: Registry[DelayDistribution] = Registry("delay distribution", __name__, support=("quantiles",))
