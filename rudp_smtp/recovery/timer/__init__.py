"""Retransmission timer plug-ins: how long silence lasts before we act (RFC 6298; RFC 9002 s6.2)."""

from abc import ABC, abstractmethod
from typing import ClassVar

from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.registry import Registry


class RtoEstimator(ABC):
    """Owns its averages only; `Recovery` counts expirations and arms the timer."""

    declares_loss: ClassVar[bool] = False
    """Whether expiry means everything outstanding is lost and the window collapses (RFC 6298 s5, RFC 5681 s3.1),
    or only that a probe is due (RFC 9002 s6.2.4)."""

    @abstractmethod
    def on_rtt_sample(self, sample: int) -> None:
        """Take a round-trip time in nanoseconds, not adjusted for ACK delay; never one that is ambiguous (Karn)."""

    @abstractmethod
    def timeout(self, rtt: RttEstimator, max_ack_delay: int, expirations: int) -> int:
        """Nanoseconds from the last ack-eliciting packet to expiry, after `expirations` in a row (back-off)."""


TIMERS: Registry[RtoEstimator] = Registry("timer", __name__)
