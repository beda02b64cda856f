"""Retransmission timer plug-ins: how long silence lasts before we act (RFC 6298; RFC 9002 s6.2)."""

from abc import ABC, abstractmethod
from typing import ClassVar

from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.registry import Registry
from rudp_smtp.units import SECOND

MAXIMUM_PTO = SECOND  # ours: of what back-off makes of a shorter time-out; RFC 6298 section 2.4 never waits for less
DOUBLINGS_MAX = 32  # beyond any maximum: keeps the shift short


class RtoEstimator(ABC):
    """Owns its averages only; `Recovery` counts expirations and arms the timer."""

    declares_loss: ClassVar[bool] = False
    """Whether expiry means everything outstanding is lost and the window collapses (RFC 6298 s5, RFC 5681 s3.1),
    or only that a probe is due (RFC 9002 s6.2.4)."""

    @abstractmethod
    def on_rtt_sample(self, sample: int, ack_delay: int) -> None:
        """Take a round-trip time in nanoseconds and what of it the peer waited; never one that is ambiguous (Karn)."""

    @abstractmethod
    def timeout(self, rtt: RttEstimator, max_ack_delay: int, expirations: int) -> int:
        """Nanoseconds from the last ack-eliciting packet to expiry, after `expirations` in a row (back-off)."""

    def quiet_time(self, rtt: RttEstimator) -> int:
        """Nanoseconds that must also have passed since the last acknowledgement: while they come, nobody is silent."""
        return 0

    def on_flight_acked(self, ack_delay: int) -> None:
        """After the handshake, everything in flight is acknowledged; the newest waited so long at the peer."""
        return


def back_off(timeout: int, expirations: int, maximum: int) -> int:
    """Double a probe's time-out with each expiration in a row but the first, up to `maximum` or `timeout` itself.

    A departure from RFC 9002 section 6.2.1, which doubles at once, and without end. One packet and one probe lost is no
    more than what a loss rate of p does to p^2 of all tails, and says nothing of a queue: the tail loss probe of RFC
    8985 section 7.3 does not back the next time-out off either. And where nothing at all comes back, two packets in
    `maximum` harm nobody, while to double on would leave a path that has healed unused for as long as it was dead.
    """
    if expirations < 2:
        return timeout
    return max(timeout, min(timeout << min(expirations - 1, DOUBLINGS_MAX), maximum))


TIMERS: Registry[RtoEstimator] = Registry("timer", __name__)
