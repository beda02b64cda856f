"""Bbr: the controller; the package's docstring says what it does and where it departs from the draft."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rudp_smtp.recovery.congestion import (
    CONTROLLERS,
    CongestionController,
    CongestionEvent,
    Flight,
    initial_window,
    minimum_window,
)
from rudp_smtp.recovery.congestion.bbr.baseline import BaselineLoss
from rudp_smtp.recovery.congestion.bbr.model import RTT_TOLERANCE, ExtraAcked, FullPipe, MaxBandwidth, MinRtt
from rudp_smtp.recovery.congestion.bbr.phases import (
    ACCELERATING,
    PACING_GAINS,
    PROBE_BW,
    SETTLED,
    SUCCESSORS,
    UNITY,
    WINDOW_GAINS,
    Gain,
    Phase,
)
from rudp_smtp.recovery.congestion.bbr.rounds import Round, Tally
from rudp_smtp.recovery.delivery_rate import DeliveryRate, RateSample
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.units import MILLISECOND, SECOND

PACING_MARGIN = Gain(99, 100)  # PacingMarginPercent, section 5.6.2
BETA = Gain(7, 10)  # section 5.5.10.2
GIVE_WAY = Gain(85, 100)  # ours, of what was in flight at excess loss
HEADROOM = Gain(85, 100)  # what CRUISE leaves of inflight_longterm, section 5.3.3.9
MIN_PIPE_PACKETS = 4  # MinPipeCwnd, section 5.6.4.3
PROBE_RTT_DURATION = 200 * MILLISECOND  # section 5.3.4.1
DRAIN_ROUNDS_MAX = 3  # section 5.3.2
STARTUP_LOSSES_MIN = 6  # BBRStartupFullLossCnt, section 5.3.1.3
PROBE_WAIT_MIN, PROBE_WAIT_SPREAD = 2 * SECOND, SECOND  # section 5.3.3.8.2
RENO_ROUNDS_MAX = 63  # section 5.3.3.8.2
PROBE_UP_DOUBLINGS_MAX = 30
QUANTUM_PACKETS, QUANTUM_MAX = 2, 64 << 10  # section 5.6.3
QUIET_RTT_FRACTION = 8  # ours: a queue below 1/8 of the round trip, and a quantum, is none
STANDING_RTTS = 8  # ours: a queue that is seen this long while cruising is of our own making
CHANCE_DENOMINATOR = 4  # ours: a quarter of a round is not lost by chance, queue or not
RTT_SAMPLES = 8  # of a round that shows how long queues get: as N_RTT_SAMPLE, RFC 9406
SIGMAS, SIGMAS_QUIET = 5, 8  # ours, in halves: how far from the baseline is beyond chance, with a queue and without
UNBOUNDED = 1 << 62
MIX = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: spreads neighbouring integers


@dataclass(slots=True)
class Undo:
    """What to go back to if all that an episode lost arrives after all (section 5.5.11.1)."""

    window: int
    bandwidth_lo: int
    inflight_lo: int
    inflight_hi: int
    phase: Phase | None = None  # that was left because of the losses


@CONTROLLERS.register
@dataclass(slots=True, kw_only=True)
class Bbr(CongestionController):
    """Owns the phase and the bounds; estimates are the model's, delivery and losses counted the sampler's."""

    tracks_delivery: ClassVar[bool] = True
    is_loss_based: ClassVar[bool] = False

    max_datagram_size: int
    _window: int = field(init=False)
    _rate: int = field(default=0, init=False)  # octets per second; 0: nothing is known yet
    _phase: Phase = field(default=Phase.STARTUP, init=False)
    _sampler: DeliveryRate = field(default_factory=DeliveryRate, init=False)
    _max_bandwidth: MaxBandwidth = field(default_factory=MaxBandwidth, init=False)
    _min_rtt: MinRtt = field(default_factory=MinRtt, init=False)
    _full_pipe: FullPipe = field(default_factory=FullPipe, init=False)
    _extra_acked: ExtraAcked = field(default_factory=ExtraAcked, init=False)
    _baseline: BaselineLoss = field(default_factory=BaselineLoss, init=False)
    # Bounds that losses set: for good until probing raises it, and until the next probe
    _inflight_hi: int = field(default=UNBOUNDED, init=False)
    _inflight_lo: int = field(default=UNBOUNDED, init=False)
    _bandwidth_lo: int = field(default=UNBOUNDED, init=False)
    _round: Round = field(default_factory=Round, init=False)
    _round_count: int = field(default=0, init=False)
    _settled_rounds: int = field(default=0, init=False)  # in a row not accelerating
    _queued: Tally = field(default_factory=Tally, init=False)  # of such rounds, in a row, that showed a queue
    _has_queue: bool = field(default=True, init=False)  # the last round's shortest round trip was not the shortest
    _peak_rtt: int = field(default=0, init=False)  # the longest of this probing cycle, by the shortest of each round
    _peak_rtt_before: int = field(default=0, init=False)  # and of the one before
    _has_learned: bool = field(default=False, init=False)  # of the baseline, in this cycle
    _was_excessive: bool = field(default=False, init=False)  # the last round, though it showed no queue
    _probe: Tally | None = field(default=None, init=False)  # the counts when feedback from UP began
    # Probing for bandwidth
    _cycle_start: int = field(default=0, init=False)
    _probe_wait: int = field(default=0, init=False)
    _rounds_since_probe: int = field(default=0, init=False)
    _is_probe_sample: bool = field(default=False, init=False)  # what is acknowledged now was sent while probing
    _is_probe_stopping: bool = field(default=False, init=False)  # until the round after it is over
    _was_probe_too_high: bool = field(default=False, init=False)
    _was_probe_careful: bool = field(default=False, init=False)  # ended where the one before had been too high
    _up_rounds: int = field(default=0, init=False)
    _up_acked: int = field(default=0, init=False)
    _up_step: int = field(default=UNBOUNDED, init=False)  # acknowledged octets that raise inflight_hi by a datagram
    _drain_round: int = field(default=0, init=False)
    # Probing for the round trip, and coming back
    _probe_rtt_end: int | None = field(default=None, init=False)
    _is_probe_rtt_round_done: bool = field(default=False, init=False)
    _is_idle_restart: bool = field(default=False, init=False)
    _window_before: int = field(default=0, init=False)
    _undo: Undo | None = field(default=None, init=False)  # for the latest episode of loss
    _episode_start: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        self._window = initial_window(self.max_datagram_size)

    @property
    def congestion_window(self) -> int:
        return self._window

    @property
    def ssthresh(self) -> int | None:
        return None

    @property
    def wants_frequent_acks(self) -> bool:
        return self._phase is Phase.STARTUP

    def pacing_rate(self, smoothed_rtt: int) -> int | None:
        if self._rate:
            return self._rate
        return PACING_GAINS[Phase.STARTUP].of(self._window * SECOND // max(smoothed_rtt, 1))  # section 5.6.2

    # Inputs

    def on_packet_sent(self, packet: SentPacket, bytes_in_flight: int) -> None:
        if bytes_in_flight == 0 and self._sampler.is_app_limited:
            self._restart_from_idle(packet.sent_time)
        self._sampler.on_packet_sent(packet, bytes_in_flight)

    def on_application_limited(self, bytes_in_flight: int) -> None:
        self._sampler.on_application_limited(bytes_in_flight)

    def on_packets_acked(self, acked: Sequence[SentPacket], flight: Flight) -> None:
        """UpdateOnACK, section 5.2.3."""
        now = flight.now
        rtt = now - acked[-1].sent_time
        sample = self._sampler.on_packets_acked(acked, now, self._min_rtt.value or 0)
        if not self._rate:
            self._rate = PACING_GAINS[Phase.STARTUP].of(self._window * SECOND // max(flight.smoothed_rtt, 1))
        volume = self._passed(sample)
        rate = sample.rate(volume)
        is_limited = sample.departure is None or sample.departure.is_app_limited
        if rate and (rate >= self._max_bandwidth.value or not is_limited):
            self._max_bandwidth.on_sample(rate)
        self._round.on_acked(rtt, volume, rate)
        is_round_over = self._round.is_over(sample.departure)
        if is_round_over:
            self._end_round(rate, is_limited, now)
        self._extra_acked.on_acked(sample.newly_acked, self._bandwidth, self._window, now)
        in_flight = flight.bytes_in_flight - sample.newly_acked
        is_window_limited = flight.bytes_in_flight + self.max_datagram_size > self._window
        if self._phase is Phase.STARTUP and self._full_pipe.was_full:
            self._enter(Phase.DRAIN)
            self._drain_round = self._round_count
        if self._phase is Phase.DRAIN and (
            in_flight <= self._inflight(UNITY) or self._round_count > self._drain_round + DRAIN_ROUNDS_MAX
        ):
            self._start_down(now)
        if self._full_pipe.was_full:
            self._adapt_bounds(sample, is_round_over, is_limited, is_window_limited, now)
        if self._phase in PROBE_BW:
            self._advance_cycle(sample, is_round_over, is_window_limited, in_flight, now)
        if self._min_rtt.on_sample(rtt, now, self._baseline.is_trusted):
            self._baseline.forget()  # there was a queue while it was learned
        self._check_probe_rtt(is_round_over, in_flight, now)
        if is_round_over:
            self._round.begin(self._sampler, now)
        self._set_rate()
        self._set_window(0 if flight.is_app_limited else sample.newly_acked)  # RFC 9002 section 7.8

    def on_congestion_event(self, event: CongestionEvent) -> None:
        if event.is_ecn:
            self._round.is_marked = True
            if self._is_probe_sample:
                self._on_inflight_too_high(event.bytes_in_flight, event.now)
        else:
            if event.sent_time > self._episode_start:  # RFC 9002 section 7.3.2's recovery period
                self._episode_start = event.now
                self._undo = Undo(self._window, self._bandwidth_lo, self._inflight_lo, self._inflight_hi)
            for packet in event.lost:
                self._on_packet_lost(packet, event.now)
        if event.is_persistent:
            self._window_before = max(self._window_before, self._window)
            self._window = minimum_window(self.max_datagram_size)

    def on_spurious_congestion_event(self, now: int) -> None:
        """Section 5.5.11.2."""
        undo = self._undo
        if undo is None:
            return
        self._undo = None
        self._episode_start = -1
        self._full_pipe.restart()
        self._window = max(self._window, undo.window)
        self._bandwidth_lo = max(self._bandwidth_lo, undo.bandwidth_lo)
        self._inflight_lo = max(self._inflight_lo, undo.inflight_lo)
        self._inflight_hi = max(self._inflight_hi, undo.inflight_hi)
        if undo.phase is Phase.STARTUP and self._phase is not Phase.STARTUP:
            self._full_pipe.was_full = False
            if self._phase is not Phase.PROBE_RTT:
                self._enter(Phase.STARTUP)
        elif undo.phase is Phase.UP and self._phase in (Phase.DOWN, Phase.CRUISE):
            self._start_refill(now)

    # Rounds

    def _end_round(self, rate: int, is_limited: bool, now: int) -> None:
        """What a whole round trip has shown."""
        self._round_count += 1
        self._rounds_since_probe += 1
        phase = self._phase
        self._settled_rounds = self._settled_rounds + 1 if phase in SETTLED else 0
        tally = self._round.tally(self._sampler, now)
        if self._round.samples >= RTT_SAMPLES:
            self._peak_rtt = max(self._peak_rtt, self._round.rtt)
        quiet_rtt = self._quiet_rtt()
        is_quiet = self._round.rtt <= quiet_rtt
        if self._full_pipe.was_full:
            min_rtt = self._min_rtt.value or 0
            peak = max(self._peak_rtt, self._peak_rtt_before)
            self._baseline.is_trusted = peak > min_rtt + min_rtt // QUIET_RTT_FRACTION
        min_rtt = self._min_rtt.value or 0
        self._has_queue = self._round.rtt > min_rtt + min_rtt // RTT_TOLERANCE
        is_excessive = self._is_excess(tally, SIGMAS_QUIET if is_quiet else SIGMAS)
        if phase is Phase.STARTUP:
            is_quiet = is_quiet and tally.lost * CHANCE_DENOMINATOR < tally.lost + tally.delivered
            is_first = is_quiet and not self._was_excessive
            self._was_excessive = is_excessive
            if is_excessive and self._round.losses >= STARTUP_LOSSES_MIN and not is_limited and not is_first:
                self._leave_startup()
            elif is_quiet and self._round.loss_rtt <= quiet_rtt:
                self._learn(tally)
        elif phase not in ACCELERATING:
            self._judge(tally, is_quiet, is_excessive)
        if not is_limited:
            self._full_pipe.on_round(rate, is_quiet)
        self._extra_acked.on_round(self._full_pipe.was_full)

    def _judge(self, tally: Tally, is_quiet: bool, is_excessive: bool) -> None:
        """Answer what was lost in a round in which we did not accelerate, or take it for the path's own.

        Without a queue the first excessive round is taken for chance; the second in a row for a path that got worse.
        """
        if is_quiet or self._settled_rounds < 2:
            self._queued.clear()
        self._queued.add(tally)
        is_first = is_quiet and is_excessive and not self._was_excessive
        self._was_excessive = is_first
        if is_first:
            is_excessive = False
        elif not is_quiet and self._is_excess(self._queued, SIGMAS):
            is_excessive = True
        if is_excessive or self._round.is_marked:
            self._lower_bounds(self._queued)
            self._queued.clear()
        elif is_quiet:
            if self._settled_rounds > 1 and self._round.loss_rtt <= self._quiet_rtt():
                self._learn(tally)
        else:
            if tally.lost * 2 < self._baseline.expected(tally.lost + tally.delivered):
                self._learn(tally)  # a queue loses more, never less
            if self._phase is Phase.CRUISE and self._baseline.certain:
                self._correct()

    def _correct(self) -> None:
        """Go by the average where a queue stands in spite of cruising.

        Where packets are lost at random, the largest sample is one of luck, and twice the pipe may be a lot to lose of.
        """
        queued, min_rtt = self._queued, self._min_rtt.value or 0
        if queued.time > STANDING_RTTS * min_rtt:
            average = self._baseline.compensated(queued.delivered) * SECOND // queued.time
            self._bandwidth_lo = min(self._bandwidth_lo, max(average, BETA.of(self._bandwidth)))
            queued.clear()
            self._enter(Phase.DOWN)  # to drain it; the cycle goes on

    def _learn(self, tally: Tally) -> None:
        self._has_learned = True
        size = self.max_datagram_size
        self._baseline.on_round((tally.lost + size // 2) // size, (tally.lost + tally.delivered) // size)

    def _is_excess(self, tally: Tally, sigmas: int) -> bool:
        return self._is_exceeded(tally.lost, tally.lost + tally.delivered, sigmas)

    def _is_exceeded(self, lost: int, total: int, sigmas: int) -> bool:
        if not lost:
            return False
        size = self.max_datagram_size
        return self._baseline.is_exceeded((lost + size // 2) // size, total // size, sigmas)

    def _quiet_rtt(self) -> int:
        """Round trips up to this long show no queue: a small share of the shortest, and of what queues have come to."""
        min_rtt = self._min_rtt.value or 0
        queue = min_rtt // QUIET_RTT_FRACTION
        if self._full_pipe.was_full:
            queue += QUANTUM_PACKETS * self.max_datagram_size * SECOND // max(self._max_bandwidth.value, 1)
            queue = min(queue, (max(self._peak_rtt, self._peak_rtt_before) - min_rtt) // 2)
        return min_rtt + queue

    # Losses

    def _on_packet_lost(self, packet: SentPacket, now: int) -> None:
        """HandleLostPacket, section 5.5.10.2."""
        departure = self._sampler.on_packet_lost(packet)
        self._round.on_lost(packet.packet_number)
        if departure is None or departure.is_app_limited or not self._is_probe_sample:
            return
        lost = self._sampler.lost - departure.lost
        is_excessive = self._is_exceeded(lost, departure.bytes_in_flight, SIGMAS)
        probe = self._probe
        if probe is not None and not is_excessive:
            lost = self._sampler.lost - probe.lost
            total = lost + self._sampler.delivered - probe.delivered
            is_excessive = total >= departure.bytes_in_flight and self._is_exceeded(lost, total, SIGMAS)
        if is_excessive:
            if self._round.rtt <= self._quiet_rtt():  # no queue to tell us from chance
                self._baseline.distrust()
            self._on_inflight_too_high(departure.bytes_in_flight - packet.size, now)

    def _on_inflight_too_high(self, in_flight: int, now: int) -> None:
        """HandleInflightTooHigh: once a probe."""
        self._was_probe_too_high = True
        self._is_probe_sample = False
        if self._baseline.certain:
            self._inflight_hi = max(in_flight, BETA.of(self._target_inflight()))
        else:
            # A departure: the draft keeps what was in flight at the loss. Beside a Reno flow, which halves, that takes
            # minutes to come to equal shares; where losses mean just one thing we can afford to give way.
            self._inflight_hi = max(GIVE_WAY.of(in_flight), self._target_inflight())
        if self._phase is Phase.UP:
            if self._undo is not None:
                self._undo.phase = Phase.UP
            self._start_down(now)

    def _leave_startup(self) -> None:
        """Section 5.3.1.3."""
        if self._round.rtt <= self._quiet_rtt():
            self._baseline.distrust()
        if self._undo is not None:
            self._undo.phase = Phase.STARTUP
        self._full_pipe.was_full = True
        self._inflight_hi = max(self._inflight(UNITY), self._round.volume)

    def _lower_bounds(self, tally: Tally) -> None:
        """AdaptLowerBoundsFromCongestion, section 5.5.10.3."""
        if self._bandwidth_lo == UNBOUNDED:
            self._bandwidth_lo = self._max_bandwidth.value
        if self._inflight_lo == UNBOUNDED:
            self._inflight_lo = self._window
        latest = self._round.rate
        if self._baseline.certain and self._phase in PROBE_BW:  # the largest sample is one of luck
            latest = self._baseline.compensated(tally.delivered) * SECOND // max(tally.time, 1)
        self._bandwidth_lo = max(latest, BETA.of(self._bandwidth_lo))
        self._inflight_lo = max(self._round.volume, BETA.of(self._inflight_lo))

    def _forget_lower_bounds(self) -> None:
        self._bandwidth_lo = UNBOUNDED
        self._inflight_lo = UNBOUNDED

    # The cycle

    def _enter(self, phase: Phase) -> None:
        assert phase in SUCCESSORS[self._phase], f"{self._phase} to {phase}"
        self._phase = phase

    def _start_down(self, now: int) -> None:
        self._enter(Phase.DOWN)
        self._cycle_start = now
        self._pick_probe_wait(now)
        self._up_step = UNBOUNDED
        self._is_probe_stopping = True
        self._round.begin(self._sampler, now)

    def _start_refill(self, now: int) -> None:
        self._enter(Phase.REFILL)
        self._forget_lower_bounds()
        if not self._has_learned:  # what was learned is a cycle old
            self._baseline.distrust()
        self._has_learned = False
        self._peak_rtt_before, self._peak_rtt = self._peak_rtt, 0
        self._up_rounds = 0
        self._up_acked = 0
        self._was_probe_careful = False
        self._is_probe_stopping = False
        self._round.begin(self._sampler, now)

    def _start_up(self, rate: int, now: int) -> None:
        self._enter(Phase.UP)
        self._is_probe_sample = True
        self._probe = None
        self._round.begin(self._sampler, now)
        self._full_pipe.restart(rate)
        self._raise_slope()

    def _pick_probe_wait(self, now: int) -> None:
        """PickProbeWait, section 5.3.3.8.2, where the draft draws: what this flow has delivered until this nanosecond
        is as good as random, differs from flow to flow, and is the same in every run."""
        mixed = (self._sampler.delivered * MIX ^ now * MIX >> 7) * MIX & (1 << 64) - 1
        self._probe_wait = PROBE_WAIT_MIN + (mixed >> 32) * PROBE_WAIT_SPREAD // (1 << 32)
        self._rounds_since_probe = mixed >> 31 & 1

    def _advance_cycle(
        self, sample: RateSample, is_round_over: bool, is_window_limited: bool, in_flight: int, now: int
    ) -> None:
        """UpdateProbeBWCyclePhase, section 5.3.3.9."""
        match self._phase:
            case Phase.DOWN | Phase.CRUISE:
                reno_rounds = min(self._target_inflight() // self.max_datagram_size, RENO_ROUNDS_MAX)
                if now > self._cycle_start + self._probe_wait or self._rounds_since_probe >= reno_rounds:
                    self._start_refill(now)
                elif self._phase is Phase.DOWN and in_flight <= min(self._headroom(), self._inflight(UNITY)):
                    self._enter(Phase.CRUISE)
            case Phase.REFILL:
                if is_round_over:
                    self._start_up(sample.rate(self._passed(sample)), now)
            case Phase.UP:
                if is_round_over and self._probe is None:
                    self._probe = Tally(self._sampler.delivered, self._sampler.lost)
                if self._is_time_to_go_down(sample, is_window_limited, in_flight):
                    self._was_probe_too_high = False
                    self._start_down(now)

    def _is_time_to_go_down(self, sample: RateSample, is_window_limited: bool, in_flight: int) -> bool:
        if self._was_probe_too_high and in_flight >= self._inflight_hi:
            self._was_probe_careful = True  # section 5.3.3.6
            return True
        if is_window_limited and self._window >= self._inflight_hi:
            self._full_pipe.restart(sample.rate(self._passed(sample)))  # the bound is the limit, not the path
            return False
        return self._full_pipe.is_full

    def _adapt_bounds(
        self, sample: RateSample, is_round_over: bool, is_limited: bool, is_window_limited: bool, now: int
    ) -> None:
        """AdaptLongTermModel, section 5.3.3.9."""
        if self._is_probe_stopping and is_round_over:
            self._is_probe_stopping = False
            self._is_probe_sample = False
            if self._phase in PROBE_BW:
                if not is_limited:
                    self._max_bandwidth.advance()
                if (
                    self._was_probe_careful
                    and not self._was_probe_too_high
                    and self._phase in (Phase.DOWN, Phase.CRUISE)
                ):
                    self._start_refill(now)
                    return
        departure = sample.departure
        if departure is None or self._inflight_hi == UNBOUNDED:
            return
        if self._is_exceeded(sample.lost, departure.bytes_in_flight, SIGMAS):
            return
        self._inflight_hi = max(self._inflight_hi, departure.bytes_in_flight)
        if self._phase is Phase.UP and is_window_limited and self._window >= self._inflight_hi:
            self._up_acked += sample.newly_acked
            steps = self._up_acked // self._up_step
            self._up_acked -= steps * self._up_step
            self._inflight_hi += steps * self.max_datagram_size
            if is_round_over:
                self._raise_slope()

    def _raise_slope(self) -> None:
        """inflight_hi grows by 1, 2, 4, ... datagrams a round trip (section 5.3.3.5)."""
        self._up_step = max(self._window >> self._up_rounds, self.max_datagram_size)
        self._up_rounds = min(self._up_rounds + 1, PROBE_UP_DOUBLINGS_MAX)

    # The round trip without queues

    def _check_probe_rtt(self, is_round_over: bool, in_flight: int, now: int) -> None:
        """CheckProbeRTT, section 5.3.4.3."""
        if self._phase is not Phase.PROBE_RTT and self._min_rtt.is_probe_due and not self._is_idle_restart:
            self._enter(Phase.PROBE_RTT)
            self._window_before = max(self._window_before, self._window)
            self._probe_rtt_end = None
            self._is_probe_stopping = True
            self._round.begin(self._sampler, now)
        elif self._phase is Phase.PROBE_RTT:
            self._sampler.on_application_limited(in_flight)
            if self._probe_rtt_end is None:
                if in_flight <= self._probe_rtt_window():
                    self._probe_rtt_end = now + PROBE_RTT_DURATION
                    self._is_probe_rtt_round_done = False
                    self._round.begin(self._sampler, now)
            elif is_round_over or self._is_probe_rtt_round_done:
                self._is_probe_rtt_round_done = True
                self._end_probe_rtt(now)
        self._is_idle_restart = False

    def _end_probe_rtt(self, now: int) -> None:
        if self._probe_rtt_end is None or now <= self._probe_rtt_end:
            return
        self._min_rtt.on_probed(now)
        self._window = max(self._window, self._window_before)
        self._window_before = 0
        self._forget_lower_bounds()
        if self._full_pipe.was_full:
            self._start_down(now)
            self._enter(Phase.CRUISE)
        else:
            self._enter(Phase.STARTUP)

    def _restart_from_idle(self, now: int) -> None:
        """Section 5.4.1."""
        self._is_idle_restart = True
        self._extra_acked.restart(now)
        if self._phase in PROBE_BW:
            self._rate = max(self._bandwidth, 1)
        elif self._phase is Phase.PROBE_RTT:
            self._end_probe_rtt(now)

    # What follows for rate and window

    def _passed(self, sample: RateSample) -> int:
        """Octets the path let pass, those included that it loses whatever we do."""
        if not self._baseline.certain:
            return sample.delivered
        return min(sample.passed, self._baseline.compensated(sample.delivered))

    @property
    def _bandwidth(self) -> int:
        return min(self._max_bandwidth.value, self._bandwidth_lo)

    def _bdp(self, gain: Gain) -> int:
        min_rtt = self._min_rtt.value
        if min_rtt is None or not self._max_bandwidth.value:
            return gain.of(initial_window(self.max_datagram_size))
        return gain.of(self._bandwidth * min_rtt // SECOND)

    def _quantised(self, octets: int) -> int:
        """QuantizationBudget, section 5.6.4.2."""
        size = self.max_datagram_size
        quantum = max(min(self._rate // 1000, QUANTUM_MAX), QUANTUM_PACKETS * size)  # section 5.6.3: 1 ms
        octets = max(octets, quantum, MIN_PIPE_PACKETS * size)
        return octets + 2 * size if self._phase is Phase.UP else octets

    def _inflight(self, gain: Gain) -> int:
        return self._quantised(self._bdp(gain))

    def _max_inflight(self) -> int:
        return self._quantised(self._bdp(WINDOW_GAINS[self._phase]) + self._extra_acked.value)

    def _target_inflight(self) -> int:
        return min(self._bdp(UNITY), self._window)

    def _probe_rtt_window(self) -> int:
        return max(self._bdp(WINDOW_GAINS[Phase.PROBE_RTT]), MIN_PIPE_PACKETS * self.max_datagram_size)

    def _headroom(self) -> int:
        """InflightWithHeadroom: room for others below the bound.

        A departure: never less than fills the pipe, which a bound that has given way may be close to already.
        """
        if self._inflight_hi == UNBOUNDED:
            return UNBOUNDED
        bound = max(HEADROOM.of(self._inflight_hi), min(self._inflight(UNITY), self._inflight_hi))
        return max(bound, MIN_PIPE_PACKETS * self.max_datagram_size)

    def _set_rate(self) -> None:
        """SetPacingRate, section 5.6.2: while the pipe is not full, it only rises."""
        rate = PACING_GAINS[self._phase].of(self._bandwidth)
        if self._has_queue:  # a departure: the margin is there to drain queues
            rate = PACING_MARGIN.of(rate)
        if rate and (self._full_pipe.was_full or rate > self._rate):
            self._rate = rate

    def _set_window(self, newly_acked: int) -> None:
        """SetCwnd, section 5.6.4.6, and BoundCwndForModel, section 5.6.4.7."""
        window, max_inflight = self._window, self._max_inflight()
        minimum = MIN_PIPE_PACKETS * self.max_datagram_size
        if self._full_pipe.was_full:
            window = min(window + newly_acked, max_inflight)
        elif window < max_inflight or self._sampler.delivered < initial_window(self.max_datagram_size):
            window += newly_acked
        window = max(window, minimum)
        phase = self._phase
        bound = self._inflight_lo
        if phase is Phase.PROBE_RTT:
            bound = min(bound, self._probe_rtt_window(), self._headroom())
        elif phase is Phase.CRUISE:
            bound = min(bound, self._headroom())
        elif phase in PROBE_BW:
            bound = min(bound, self._inflight_hi)
        self._window = min(window, max(bound, minimum))
