"""Allowance: how fast and how much may be sent, from the model of the path and the bounds that losses set.

draft-ietf-ccwg-bbr sections 5.5.10 and 5.6. Rates in octets per second; `size` is of the largest datagram.
"""

from dataclasses import dataclass

from rudp_smtp.recovery.congestion import initial_window, minimum_window
from rudp_smtp.recovery.congestion.bbr.path import QUANTUM_PACKETS, PathModel
from rudp_smtp.recovery.congestion.bbr.phases import PACING_GAINS, PROBE_BW, UNITY, WINDOW_GAINS, Gain, Phase
from rudp_smtp.units import SECOND

PACING_MARGIN = Gain(99, 100)  # PacingMarginPercent, section 5.6.2
BETA = Gain(7, 10)  # section 5.5.10.2
GIVE_WAY = Gain(85, 100)  # ours, of what was in flight at excess loss
HEADROOM = Gain(85, 100)  # what CRUISE leaves of inflight_longterm, section 5.3.3.9
MIN_PIPE_PACKETS = 4  # MinPipeCwnd, section 5.6.4.3
PROBE_UP_DOUBLINGS_MAX = 30
QUANTUM_MAX = 64 << 10  # section 5.6.3
UNBOUNDED = 1 << 62


@dataclass(slots=True)
class Undo:
    """What to go back to if all that an episode lost arrives after all (section 5.5.11.1)."""

    window: int
    bandwidth_lo: int
    inflight_lo: int
    inflight_hi: int
    phase: Phase | None = None  # that was left because of the losses


