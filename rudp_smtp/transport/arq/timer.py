"""RetransmissionTimer: how long a frame may stay unacknowledged, with Karn's two rules (RFC 6298 sections 3 and 5)."""

from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.timer import RtoEstimator
from rudp_smtp.units import MILLISECOND

INITIAL_RTT = 333 * MILLISECOND  # kInitialRtt, RFC 9002 section 6.2.2; only timers that follow the estimate read it


class RetransmissionTimer:
    """Owns the round-trip estimate and the back-off; the frames it times are the senders'.

    An acknowledgement names a sequence number, which a frame keeps when it is sent again: of such a frame nobody can
    say which copy was acknowledged. Hence Karn's rules: no sample is taken from it, and a back-off stays in force
    until a frame that was sent once gives one.
    """

    __slots__ = ("_backed_off_at", "_estimator", "_expirations", "rtt", "timeout")

    def __init__(self, estimator: RtoEstimator) -> None:
        self.rtt = RttEstimator(INITIAL_RTT)
        self._estimator = estimator
        self._expirations = 0
        self._backed_off_at = -1
        self.timeout = estimator.timeout(self.rtt, 0, 0)

    def on_acked(self, sent_time: int, transmissions: int, now: int) -> None:
        """Take what was sent `transmissions` times, the last time at `sent_time`, as acknowledged."""
        if transmissions > 1:
            return
        sample = now - sent_time
        self.rtt.on_sample(sample, 0)
        self._estimator.on_rtt_sample(sample, 0)
        self._expirations = 0
        self.timeout = self._estimator.timeout(self.rtt, 0, 0)

    def on_expired(self, sent_time: int, now: int) -> None:
        """Back off, once for all that was sent before the last time this happened."""
        if sent_time >= self._backed_off_at:
            self._backed_off_at = now
            self._expirations += 1
            self.timeout = self._estimator.timeout(self.rtt, 0, self._expirations)
