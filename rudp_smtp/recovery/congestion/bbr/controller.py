"""Bbr: the controller; the package's docstring says what it does and where it departs from the draft."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rudp_smtp.recovery.congestion import CONTROLLERS, CongestionController, CongestionEvent, Flight, initial_window
from rudp_smtp.recovery.congestion.bbr.allowance import UNBOUNDED, Allowance, Undo
from rudp_smtp.recovery.congestion.bbr.losses import SIGMAS, Finding, LossJudge
from rudp_smtp.recovery.congestion.bbr.path import PathModel
from rudp_smtp.recovery.congestion.bbr.phases import PROBE_BW, SUCCESSORS, Phase
from rudp_smtp.recovery.congestion.bbr.rounds import Round
from rudp_smtp.recovery.congestion.bbr.waiting import ProbeWait
from rudp_smtp.recovery.delivery_rate import DeliveryRate, RateSample
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.units import MILLISECOND

PROBE_RTT_DURATION = 200 * MILLISECOND  # section 5.3.4.1
DRAIN_ROUNDS_MAX = 3  # section 5.3.2


@CONTROLLERS.register
@dataclass(slots=True, kw_only=True)
class Bbr(CongestionController):
    """Owns the phase, and how far it is; the estimates are the path's, what losses mean the judge's, rate, window and
    their bounds the allowance's, delivery and losses counted the sampler's."""

    tracks_delivery: ClassVar[bool] = True
    is_loss_based: ClassVar[bool] = False

    max_datagram_size: int
    _phase: Phase = field(default=Phase.STARTUP, init=False)
    _sampler: DeliveryRate = field(default_factory=DeliveryRate, init=False)
    _path: PathModel = field(default_factory=PathModel, init=False)
    _judge: LossJudge = field(init=False)
    _allowance: Allowance = field(init=False)
    _round: Round = field(default_factory=Round, init=False)
    _round_count: int = field(default=0, init=False)
    # Probing for bandwidth
    _probe_wait: ProbeWait = field(default_factory=ProbeWait, init=False)
    _is_probe_sample: bool = field(default=False, init=False)  # what is acknowledged now was sent while probing
    _is_probe_stopping: bool = field(default=False, init=False)  # until the round after it is over
    _was_probe_too_high: bool = field(default=False, init=False)
    _was_probe_careful: bool = field(default=False, init=False)  # ended where the one before had been too high
    _drain_round: int = field(default=0, init=False)
    # Probing for the round trip, and coming back
    _probe_rtt_end: int | None = field(default=None, init=False)
    _is_probe_rtt_round_done: bool = field(default=False, init=False)
    _is_idle_restart: bool = field(default=False, init=False)
    _undo: Undo | None = field(default=None, init=False)  # for the latest episode of loss
    _episode_start: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        self._judge = LossJudge(self._path)
        self._allowance = Allowance(self._path, initial_window(self.max_datagram_size))

    @property
    def congestion_window(self) -> int:
        return self._allowance.window

    @property
    def ssthresh(self) -> int | None:
        return None

    @property
    def phase(self) -> str:
        return self._phase.value

    @property
    def wants_frequent_acks(self) -> bool:
        return self._phase is Phase.STARTUP

    def pacing_rate(self, smoothed_rtt: int) -> int | None:
        return self._allowance.rate or self._allowance.initial_rate(smoothed_rtt)

    # Inputs

    def on_packet_sent(self, packet: SentPacket, bytes_in_flight: int) -> None:
        if bytes_in_flight == 0 and self._sampler.is_app_limited:
            self._restart_from_idle(packet.sent_time)
        self._sampler.on_packet_sent(packet, bytes_in_flight)

    def on_application_limited(self, bytes_in_flight: int) -> None:
        self._sampler.on_application_limited(bytes_in_flight)

    def on_packets_acked(self, acked: Sequence[SentPacket], flight: Flight) -> None:
        """UpdateOnACK, section 5.2.3."""
        path, allowance, size, now = self._path, self._allowance, self.max_datagram_size, flight.now
        rtt = now - acked[-1].sent_time
        sample = self._sampler.on_packets_acked(acked, now, path.min_rtt.value or 0)
        if not allowance.rate:
            allowance.rate = allowance.initial_rate(flight.smoothed_rtt)
        volume = path.passed(sample)
        rate = sample.rate(volume)
        is_limited = sample.departure is None or sample.departure.is_app_limited
        path.on_rate(rate, is_limited)
        self._round.on_acked(rtt, volume, rate)
        is_round_over = self._round.is_over(sample.departure)
        if is_round_over:
            self._end_round(rate, is_limited, now)
        path.extra_acked.on_acked(sample.newly_acked, allowance.bandwidth, allowance.window, now)
        in_flight = flight.bytes_in_flight - sample.newly_acked
        is_window_limited = flight.bytes_in_flight + size > allowance.window
        if self._phase is Phase.STARTUP and path.full_pipe.was_full:
            self._enter(Phase.DRAIN)
            self._drain_round = self._round_count
        if self._phase is Phase.DRAIN and (
            in_flight <= allowance.filling(self._phase, size)
            or self._round_count > self._drain_round + DRAIN_ROUNDS_MAX
        ):
            self._start_down(now)
        if path.full_pipe.was_full:
            self._adapt_bounds(sample, is_round_over, is_limited, is_window_limited, now)
        if self._phase in PROBE_BW:
            self._advance_cycle(sample, is_round_over, is_window_limited, in_flight, now)
        path.on_rtt(rtt, now)
        self._check_probe_rtt(is_round_over, in_flight, now)
        if is_round_over:
            self._round.begin(self._sampler, now)
        allowance.set_rate(self._phase)
        newly_acked = 0 if flight.is_app_limited else sample.newly_acked  # RFC 9002 section 7.8
        allowance.set_window(self._phase, newly_acked, self._sampler.delivered, size)

    def on_congestion_event(self, event: CongestionEvent) -> None:
        if event.is_ecn:
            self._round.is_marked = True
            if self._is_probe_sample:
                self._on_inflight_too_high(event.bytes_in_flight, event.now)
        else:
            if event.sent_time > self._episode_start:  # RFC 9002 section 7.3.2's recovery period
                self._episode_start = event.now
                self._undo = self._allowance.note()
            for packet in event.lost:
                self._on_packet_lost(packet, event.now)
        if event.is_persistent:
            self._allowance.collapse(self.max_datagram_size)

    def on_spurious_congestion_event(self, now: int) -> None:
        """Section 5.5.11.2."""
        undo = self._undo
        if undo is None:
            return
        self._undo = None
        self._episode_start = -1
        self._path.full_pipe.restart()
        self._allowance.undo(undo)
        if undo.phase is Phase.STARTUP and self._phase is not Phase.STARTUP:
            self._path.full_pipe.was_full = False
            if self._phase is not Phase.PROBE_RTT:
                self._enter(Phase.STARTUP)
        elif undo.phase is Phase.UP and self._phase in (Phase.DOWN, Phase.CRUISE):
            self._start_refill(now)

    # Rounds and losses

    def _end_round(self, rate: int, is_limited: bool, now: int) -> None:
        """What a whole round trip has shown."""
        path, allowance, phase = self._path, self._allowance, self._phase
        self._round_count += 1
        self._probe_wait.on_round()
        tally = self._round.tally(self._sampler, now)
        path.on_round(self._round)
        judgement = self._judge.on_round(phase, self._round, tally, is_limited, self.max_datagram_size)
        if judgement.finding is Finding.STANDING_QUEUE:
            allowance.correct(judgement.rate)
            self._enter(Phase.DOWN)  # to drain it; the cycle goes on
        elif judgement.finding is Finding.EXCESS:
            if phase is Phase.STARTUP:
                self._leave_startup()
            else:
                allowance.lower_bounds(judgement.rate, self._round.volume)
        if not is_limited:
            path.full_pipe.on_round(rate, judgement.is_quiet)
        path.extra_acked.on_round(path.full_pipe.was_full)

    def _leave_startup(self) -> None:
        """Section 5.3.1.3."""
        if self._undo is not None:
            self._undo.phase = Phase.STARTUP
        self._path.full_pipe.was_full = True
        filling = self._allowance.filling(self._phase, self.max_datagram_size)
        self._allowance.inflight_hi = max(filling, self._round.volume)

    def _on_packet_lost(self, packet: SentPacket, now: int) -> None:
        """HandleLostPacket, section 5.5.10.2."""
        departure = self._sampler.on_packet_lost(packet)
        self._round.on_lost(packet.packet_number)
        if departure is None or departure.is_app_limited or not self._is_probe_sample:
            return
        if self._judge.is_probe_excessive(self._sampler, departure, self._round, self.max_datagram_size):
            self._on_inflight_too_high(departure.bytes_in_flight - packet.size, now)

    def _on_inflight_too_high(self, in_flight: int, now: int) -> None:
        """HandleInflightTooHigh: once a probe."""
        self._was_probe_too_high = True
        self._is_probe_sample = False
        self._allowance.give_way(in_flight, self.max_datagram_size)
        if self._phase is Phase.UP:
            if self._undo is not None:
                self._undo.phase = Phase.UP
            self._start_down(now)

    # The cycle

    def _enter(self, phase: Phase) -> None:
        assert phase in SUCCESSORS[self._phase], f"{self._phase} to {phase}"
        self._phase = phase

    def _start_down(self, now: int) -> None:
        self._enter(Phase.DOWN)
        self._probe_wait.begin(self._sampler.delivered, now)
        self._allowance.stop_growth()
        self._is_probe_stopping = True
        self._round.begin(self._sampler, now)

    def _start_refill(self, now: int) -> None:
        self._enter(Phase.REFILL)
        self._allowance.forget_lower_bounds()
        self._allowance.restart_growth()
        self._path.on_cycle()
        self._was_probe_careful = False
        self._is_probe_stopping = False
        self._round.begin(self._sampler, now)

    def _start_up(self, rate: int, now: int) -> None:
        self._enter(Phase.UP)
        self._is_probe_sample = True
        self._judge.start_probe()
        self._round.begin(self._sampler, now)
        self._path.full_pipe.restart(rate)
        self._allowance.raise_slope(self.max_datagram_size)

    def _advance_cycle(
        self, sample: RateSample, is_round_over: bool, is_window_limited: bool, in_flight: int, now: int
    ) -> None:
        """UpdateProbeBWCyclePhase, section 5.3.3.9."""
        allowance, phase, size = self._allowance, self._phase, self.max_datagram_size
        match phase:
            case Phase.DOWN | Phase.CRUISE:
                if self._probe_wait.is_over(allowance.target(size) // size, now):
                    self._start_refill(now)
                elif phase is Phase.DOWN and in_flight <= min(
                    allowance.headroom(phase, size), allowance.filling(phase, size)
                ):
                    self._enter(Phase.CRUISE)
            case Phase.REFILL:
                if is_round_over:
                    self._start_up(sample.rate(self._path.passed(sample)), now)
            case Phase.UP:
                if is_round_over:
                    self._judge.on_probe_round(self._sampler)
                if self._is_time_to_go_down(sample, is_window_limited, in_flight):
                    self._was_probe_too_high = False
                    self._start_down(now)

    def _is_time_to_go_down(self, sample: RateSample, is_window_limited: bool, in_flight: int) -> bool:
        path, allowance = self._path, self._allowance
        if self._was_probe_too_high and in_flight >= allowance.inflight_hi:
            self._was_probe_careful = True  # section 5.3.3.6
            return True
        if is_window_limited and allowance.window >= allowance.inflight_hi:
            path.full_pipe.restart(sample.rate(path.passed(sample)))  # the bound is the limit, not the path
            return False
        return path.full_pipe.is_full

    def _adapt_bounds(
        self, sample: RateSample, is_round_over: bool, is_limited: bool, is_window_limited: bool, now: int
    ) -> None:
        """AdaptLongTermModel, section 5.3.3.9."""
        path, allowance, size = self._path, self._allowance, self.max_datagram_size
        if self._is_probe_stopping and is_round_over:
            self._is_probe_stopping = False
            self._is_probe_sample = False
            if self._phase in PROBE_BW:
                if not is_limited:
                    path.max_bandwidth.advance()
                if (
                    self._was_probe_careful
                    and not self._was_probe_too_high
                    and self._phase in (Phase.DOWN, Phase.CRUISE)
                ):
                    self._start_refill(now)
                    return
        departure = sample.departure
        if departure is None or allowance.inflight_hi == UNBOUNDED:
            return
        if path.is_exceeded(sample.lost, departure.bytes_in_flight, SIGMAS, size):
            return
        allowance.inflight_hi = max(allowance.inflight_hi, departure.bytes_in_flight)
        if self._phase is Phase.UP and is_window_limited and allowance.window >= allowance.inflight_hi:
            allowance.grow(sample.newly_acked, size)
            if is_round_over:
                allowance.raise_slope(size)

    # The round trip without queues

    def _check_probe_rtt(self, is_round_over: bool, in_flight: int, now: int) -> None:
        """CheckProbeRTT, section 5.3.4.3."""
        if self._phase is not Phase.PROBE_RTT and self._path.min_rtt.is_probe_due and not self._is_idle_restart:
            self._enter(Phase.PROBE_RTT)
            self._allowance.save()
            self._probe_rtt_end = None
            self._is_probe_stopping = True
            self._round.begin(self._sampler, now)
        elif self._phase is Phase.PROBE_RTT:
            self._sampler.on_application_limited(in_flight)
            if self._probe_rtt_end is None:
                if in_flight <= self._allowance.probe_rtt_window(self.max_datagram_size):
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
        self._path.min_rtt.on_probed(now)
        self._allowance.restore()
        self._allowance.forget_lower_bounds()
        if self._path.full_pipe.was_full:
            self._start_down(now)
            self._enter(Phase.CRUISE)
        else:
            self._enter(Phase.STARTUP)

    def _restart_from_idle(self, now: int) -> None:
        """Section 5.4.1."""
        self._is_idle_restart = True
        self._path.extra_acked.restart(now)
        if self._phase in PROBE_BW:
            self._allowance.resume()
        elif self._phase is Phase.PROBE_RTT:
            self._end_probe_rtt(now)
