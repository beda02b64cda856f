"""Every n-th packet is lost, from packet `offset` on: offset, offset + n, ... netem has no such model."""

from dataclasses import dataclass
from fractions import Fraction

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.loss import LOSS_MODELS, LossModel


@LOSS_MODELS.register
@dataclass(slots=True, kw_only=True)
class EveryNth(LossModel):
    """Owns nothing: the index decides."""

    n: int
    offset: int = 0

    @staticmethod
    def check(n: int, offset: int = 0) -> None:
        if n < 1:
            raise ConfigError(f"every {n}-th packet does not exist; expected at least 1", key="n")
        if offset < 0:
            raise ConfigError(f"{offset} is no packet; indexes count from 0", key="offset")

    def drops(self, index: int, draws: DrawKey) -> bool:
        return index >= self.offset and (index - self.offset) % self.n == 0

    def expected_loss(self, packets: int) -> Fraction:
        lost = max(0, -(-(packets - self.offset) // self.n))
        return Fraction(lost, max(packets, 1))

    def to_tc(self) -> list[str] | None:
        return None
