"""Loss detection plug-ins: which unacknowledged packets are lost, and when the next will be (RFC 9002 s6.1)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.registry import Registry


@dataclass(slots=True)
class LossVerdict:
    """What a detector concluded; `Recovery` acts on it."""

    lost: list[SentPacket]  # ascending packet numbers, the first of `missing`: none is judged better than an older one
    loss_time: int | None  # when the next packet will be declared lost if still unacknowledged


class LossDetector(ABC):
    """Owns its reordering state only."""

    @abstractmethod
    def detect(self, missing: Sequence[SentPacket], largest_acked: int, rtt: RttEstimator, now: int) -> LossVerdict:
        """Judge `missing`: the outstanding packets sent before `largest_acked`, ascending by packet number."""

    def on_reordered(self) -> None:
        """A packet was acknowledged after one that was sent later, and before it was declared lost."""
        return

    def on_spurious(self, packet: SentPacket, now: int) -> None:
        """A packet declared lost because later ones had overtaken it was acknowledged after all."""
        return

    def trigger(self, packet: SentPacket, largest_acked: int) -> str:
        """Which rule lost the packet, in qlog's words: asked only to make a fact."""
        return "time_threshold"


LOSS_DETECTORS: Registry[LossDetector] = Registry("loss_detection", __name__)
