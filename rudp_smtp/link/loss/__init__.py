"""Loss model plug-ins (tc-netem(8): loss random, gemodel; and exact ones)."""

from abc import ABC, abstractmethod
from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.registry import Registry


class LossModel(ABC):
    """Owns its chain's state. Packet indexes arrive in order, each once, from 0, counted at the link's entrance."""

    @abstractmethod
    def drops(self, index: int, draws: DrawKey) -> bool:
        """Decide the fate of packet `index` by a keyed draw."""

    def for_copies(self) -> "LossModel":
        """What decides about duplicates, made of a model that has decided nothing yet."""
        return self

    @abstractmethod
    def expected_loss(self, packets: int) -> Fraction:
        """The theoretical share of the first `packets` packets that are lost."""

    def variance_ratio(self, packets: int) -> float:
        """The variance of the share of so many packets that are lost, by that of independent losses as frequent.

        Losses in bursts tell less than as many single ones. 0: nothing is left to chance.
        """
        return 0.0

    @abstractmethod
    def to_tc(self) -> list[str] | None:
        """The same as `tc netem` arguments, or None where netem has no such model."""


LOSS_MODELS: Registry[LossModel] = Registry("loss model", __name__)
