"""CUBIC: the window follows a cubic of the time since the last loss, and never does worse than Reno (RFC 9438).

The first slow start ends as HyStart++ has it (RFC 9406), before the queue overflows, and loses far less for it.
Integer arithmetic throughout, so that a window is the same on every machine: bytes, nanoseconds, and remainders kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rudp_smtp.recovery.congestion import (
    CONTROLLERS,
    CongestionController,
    CongestionEvent,
    Flight,
    initial_window,
    minimum_window,
)
from rudp_smtp.recovery.hystart import HyStart
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.units import SECOND

BETA_NUMERATOR, BETA_DENOMINATOR = 7, 10  # beta_cubic, RFC 9438 section 4.6
# RFC 9438 section 4.6 allows RFC 8511's answer to a mark: a queue that marks is kept short, so that seven tenths of the
# window would leave it empty and the path idle, where a queue that overflowed was full.
BETA_ECN_NUMERATOR, BETA_ECN_DENOMINATOR = 17, 20  # beta_ecn, RFC 8511 section 3
C_NUMERATOR, C_DENOMINATOR = 2, 5  # C in segments per second cubed, RFC 9438 section 5.1
ALPHA_NUMERATOR, ALPHA_DENOMINATOR = 9, 17  # 3 (1 - beta) / (1 + beta), RFC 9438 section 4.3
CONVERGENCE_NUMERATOR, CONVERGENCE_DENOMINATOR = 17, 20  # (1 + beta) / 2, RFC 9438 section 4.7
CUBED_SECOND = SECOND**3


def cube_root(value: int) -> int:
    """The largest integer whose cube is not above `value`."""
    if value <= 0:
        return 0
    root = 1 << -(-value.bit_length() // 3)  # above the root: Newton's steps only fall
    while True:
        step = (2 * root + value // (root * root)) // 3
        if step >= root:
            return root
        root = step


@dataclass(slots=True)
class Reduction:
    """What was so before a reduction, to go back to if it was for nothing (RFC 9438 section 4.9)."""

    window: int
    ssthresh: int | None
    w_max: int
    k: int
    w_est: int
    cwnd_prior: int
    epoch_start: int | None


@CONTROLLERS.register
@dataclass(slots=True, kw_only=True)
class Cubic(CongestionController):
    max_datagram_size: int
    fast_convergence: bool = True
    hystart: bool = True  # RFC 9406
    congestion_window: int = field(init=False)
    _ssthresh: int | None = field(default=None, init=False)
    _recovery_start_time: int = field(default=-1, init=False)
    _epoch_start: int | None = field(default=None, init=False)  # of this congestion avoidance stage
    _w_max: int = field(default=0, init=False)  # bytes; 0: none is known (section 4.8, 4.10)
    _k: int = field(default=0, init=False)  # ns from the epoch's start until the window is _w_max again
    _w_est: int = field(default=0, init=False)  # what Reno's window would be, bytes
    _cwnd_prior: int = field(default=0, init=False)  # before the last reduction
    _window_remainder: int = field(default=0, init=False)
    _w_est_remainder: int = field(default=0, init=False)
    _limited_since: int | None = field(default=None, init=False)
    _last_ack_time: int = field(default=0, init=False)
    _hystart: HyStart | None = field(default=None, init=False)  # while slow start is the first
    _before: Reduction | None = field(default=None, init=False)  # the last reduction

    def __post_init__(self) -> None:
        self.congestion_window = initial_window(self.max_datagram_size)
        self._hystart = HyStart() if self.hystart else None

    @property
    def ssthresh(self) -> int | None:
        return self._ssthresh

    def on_packets_acked(self, acked: Sequence[SentPacket], flight: Flight) -> None:
        now = flight.now
        if flight.is_app_limited:
            if self._limited_since is None:
                self._limited_since = now
            self._last_ack_time = now
            return
        epoch_start = self._epoch_start
        if epoch_start is not None:
            self._epoch_start = epoch_start + self._unused_time(acked[0].sent_time, now)
        self._limited_since = None
        self._last_ack_time = now
        recovery_start_time = self._recovery_start_time
        acked_bytes = 0
        for packet in acked:
            if packet.sent_time > recovery_start_time:  # no growth during recovery (RFC 9002 section 7.3.2)
                acked_bytes += packet.size
        if not acked_bytes:
            return
        ssthresh = self._ssthresh
        if ssthresh is None and self._hystart is not None:
            self.congestion_window += self._hystart.on_acked(acked_bytes, acked[-1].sent_time, now)
            if self._hystart.is_done:
                self._ssthresh = self.congestion_window
        elif ssthresh is None or self.congestion_window < ssthresh:
            self.congestion_window += acked_bytes
        else:
            self._avoid_congestion(acked_bytes, now, flight.smoothed_rtt)

    def on_congestion_event(self, event: CongestionEvent) -> None:
        window_min = minimum_window(self.max_datagram_size)
        # RFC 5681 section 3.1: ssthresh is held while the same flight times out again.
        is_repeated = event.is_persistent and self.congestion_window == window_min
        if event.sent_time > self._recovery_start_time and not is_repeated:
            self._recovery_start_time = event.now
            self._reduce(window_min, event.is_ecn)
        if event.is_persistent:
            # Section 4.8: the next stage starts with K = 0 and with its own first window as W_max.
            self.congestion_window = window_min
            self._w_max = 0
            self._epoch_start = None
            self._recovery_start_time = -1  # RFC 9002 appendix B.8: what is acknowledged from now on counts
            self._before = None

    def on_spurious_congestion_event(self, now: int) -> None:
        before = self._before
        if before is None:
            return
        self._before = None
        self.congestion_window = max(self.congestion_window, before.window)
        self._ssthresh = before.ssthresh
        self._w_max = before.w_max
        self._k = before.k
        self._w_est = before.w_est
        self._cwnd_prior = before.cwnd_prior
        self._epoch_start = before.epoch_start
        self._recovery_start_time = -1

    def _reduce(self, window_min: int, is_ecn: bool) -> None:
        window = self.congestion_window
        self._before = Reduction(
            window, self._ssthresh, self._w_max, self._k, self._w_est, self._cwnd_prior, self._epoch_start
        )
        if window < self._w_max and self.fast_convergence:  # section 4.7
            self._w_max = window * CONVERGENCE_NUMERATOR // CONVERGENCE_DENOMINATOR
        else:
            self._w_max = window
        self._cwnd_prior = window
        if is_ecn:
            reduced = window * BETA_ECN_NUMERATOR // BETA_ECN_DENOMINATOR
        else:
            reduced = window * BETA_NUMERATOR // BETA_DENOMINATOR
        self.congestion_window = max(reduced, window_min)
        self._ssthresh = self.congestion_window
        self._epoch_start = None

    def _unused_time(self, sent_time: int, now: int) -> int:
        """How long the window was not the limit before this acknowledgement: section 5.8 does not count it."""
        if self._limited_since is not None:
            return now - self._limited_since
        return max(0, sent_time - self._last_ack_time)  # nothing was in flight in between

    def _avoid_congestion(self, acked_bytes: int, now: int, smoothed_rtt: int) -> None:
        window = self.congestion_window
        epoch_start = self._epoch_start
        if epoch_start is None:
            epoch_start = self._start_epoch(now)
        # Section 4.3: Reno's window grows by alpha segments per window acknowledged; by one once it is where it was.
        self._w_est_remainder += acked_bytes * self.max_datagram_size
        if self._w_est < self._cwnd_prior:
            cost = window * ALPHA_DENOMINATOR // ALPHA_NUMERATOR
        else:
            cost = window
        if self._w_est_remainder >= cost:
            growth = self._w_est_remainder // cost
            self._w_est_remainder -= growth * cost
            self._w_est += growth
        elapsed = now - epoch_start
        if self._w_est > window and self._w_cubic(elapsed) < self._w_est:
            self.congestion_window = self._w_est
            return
        # Sections 4.2, 4.4, 4.5: towards the cubic one round trip ahead, at most half as fast again per round trip.
        target = min(self._w_cubic(elapsed + smoothed_rtt), window + window // 2)
        if target > window:
            self._window_remainder += (target - window) * acked_bytes
            growth = self._window_remainder // window
            self._window_remainder -= growth * window
            self.congestion_window = window + growth

    def _start_epoch(self, now: int) -> int:
        self._epoch_start = now
        window = self.congestion_window
        self._w_est = window
        self._window_remainder = 0
        self._w_est_remainder = 0
        if self._w_max <= window:
            self._w_max = window
            self._k = 0
        else:
            segment = C_NUMERATOR * self.max_datagram_size
            self._k = cube_root((self._w_max - window) * C_DENOMINATOR * CUBED_SECOND // segment)
        return now

    def _w_cubic(self, elapsed: int) -> int:
        """Section 4.2, figure 1, in bytes."""
        offset = elapsed - self._k
        cubed = offset * offset * offset
        return self._w_max + C_NUMERATOR * self.max_datagram_size * cubed // (C_DENOMINATOR * CUBED_SECOND)
