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

    lost: list[SentPacket]  # ascending packet numbers
    loss_time: int | None  # when the next packet will be declared lost if still unacknowledged


class LossDetector(ABC):
    """Owns its reordering state only."""

    @abstractmethod
    def detect(self, missing: Sequence[SentPacket], largest_acked: int, rtt: RttEstimator, now: int) -> LossVerdict:
        """Judge `missing`: the outstanding packets sent before `largest_acked`, ascending by packet number."""


LOSS_DETECTORS: Registry[LossDetector] = Registry("loss_detection", __name__)
