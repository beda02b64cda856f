"""NewReno: one datagram more per round trip, half the window at a loss (RFC 9002 section 7, appendix B).

The yardstick for the others, so as the RFC has it: `hystart`, which RFC 9002 section 7.3.1 does not, is off by default.
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

LOSS_REDUCTION_NUMERATOR, LOSS_REDUCTION_DENOMINATOR = 1, 2  # kLossReductionFactor, RFC 9002 appendix B.1


@CONTROLLERS.register
@dataclass(slots=True, kw_only=True)
class NewReno(CongestionController):
    max_datagram_size: int
    hystart: bool = False  # RFC 9406
    congestion_window: int = field(init=False)
    _ssthresh: int | None = field(default=None, init=False)
    _recovery_start_time: int = field(default=-1, init=False)
    _acked_bytes: int = field(default=0, init=False)  # towards the next datagram of growth
    _hystart: HyStart | None = field(default=None, init=False)  # while slow start is the first
    _before: tuple[int, int | None] | None = field(default=None, init=False)  # the last reduction: window, ssthresh

    def __post_init__(self) -> None:
        self.congestion_window = initial_window(self.max_datagram_size)
        self._hystart = HyStart() if self.hystart else None

    @property
    def ssthresh(self) -> int | None:
        return self._ssthresh

    def on_packets_acked(self, acked: Sequence[SentPacket], flight: Flight) -> None:
        if flight.is_app_limited:
            return
        if self._hystart is not None and self._ssthresh is None:
            self.congestion_window += self._hystart.on_acked(
                sum(packet.size for packet in acked), acked[-1].sent_time, flight.now
            )
            if self._hystart.is_done:
                self._ssthresh = self.congestion_window
            return
        recovery_start_time = self._recovery_start_time
        for packet in acked:
            if packet.sent_time <= recovery_start_time:
                continue  # no growth during recovery (RFC 9002 section 7.3.2)
            if self._ssthresh is None or self.congestion_window < self._ssthresh:
                self.congestion_window += packet.size
                continue
            # Appendix B.5 adds max_datagram_size * acked / window; saved up, so that nothing is lost to rounding.
            self._acked_bytes += packet.size
            if self._acked_bytes >= self.congestion_window:
                self._acked_bytes -= self.congestion_window
                self.congestion_window += self.max_datagram_size

    def on_congestion_event(self, event: CongestionEvent) -> None:
        window_min = minimum_window(self.max_datagram_size)
        # RFC 5681 section 3.1: ssthresh is held while the same flight times out again.
        is_repeated = event.is_persistent and self.congestion_window == window_min
        if event.sent_time > self._recovery_start_time and not is_repeated:
            self._recovery_start_time = event.now
            self._before = (self.congestion_window, self._ssthresh)
            reduced = self.congestion_window * LOSS_REDUCTION_NUMERATOR // LOSS_REDUCTION_DENOMINATOR
            self.congestion_window = max(reduced, window_min)
            self._ssthresh = self.congestion_window
            self._acked_bytes = 0
        if event.is_persistent:
            self.congestion_window = window_min
            self._recovery_start_time = -1  # appendix B.8: what is acknowledged from now on counts
            self._before = None

    def on_spurious_congestion_event(self, now: int) -> None:
        if self._before is None:
            return
        window, self._ssthresh = self._before
        self.congestion_window = max(self.congestion_window, window)
        self._recovery_start_time = -1
        self._before = None
