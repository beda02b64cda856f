"""PathModel: what is known of the path, and what follows from several estimates of it together.

The estimates themselves are `model`'s and `baseline`'s; draft-ietf-ccwg-bbr section 5.5.
"""

from rudp_smtp.recovery.congestion.bbr.baseline import BaselineLoss
from rudp_smtp.recovery.congestion.bbr.model import RTT_TOLERANCE, ExtraAcked, FullPipe, MaxBandwidth, MinRtt
from rudp_smtp.recovery.congestion.bbr.rounds import Round, Tally
from rudp_smtp.recovery.delivery_rate import RateSample
from rudp_smtp.units import SECOND

QUANTUM_PACKETS = 2  # section 5.6.3
QUIET_RTT_FRACTION = 8  # ours: a queue below 1/8 of the round trip, and a quantum, is none
RTT_SAMPLES = 8  # of a round that shows how long queues get: as N_RTT_SAMPLE, RFC 9406


class PathModel:
    """Owns the estimates, and how long queues have come to; what to do about any of it is left to others."""

    __slots__ = (
        "_has_learned",
        "_peak_rtt",
        "_peak_rtt_before",
        "baseline",
        "extra_acked",
        "full_pipe",
        "has_queue",
        "max_bandwidth",
        "min_rtt",
    )

    def __init__(self) -> None:
        self.max_bandwidth = MaxBandwidth()
        self.min_rtt = MinRtt()
        self.full_pipe = FullPipe()
        self.extra_acked = ExtraAcked()
        self.baseline = BaselineLoss()
        self.has_queue = True  # the last round's shortest round trip was not the shortest
        self._peak_rtt = 0  # the longest of this probing cycle, by the shortest of each round
        self._peak_rtt_before = 0  # and of the one before
        self._has_learned = False  # of the baseline, in this cycle

    def on_rate(self, rate: int, is_limited: bool) -> None:
        """Take a sample of the bandwidth; where the application was the limit it counts only if it is no less."""
        if rate and (rate >= self.max_bandwidth.value or not is_limited):
            self.max_bandwidth.on_sample(rate)

    def on_rtt(self, rtt: int, now: int) -> None:
        if self.min_rtt.on_sample(rtt, now, self.baseline.is_trusted):
            self.baseline.forget()  # there was a queue while it was learned

    def on_round(self, latest: Round) -> None:
        """Take the round trips of a round that is over."""
        min_rtt = self.min_rtt.value or 0
        if latest.samples >= RTT_SAMPLES:
            self._peak_rtt = max(self._peak_rtt, latest.rtt)
        if self.full_pipe.was_full:
            peak = max(self._peak_rtt, self._peak_rtt_before)
            self.baseline.is_trusted = peak > min_rtt + min_rtt // QUIET_RTT_FRACTION
        self.has_queue = latest.rtt > min_rtt + min_rtt // RTT_TOLERANCE

    def on_cycle(self) -> None:
        """Forget of queues what is two probing cycles old, and half of what losses showed a cycle ago."""
        if not self._has_learned:
            self.baseline.distrust()
        self._has_learned = False
        self._peak_rtt_before, self._peak_rtt = self._peak_rtt, 0

    def learn(self, tally: Tally, size: int) -> None:
        """Take what was lost for the path's own."""
        self._has_learned = True
        self.baseline.on_round((tally.lost + size // 2) // size, tally.total // size)

    def is_exceeded(self, lost: int, total: int, sigmas: int, size: int) -> bool:
        """Whether so many octets lost, in datagrams of this size, are more than the path loses whatever we do."""
        if not lost:
            return False
        return self.baseline.is_exceeded((lost + size // 2) // size, total // size, sigmas)

    def quiet_rtt(self, size: int) -> int:
        """Round trips up to this long show no queue: a small share of the shortest, and of what queues have come to."""
        min_rtt = self.min_rtt.value or 0
        queue = min_rtt // QUIET_RTT_FRACTION
        if self.full_pipe.was_full:
            queue += QUANTUM_PACKETS * size * SECOND // max(self.max_bandwidth.value, 1)
            queue = min(queue, (max(self._peak_rtt, self._peak_rtt_before) - min_rtt) // 2)
        return min_rtt + queue

    def passed(self, sample: RateSample) -> int:
        """Octets the path let pass, those included that it loses whatever we do."""
        if not self.baseline.certain:
            return sample.delivered
        return min(sample.passed, self.baseline.compensated(sample.delivered))

    def average(self, tally: Tally) -> int:
        """The rate at which packets passed over some time."""
        return self.baseline.compensated(tally.delivered) * SECOND // max(tally.time, 1)
