"""Recovery: when is a packet lost, when is silence too long, and how much may leave now (RFC 9002 appendix A).

It asks the plug-ins and acts on what they say: they decide, Recovery keeps the books and emits the facts. Packets
go in as they are sent, and come back out acknowledged, lost, or lost and acknowledged after all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rudp_smtp.recovery.congestion import CongestionController, CongestionEvent, Flight
from rudp_smtp.recovery.loss_detection import LossDetector
from rudp_smtp.recovery.pacing import Pacer
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.sent import Ranges, SentPacket, SentPackets
from rudp_smtp.recovery.timer import RtoEstimator
from rudp_smtp.recovery.undo import NEVER, LossEpisode
from rudp_smtp.trace import MetricsUpdated, PacketAcked, PacketLost, Sink, SpuriousLoss, TimerExpired, VantagePoint

PERSISTENT_CONGESTION_THRESHOLD = 3  # kPersistentCongestionThreshold, RFC 9002 section 7.6.1
LOSS_MEMORY_RTTS = 3  # ours, of round trips with their variation: what is later proves nothing about reordering
PROBES_FIRST, PROBES_NEXT = 1, 2  # RFC 9002 section 6.2.4: one is a MUST, two survive another loss


@dataclass(slots=True)
class AckOutcome:
    """What an acknowledgement changed. Each list ascending by packet number."""

    acked: Sequence[SentPacket]
    lost: Sequence[SentPacket]
    spurious: Sequence[SentPacket]  # declared lost earlier, and acknowledged now


@dataclass(slots=True)
class TimeoutOutcome:
    """What a time-out asks for: content to send again, and ack-eliciting packets to send whatever the window says."""

    lost: Sequence[SentPacket]
    probes: int


@dataclass(slots=True)
class PathEstimates:
    """What is known of one path, and of no other (RFC 9000 section 9.4)."""

    congestion: CongestionController
    timer: RtoEstimator
    rtt: RttEstimator
    first_number: int | None = None  # of the packets that may have gone this way; None: none has


class Recovery:
    """Owns the sent packets, the round-trip estimate, the pacer and `pto_count`; the window is the controller's.

    Whoever sends asks `send_allowance` only while something waits to be sent: to be refused means that the window, and
    not the application, was the limit (RFC 9002 section 7.8).
    """

    __slots__ = (
        "_connection",
        "_ecn_response_time",
        "_expiry_time",
        "_filled_until",
        "_first_sample_time",
        "_host",
        "_is_awaiting_handshake",
        "_is_handshake_complete",
        "_is_rate_stale",
        "_last_ack_time",
        "_last_event_time",
        "_loss_detector",
        "_loss_episode",
        "_loss_run",
        "_loss_time",
        "_max_ack_delay",
        "_max_datagram_size",
        "_pacer",
        "_path_start",
        "_quiet_time",
        "_sink",
        "_timeout",
        "_timer",
        "congestion",
        "is_muted",
        "pto_count",
        "rtt",
        "sent",
        "tracks_delivery",
    )

    def __init__(
        self,
        *,
        loss_detector: LossDetector,
        timer: RtoEstimator,
        congestion: CongestionController,
        pacing: bool,
        initial_rtt: int,
        max_ack_delay: int,
        max_datagram_size: int,
        is_client: bool,
        vantage: VantagePoint,
    ) -> None:
        self.rtt = RttEstimator(initial_rtt)
        self.sent = SentPackets()
        self.congestion = congestion
        self.pto_count = 0
        self.is_muted = False  # nothing may leave, not even a probe: the address has proven too little
        self._loss_detector = loss_detector
        self._timer = timer
        self._pacer = Pacer(max_datagram_size) if pacing else None
        self._is_rate_stale = True
        self._max_datagram_size = max_datagram_size
        self._max_ack_delay = max_ack_delay
        self._is_handshake_complete = False
        self._is_awaiting_handshake = is_client  # RFC 9002 section 6.2.2.1: only a client can break the deadlock
        self._filled_until = 0  # packets below this number belong to a flight that filled the window
        self._loss_time: int | None = None
        self._timeout: int | None = None  # of the timer, from the last ack-eliciting packet; None: ask the plug-in
        self._last_event_time: int | None = None  # when something was last sent or acknowledged
        self._last_ack_time = 0
        self._quiet_time = 0  # of the timer, with `_timeout`
        self._expiry_time = 0  # when the timer last expired: it starts again there, whether or not a probe was sent
        self._first_sample_time: int | None = None
        self._loss_run = LossRun()
        self._loss_episode = LossEpisode()
        self._ecn_response_time = NEVER
        self.tracks_delivery = congestion.tracks_delivery
        self._path_start = 0  # packets below this number went another way
        self._sink = vantage.sink
        self._host = vantage.host
        self._connection = vantage.connection

    # Inputs

    def on_packet_sent(self, packet: SentPacket) -> None:
        if self.tracks_delivery and packet.is_in_flight:
            self.congestion.on_packet_sent(packet, self.sent.bytes_in_flight)
        self.sent.on_packet_sent(packet)
        self._last_event_time = packet.sent_time
        if self._pacer is not None and packet.is_in_flight:
            self._pacer.on_packet_sent(packet.size)

    def on_ack_received(self, ranges: Ranges, ack_delay: int, now: int) -> AckOutcome:
        """Take an ACK frame: half-open ranges, highest first. Raises RemoteProtocolError for a packet never sent."""
        sent = self.sent
        bytes_in_flight = sent.bytes_in_flight
        largest_before = sent.largest_acked
        if sent.recent_losses and self.rtt.has_sample:
            sent.forget_losses(now - LOSS_MEMORY_RTTS * (self.rtt.smoothed_rtt + 4 * self.rtt.rttvar))
        acked, spurious = sent.on_ack_received(ranges)
        if not acked and not spurious:
            return AckOutcome((), (), ())
        if sent.largest_acked > largest_before:
            self._sample_rtt(acked, spurious, ack_delay, now)
            if not sent.ack_eliciting_in_flight and self._is_handshake_complete:
                self._timer.on_flight_acked(ack_delay)
        if not self._is_awaiting_handshake:
            self.pto_count = 0
        self._timeout = None
        self._last_event_time = self._last_ack_time = now
        if acked and acked[0].packet_number < largest_before:
            self._loss_detector.on_reordered()
        if spurious:
            self._on_spurious(spurious, largest_before, now)
        lost: Sequence[SentPacket] = ()
        self._loss_time = None
        if sent.missing:
            lost = self._detect_losses(now)
        if acked:
            self._report_acked(acked, bytes_in_flight, now)
        self._is_rate_stale = True
        if self._sink is not None:
            self._emit_outcome(acked, lost, spurious, now)
        return AckOutcome(acked, lost, spurious)

    def on_timeout(self, now: int) -> TimeoutOutcome:
        """Act on the deadline `next_timeout` gave, if it has come."""
        deadline = self.next_timeout()
        if deadline is None or deadline > now:
            return TimeoutOutcome((), 0)
        if self._sink is not None:
            timer = "pto" if self._loss_time is None else "ack"
            self._sink.emit(TimerExpired(now, self._host, self._connection, timer))
        if self._loss_time is not None:
            lost = self._detect_losses(now)
            if self._sink is not None and lost:
                self._emit_outcome((), lost, (), now)
            return TimeoutOutcome(lost, 0)
        self.pto_count += 1
        self._timeout = None
        self._expiry_time = now
        if self._timer.declares_loss and (self.sent.bytes_in_flight or self.sent.bytes_elsewhere):
            return TimeoutOutcome(self._lose_everything(now), 0)
        # Ours: before the first sample two expiries may only mean that the path is longer than was guessed.
        singles = 1 if self.rtt.has_sample else 2
        return TimeoutOutcome((), PROBES_FIRST if self.pto_count <= singles else PROBES_NEXT)

    def on_ecn_ce(self, sent_time: int, now: int) -> None:
        """The path has marked packets with CE; `sent_time` is of the newest one acknowledged.

        RFC 9002 section 7.1: as a loss; section 7.3.2: one reduction for all marks of a round trip.
        """
        if sent_time <= self._ecn_response_time:
            return
        self._ecn_response_time = now
        self._is_rate_stale = True
        self._loss_episode.on_ecn_ce(sent_time, now)
        in_flight = self.sent.bytes_in_flight
        self.congestion.on_congestion_event(CongestionEvent(now, sent_time, 0, in_flight, False, (), True))
        if self._sink is not None:
            self._emit_metrics(self._sink, now)

    def on_application_limited(self, now: int) -> None:
        """All that waited has left; if window and pacer would let more go, the application is what limits us."""
        if not self.tracks_delivery:
            return
        bytes_in_flight = self.sent.bytes_in_flight
        if self.congestion.congestion_window - bytes_in_flight < self._max_datagram_size:
            return
        if self._pacer is None or self._paced_allowance(self._pacer, now) >= self._max_datagram_size:
            self.congestion.on_application_limited(bytes_in_flight)

    def set_max_datagram_size(self, size: int) -> None:
        """Path MTU discovery found another size; RFC 9002 section 7.2 makes it the unit of the windows."""
        self._max_datagram_size = size
        self.congestion.max_datagram_size = size
        if self._pacer is not None:
            self._pacer.set_max_datagram_size(size)
            self._is_rate_stale = True

    def change_path(self, estimates: PathEstimates, now: int) -> PathEstimates:
        """Go on where `estimates` are from: what was sent before teaches nothing about it (RFC 9000 section 9.4).

        Returns what is known of the path left.
        """
        former = PathEstimates(self.congestion, self._timer, self.rtt.copy(), self.sent.charged_from)
        self.congestion = estimates.congestion
        self._timer = estimates.timer
        self.rtt.become(estimates.rtt)
        self._path_start = self._filled_until = self.sent.next_packet_number
        self.sent.charge_from(self._path_start if estimates.first_number is None else estimates.first_number)
        self.tracks_delivery = self.congestion.tracks_delivery
        self._first_sample_time = None
        self._loss_run = LossRun()
        self._loss_episode = LossEpisode()
        self._ecn_response_time = now  # marks of what went elsewhere are no news of this path
        self.pto_count = 0
        self._timeout = None
        self.set_max_datagram_size(self._max_datagram_size)
        if self._sink is not None:
            self._emit_metrics(self._sink, now)
        return former

    def restart(self, now: int) -> None:
        """Forget what was sent: the peer kept nothing of it and wants us to begin again (RFC 9002 section 6.3)."""
        outstanding = list(self.sent.outstanding.values())
        if len(outstanding) == 1:  # it is known which packet was answered: an RTT to begin with
            self.rtt.become(RttEstimator(now - outstanding[0].sent_time))
        self.sent.discard()
        self.pto_count = 0
        self._timeout = self._loss_time = None
        self._last_event_time = now

    def set_handshake_complete(self, max_ack_delay: int) -> None:
        """From now on the peer delays acknowledgements as it said, and no probe is due while nothing is in flight.

        RFC 9002 section 6.2.2 ends the handshake's back-off with its keys: the peer has been heard.
        """
        self._is_handshake_complete = True
        self._is_awaiting_handshake = False
        self._max_ack_delay = max_ack_delay
        self.pto_count = 0
        self._timeout = None

    # Outputs

    def next_timeout(self) -> int | None:
        """When `on_timeout` is due: to declare a loss, or because the peer is silent (RFC 9002 appendix A.8)."""
        if self._loss_time is not None:
            return self._loss_time
        if self.is_muted:  # RFC 9002 section 6.2.2.1: what cannot be sent is not waited for, nor backed off from
            return None
        sent = self.sent
        if sent.ack_eliciting_in_flight:
            started = sent.last_ack_eliciting_time
        elif self._is_awaiting_handshake and self._last_event_time is not None:
            started = self._last_event_time
        else:
            return None
        if started < self._expiry_time:
            started = self._expiry_time
        timeout = self._timeout
        if timeout is None:
            timeout = self._timer.timeout(self.rtt, self._max_ack_delay, self.pto_count)
            self._timeout = timeout
            self._quiet_time = self._timer.quiet_time(self.rtt)
        deadline = started + timeout
        quiet_until = self._last_ack_time + self._quiet_time
        return deadline if deadline > quiet_until else quiet_until

    def send_allowance(self, now: int) -> int:
        """Octets that window and pacer let go now; 0 when that is less than a datagram. Probes need not ask."""
        window = self.congestion.congestion_window
        bytes_in_flight = self.sent.bytes_in_flight
        allowance = window - bytes_in_flight
        if allowance >= self._max_datagram_size and self._pacer is not None:
            paced = self._paced_allowance(self._pacer, now)
            if paced < allowance:
                allowance = paced
        if allowance >= self._max_datagram_size:
            return allowance
        # To wait for the pacer is not to want for data (RFC 9002 section 7.8). A departure: unless the window is not
        # even half used, or the bursts of a slow application would grow it without end.
        if bytes_in_flight == 0 and window < self._max_datagram_size and allowance >= window:
            return window  # datagrams have grown beyond the smallest window: one at a time
        if bytes_in_flight * 2 >= window:
            self._filled_until = self.sent.next_packet_number
        return 0

    def fits(self, size: int, now: int) -> bool:
        """Whether a datagram of another size than the usual may leave; the pacer lets it run up a debt."""
        if self.congestion.congestion_window - self.sent.bytes_in_flight < size:
            return False
        return self._pacer is None or self._paced_allowance(self._pacer, now) >= self._max_datagram_size

    def pacing_deadline(self, now: int) -> int | None:
        """When the pacer will let go what the window already does; None when it does not hold anything back."""
        if self._pacer is None:
            return None
        if self.congestion.congestion_window - self.sent.bytes_in_flight < self._max_datagram_size:
            return None
        if self._paced_allowance(self._pacer, now) >= self._max_datagram_size:
            return None
        return self._pacer.deadline(now)

    # The steps of an acknowledgement

    def _sample_rtt(
        self, acked: Sequence[SentPacket], spurious: Sequence[SentPacket], ack_delay: int, now: int
    ) -> None:
        """RFC 9002 section 5.1: the largest must be newly acknowledged, and something that asked for it as well.

        A packet declared lost too early counts: its number is its own, so the sample is not ambiguous.
        """
        largest = self.sent.largest_acked
        if acked and acked[-1].packet_number == largest:
            packet = acked[-1]
        elif spurious and spurious[-1].packet_number == largest:
            packet = spurious[-1]
        else:
            return
        if not packet.is_ack_eliciting and not any(p.is_ack_eliciting for p in acked):
            return
        if packet.is_path_probe or packet.packet_number < self._path_start:
            return  # it may have gone another way
        # RFC 9002 section 5.3: the delay is believed up to max_ack_delay once the handshake is complete.
        if self._is_handshake_complete and ack_delay > self._max_ack_delay:
            ack_delay = self._max_ack_delay
        latest_rtt = now - packet.sent_time
        self.rtt.on_sample(latest_rtt, ack_delay)
        self._timer.on_rtt_sample(latest_rtt, ack_delay)
        if self._first_sample_time is None:
            self._first_sample_time = now

    def _on_spurious(self, spurious: Sequence[SentPacket], largest_before: int, now: int) -> None:
        """What was declared lost has arrived: it was overtaken, or only slow, where a timer had declared the loss."""
        oldest = spurious[0]
        if oldest.packet_number < largest_before:
            self._loss_detector.on_spurious(oldest, now)
        if self._loss_episode.on_spurious(spurious):
            self.congestion.on_spurious_congestion_event(now)

    def _detect_losses(self, now: int) -> Sequence[SentPacket]:
        sent = self.sent
        verdict = self._loss_detector.detect(sent.missing, sent.largest_acked, self.rtt, now)
        assert verdict.loss_time is None or verdict.loss_time > now
        self._loss_time = verdict.loss_time
        lost = verdict.lost
        if lost:
            sent.on_packets_lost(lost, now)
            self._report_lost(lost, self._is_persistent(lost), now)
        return lost

    def _lose_everything(self, now: int) -> Sequence[SentPacket]:
        """RFC 6298 section 5.4, RFC 5681 section 3.1: what is outstanding is sent again, from the smallest window."""
        lost = self.sent.in_flight()
        self.sent.on_packets_lost(lost, now)
        self._report_lost(lost, True, now)
        if self._sink is not None:
            for packet in lost:
                self._sink.emit(PacketLost(now, self._host, self._connection, packet.packet_number, "pto_expired"))
            self._emit_metrics(self._sink, now)
        return lost

    def _is_persistent(self, lost: Sequence[SentPacket]) -> bool:
        """RFC 9002 section 7.6: nothing sent over a long time came through, and the round trip was known before."""
        if self._first_sample_time is None:
            return False
        # Section 7.6.1: as the probe time-out, whatever timer is in use, but never backed off.
        duration = self.rtt.probe_timeout(self._max_ack_delay)
        span = self._loss_run.extend(lost, self._first_sample_time, self.sent)
        return span > duration * PERSISTENT_CONGESTION_THRESHOLD

    def _report_lost(self, lost: Sequence[SentPacket], is_persistent: bool, now: int) -> None:
        path_start = self._path_start
        # RFC 9000 s14.4 and s9.4: neither a probe for a larger MTU nor a loss on another path is congestion here.
        lost = [packet for packet in lost if not packet.is_path_probe and packet.packet_number >= path_start]
        if not lost:
            return
        self._is_rate_stale = True
        event = CongestionEvent(
            now=now,
            sent_time=lost[-1].sent_time,
            lost_bytes=sum(packet.size for packet in lost),
            bytes_in_flight=self.sent.bytes_in_flight,
            is_persistent=is_persistent,
            lost=lost,
        )
        self._loss_episode.on_lost(lost, is_persistent, now)
        self.congestion.on_congestion_event(event)

    def _report_acked(self, acked: Sequence[SentPacket], bytes_in_flight: int, now: int) -> None:
        """Tell the controller of the packets that were charged to its window; `bytes_in_flight` is of before."""
        path_start = self._path_start
        for packet in acked:
            if not packet.is_in_flight or packet.packet_number < path_start:
                acked = [packet for packet in acked if packet.is_in_flight and packet.packet_number >= path_start]
                break
        if not acked:
            return
        rtt = self.rtt
        congestion = self.congestion
        # RFC 9002 section 7.8, for a whole flight as TCP stacks have it: once the window had no room for a datagram,
        # every packet sent until then counts, or a flight's first acknowledgement would withhold growth from the rest.
        if bytes_in_flight + self._max_datagram_size > congestion.congestion_window:
            self._filled_until = self.sent.next_packet_number
        is_app_limited = acked[-1].packet_number >= self._filled_until
        congestion.on_packets_acked(
            acked, Flight(now, bytes_in_flight, rtt.smoothed_rtt, rtt.min_rtt, rtt.latest_rtt, is_app_limited)
        )

    def _paced_allowance(self, pacer: Pacer, now: int) -> int:
        if self._is_rate_stale:
            self._is_rate_stale = False
            pacer.set_rate(self.congestion.pacing_rate(self.rtt.smoothed_rtt), now)
        return pacer.allowance(now)

    # Facts, built only when somebody listens

    def _emit_outcome(
        self, acked: Sequence[SentPacket], lost: Sequence[SentPacket], spurious: Sequence[SentPacket], now: int
    ) -> None:
        sink = self._sink
        assert sink is not None
        for packet in acked:
            sink.emit(PacketAcked(now, self._host, self._connection, packet.packet_number))
        for packet in spurious:
            sink.emit(SpuriousLoss(now, self._host, self._connection, packet.packet_number))
        for packet in lost:
            trigger = self._loss_detector.trigger(packet, self.sent.largest_acked)
            sink.emit(PacketLost(now, self._host, self._connection, packet.packet_number, trigger))
        self._emit_metrics(sink, now)

    def _emit_metrics(self, sink: Sink, now: int) -> None:
        rtt, congestion = self.rtt, self.congestion
        sink.emit(
            MetricsUpdated(
                time=now,
                host=self._host,
                connection=self._connection,
                smoothed_rtt=rtt.smoothed_rtt,
                min_rtt=rtt.min_rtt,
                congestion_window=congestion.congestion_window,
                bytes_in_flight=self.sent.bytes_in_flight,
                latest_rtt=rtt.latest_rtt,
                rttvar=rtt.rttvar,
                pto_count=self.pto_count,
                ssthresh=congestion.ssthresh,
                phase=congestion.phase,
            )
        )


class LossRun:
    """Owns the latest run of packets lost one after another: how long did nothing come through? (RFC 9002 s7.6.2)

    Numbers must follow each other: a gap is a packet that came through, or may have. A packet that was not in flight
    breaks a run too, which errs on the side of not collapsing the window. A number that was skipped breaks none.
    """

    __slots__ = ("_last_number", "_start_time")

    def __init__(self) -> None:
        self._start_time: int | None = None  # when the first ack-eliciting packet of the run was sent
        self._last_number = -1

    def extend(self, lost: Sequence[SentPacket], since: int, sent: SentPackets) -> int:
        """Go on with packets just declared lost, sent after `since`; the longest time between two ack-eliciting ones
        of the run."""
        span = 0
        for packet in lost:
            following = self._last_number + 1
            if packet.packet_number != following and not (
                packet.packet_number == following + 1 and sent.is_skipped(following)
            ):
                self._start_time = None
            self._last_number = packet.packet_number
            if packet.sent_time <= since or not packet.is_ack_eliciting or packet.is_path_probe:
                continue
            if self._start_time is None:
                self._start_time = packet.sent_time
            span = max(span, packet.sent_time - self._start_time)
        return span