class Allowance:
    """Owns rate, window and their bounds; the estimates are the path's, the phase the controller's."""

    __slots__ = (
        "_bandwidth_lo",
        "_inflight_lo",
        "_path",
        "_up_acked",
        "_up_rounds",
        "_up_step",
        "_window_before",
        "inflight_hi",
        "rate",
        "window",
    )

    def __init__(self, path: PathModel, window: int) -> None:
        self._path = path
        self.window = window
        self.rate = 0  # 0: nothing is known yet
        # Bounds that losses set: for good until probing raises it, and until the next probe
        self.inflight_hi = UNBOUNDED
        self._inflight_lo = UNBOUNDED
        self._bandwidth_lo = UNBOUNDED
        self._window_before = 0  # the window gave way for a while
        self._up_rounds = 0
        self._up_acked = 0
        self._up_step = UNBOUNDED  # acknowledged octets that raise inflight_hi by a datagram

    def initial_rate(self, smoothed_rtt: int) -> int:
        """Section 5.6.2, as long as there is no other."""
        return PACING_GAINS[Phase.STARTUP].of(self.window * SECOND // max(smoothed_rtt, 1))

    # What the model comes to

    @property
    def bandwidth(self) -> int:
        return min(self._path.max_bandwidth.value, self._bandwidth_lo)

    def filling(self, phase: Phase, size: int) -> int:
        """What in flight just fills the pipe."""
        return self._quantised(self._bdp(UNITY, size), phase, size)

    def target(self, size: int) -> int:
        return min(self._bdp(UNITY, size), self.window)

    def probe_rtt_window(self, size: int) -> int:
        return max(self._bdp(WINDOW_GAINS[Phase.PROBE_RTT], size), MIN_PIPE_PACKETS * size)

    def headroom(self, phase: Phase, size: int) -> int:
        """InflightWithHeadroom: room for others below the bound.

        A departure: never less than fills the pipe, which a bound that has given way may be close to already.
        """
        if self.inflight_hi == UNBOUNDED:
            return UNBOUNDED
        bound = max(HEADROOM.of(self.inflight_hi), min(self.filling(phase, size), self.inflight_hi))
        return max(bound, MIN_PIPE_PACKETS * size)

    def _bdp(self, gain: Gain, size: int) -> int:
        path = self._path
        min_rtt, bandwidth = path.min_rtt.value, path.max_bandwidth.value
        if min_rtt is None or not bandwidth:
            return gain.of(initial_window(size))
        return gain.of(min(bandwidth, self._bandwidth_lo) * min_rtt // SECOND)

    def _quantised(self, octets: int, phase: Phase, size: int) -> int:
        """QuantizationBudget, section 5.6.4.2."""
        quantum = max(min(self.rate // 1000, QUANTUM_MAX), QUANTUM_PACKETS * size)  # section 5.6.3: 1 ms
        octets = max(octets, quantum, MIN_PIPE_PACKETS * size)
        return octets + 2 * size if phase is Phase.UP else octets

    # Rate and window

    def set_rate(self, phase: Phase) -> None:
        """SetPacingRate, section 5.6.2: while the pipe is not full, it only rises."""
        path = self._path
        rate = PACING_GAINS[phase].of(min(path.max_bandwidth.value, self._bandwidth_lo))
        if path.has_queue:  # a departure: the margin is there to drain queues
            rate = PACING_MARGIN.of(rate)
        if rate and (path.full_pipe.was_full or rate > self.rate):
            self.rate = rate

    def set_window(self, phase: Phase, newly_acked: int, delivered: int, size: int) -> None:
        """SetCwnd, section 5.6.4.6, and BoundCwndForModel, section 5.6.4.7."""
        path, window = self._path, self.window
        max_inflight = self._quantised(self._bdp(WINDOW_GAINS[phase], size) + path.extra_acked.value, phase, size)
        minimum = MIN_PIPE_PACKETS * size
        if path.full_pipe.was_full:
            window = min(window + newly_acked, max_inflight)
        elif window < max_inflight or delivered < initial_window(size):
            window += path.baseline.compensated(newly_acked)  # a departure: or each round trip of STARTUP gains less
        window = max(window, minimum)
        bound = self._inflight_lo
        if phase is Phase.PROBE_RTT:
            bound = min(bound, self.probe_rtt_window(size), self.headroom(phase, size))
        elif phase is Phase.CRUISE:
            bound = min(bound, self.headroom(phase, size))
        elif phase in PROBE_BW:
            bound = min(bound, self.inflight_hi)
        self.window = min(window, max(bound, minimum))

    def resume(self) -> None:
        """After silence: at the bandwidth (section 5.4.1)."""
        self.rate = max(self.bandwidth, 1)

    def collapse(self, size: int) -> None:
        """Persistent congestion (RFC 9002 section 7.6.2)."""
        self.save()
        self.window = minimum_window(size)

    def save(self) -> None:
        """The window is about to give way for a while (SaveCwnd, section 5.6.4.4)."""
        self._window_before = max(self._window_before, self.window)

    def restore(self) -> None:
        """RestoreCwnd, section 5.6.4.4."""
        self.window = max(self.window, self._window_before)
        self._window_before = 0

    def note(self) -> Undo:
        return Undo(self.window, self._bandwidth_lo, self._inflight_lo, self.inflight_hi)

    def undo(self, undo: Undo) -> None:
        """Section 5.5.11.2."""
        self.window = max(self.window, undo.window)
        self._bandwidth_lo = max(self._bandwidth_lo, undo.bandwidth_lo)
        self._inflight_lo = max(self._inflight_lo, undo.inflight_lo)
        self.inflight_hi = max(self.inflight_hi, undo.inflight_hi)

    # Bounds

    def lower_bounds(self, rate: int, volume: int) -> None:
        """AdaptLowerBoundsFromCongestion, section 5.5.10.3: to what just passed, but not at once."""
        if self._bandwidth_lo == UNBOUNDED:
            self._bandwidth_lo = self._path.max_bandwidth.value
        if self._inflight_lo == UNBOUNDED:
            self._inflight_lo = self.window
        self._bandwidth_lo = max(rate, BETA.of(self._bandwidth_lo))
        self._inflight_lo = max(volume, BETA.of(self._inflight_lo))

    def correct(self, rate: int) -> None:
        """Go by the average where a queue stands in spite of cruising.

        Where packets are lost at random, the largest sample is one of luck, and twice the pipe may be a lot to lose of.
        """
        self._bandwidth_lo = min(self._bandwidth_lo, max(rate, BETA.of(self.bandwidth)))

    def forget_lower_bounds(self) -> None:
        self._bandwidth_lo = UNBOUNDED
        self._inflight_lo = UNBOUNDED

    def give_way(self, in_flight: int, size: int) -> None:
        """So much was found to be too much."""
        if self._path.baseline.certain:
            self.inflight_hi = max(in_flight, BETA.of(self.target(size)))
        else:
            # A departure: the draft keeps what was in flight at the loss. Beside a Reno flow, which halves, that takes
            # minutes to come to equal shares; where losses mean just one thing we can afford to give way.
            self.inflight_hi = max(GIVE_WAY.of(in_flight), self.target(size))

    def restart_growth(self) -> None:
        self._up_rounds = 0
        self._up_acked = 0

    def raise_slope(self, size: int) -> None:
        """inflight_hi grows by 1, 2, 4, ... datagrams a round trip (section 5.3.3.5)."""
        self._up_step = max(self.window >> self._up_rounds, size)
        self._up_rounds = min(self._up_rounds + 1, PROBE_UP_DOUBLINGS_MAX)

    def grow(self, newly_acked: int, size: int) -> None:
        self._up_acked += newly_acked
        steps = self._up_acked // self._up_step
        self._up_acked -= steps * self._up_step
        self.inflight_hi += steps * size

    def stop_growth(self) -> None:
        self._up_step = UNBOUNDED
