"""RttEstimator: latest, smallest and smoothed round-trip time and its variation (RFC 9002 section 5)."""

from rudp_smtp.units import MILLISECOND

GRANULARITY = MILLISECOND  # kGranularity, RFC 9002 section 6.1.2


class RttEstimator:
    """Owns the path's round-trip estimates, in nanoseconds; the caller pairs packets with acknowledgements."""

    __slots__ = ("has_sample", "latest_rtt", "min_rtt", "rttvar", "smoothed_rtt")

    def __init__(self, initial_rtt: int) -> None:
        # RFC 9002 section 5.3: before the first sample, smoothed_rtt is kInitialRtt and rttvar half of it.
        self.latest_rtt = 0
        self.min_rtt = 0
        self.smoothed_rtt = initial_rtt
        self.rttvar = initial_rtt // 2
        self.has_sample = False

    def on_sample(self, latest_rtt: int, ack_delay: int) -> None:
        """Take the time from sending a packet to its acknowledgement; `ack_delay` is already limited to the peer's
        max_ack_delay (RFC 9002 section 5.3)."""
        self.latest_rtt = latest_rtt
        if not self.has_sample:
            self.has_sample = True
            self.min_rtt = self.smoothed_rtt = latest_rtt
            self.rttvar = latest_rtt // 2
            return
        # RFC 9002 section 5.2: min_rtt comes from raw samples, never from ones adjusted for the ACK delay.
        min_rtt = self.min_rtt
        if latest_rtt < min_rtt:
            self.min_rtt = min_rtt = latest_rtt
        # RFC 9002 section 5.3: never adjust below min_rtt, or a peer that overstates its delay shrinks our timer.
        adjusted_rtt = latest_rtt - ack_delay if latest_rtt >= min_rtt + ack_delay else latest_rtt
        # Appendix A.7's order, which is RFC 6298's: the variation is taken against the old smoothed_rtt.
        smoothed_rtt = self.smoothed_rtt
        self.rttvar = (3 * self.rttvar + abs(smoothed_rtt - adjusted_rtt)) // 4
        self.smoothed_rtt = (7 * smoothed_rtt + adjusted_rtt) // 8

    def copy(self) -> "RttEstimator":
        copy = RttEstimator(0)
        copy.become(self)
        return copy

    def become(self, other: "RttEstimator") -> None:
        """Take over another path's estimates."""
        self.latest_rtt = other.latest_rtt
        self.min_rtt = other.min_rtt
        self.smoothed_rtt = other.smoothed_rtt
        self.rttvar = other.rttvar
        self.has_sample = other.has_sample

    def probe_timeout(self, max_ack_delay: int, granularity: int = GRANULARITY) -> int:
        """RFC 9002 section 6.2.1's PTO, not backed off: what an acknowledgement takes at the most."""
        return self.smoothed_rtt + max(4 * self.rttvar, granularity) + max_ack_delay
