"""What follows losses that were none (the idea of RFC 4015 and RFC 5682), and ECN marks (RFC 9002 section 7.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rudp_smtp.recovery.congestion import CongestionController, CongestionEvent, Flight
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS
from rudp_smtp.recovery.recovery import Recovery
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.recovery.timer import TIMERS
from rudp_smtp.recovery.undo import LossEpisode
from rudp_smtp.registry import Spec
from rudp_smtp.trace import VantagePoint
from rudp_smtp.units import SECOND
from tests.recovery.builders import INITIAL_RTT, MAX_ACK_DELAY, MDS, established, ms, numbers, send, sent_packet

RTT = ms(40)


@dataclass
class Listener(CongestionController):
    """A controller that takes no decision and keeps what it was told."""

    tracks_delivery = True

    max_datagram_size: int = MDS
    events: list[CongestionEvent] = field(default_factory=list)
    spurious_times: list[int] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)  # packet number, octets in flight before it
    limited: list[int] = field(default_factory=list)

    @property
    def congestion_window(self) -> int:
        return 10 * MDS

    @property
    def ssthresh(self) -> int | None:
        return None

    def on_packets_acked(self, acked: Sequence[SentPacket], flight: Flight) -> None:
        pass

    def on_congestion_event(self, event: CongestionEvent) -> None:
        self.events.append(event)

    def on_spurious_congestion_event(self, now: int) -> None:
        self.spurious_times.append(now)

    def on_packet_sent(self, packet: SentPacket, bytes_in_flight: int) -> None:
        self.sent.append((packet.packet_number, bytes_in_flight))

    def on_application_limited(self, bytes_in_flight: int) -> None:
        self.limited.append(bytes_in_flight)


def listening(timer: str = "pto", *, pacing: bool = False) -> tuple[Recovery, Listener]:
    listener = Listener()
    recovery = Recovery(
        loss_detector=LOSS_DETECTORS.build(Spec("rfc9002")),
        timer=TIMERS.build(Spec(timer)),
        congestion=listener,
        pacing=pacing,
        initial_rtt=INITIAL_RTT,
        max_ack_delay=0,
        max_datagram_size=MDS,
        is_client=False,
        vantage=VantagePoint(None, "client", 0),
    )
    recovery.set_handshake_complete(MAX_ACK_DELAY)
    return recovery, listener


# A reduction for nothing


def test_the_window_is_restored_when_all_that_was_lost_has_arrived() -> None:
    """RFC 4015 section 3.2's idea: the late acknowledgement proves that the original was only overtaken."""
    recovery = established()
    send(recovery, 10, now=0)
    before = recovery.congestion.congestion_window
    assert numbers(recovery.on_ack_received([(2, 5)], 0, RTT).lost) == [0, 1]
    assert recovery.congestion.congestion_window < before
    recovery.on_ack_received([(1, 5)], 0, RTT + ms(1))
    assert recovery.congestion.congestion_window < before
    recovery.on_ack_received([(0, 5)], 0, RTT + ms(2))
    assert recovery.congestion.congestion_window >= before
    assert recovery.congestion.ssthresh is None


def test_all_losses_of_one_recovery_period_are_one_episode() -> None:
    """RFC 9002 section 7.3.2: one reduction for both, so both must be disproved to take it back."""
    recovery, listener = listening()
    send(recovery, 10, now=0)
    recovery.on_ack_received([(1, 4)], 0, RTT)
    recovery.on_ack_received([(5, 8), (1, 4)], 0, RTT + ms(1))
    assert [numbers(event.lost) for event in listener.events] == [[0], [4]]
    recovery.on_ack_received([(5, 8), (0, 4)], 0, RTT + ms(2))
    assert listener.spurious_times == []
    recovery.on_ack_received([(0, 8)], 0, RTT + ms(3))
    assert listener.spurious_times == [RTT + ms(3)]


def test_the_loss_of_a_packet_sent_during_recovery_is_an_episode_of_its_own() -> None:
    recovery, listener = listening()
    send(recovery, 5, now=0)
    recovery.on_ack_received([(1, 5)], 0, RTT)
    send(recovery, 5, now=RTT + 1)
    recovery.on_ack_received([(6, 10), (1, 5)], 0, 2 * RTT)
    recovery.on_ack_received([(5, 10), (1, 5)], 0, 2 * RTT + ms(1))
    assert listener.spurious_times == [2 * RTT + ms(1)]
    recovery.on_ack_received([(0, 10)], 0, 2 * RTT + ms(2))  # of the episode before: that reduction stands
    assert listener.spurious_times == [2 * RTT + ms(1)]


def test_an_episode_is_taken_back_once() -> None:
    episode = LossEpisode()
    packets = [sent_packet(0, 0), sent_packet(1, 0)]
    episode.on_lost(packets, False, RTT)
    assert not episode.on_spurious(packets[:1])
    assert episode.on_spurious(packets[1:])
    assert not episode.on_spurious(packets)


def test_persistent_congestion_is_not_taken_back() -> None:
    """RFC 9002 section 7.6: silence over that long is no reordering."""
    episode = LossEpisode()
    episode.on_lost([sent_packet(0, 0)], True, RTT)
    assert not episode.on_spurious([sent_packet(0, 0)])
    episode.on_lost([sent_packet(1, 1)], False, 2 * RTT)  # the next loss begins anew, RFC 9002 appendix B.8
    assert episode.on_spurious([sent_packet(1, 1)])


def test_an_ecn_mark_is_not_taken_back() -> None:
    """RFC 9002 section 7.1: the path itself says that it is congested."""
    recovery, listener = listening()
    send(recovery, 5, now=0)
    recovery.on_ack_received([(1, 5)], 0, RTT)
    recovery.on_ecn_ce(0, RTT + 1)
    recovery.on_ack_received([(0, 5)], 0, RTT + 2)
    assert listener.spurious_times == []


# ECN


def test_marks_of_one_round_trip_are_one_event() -> None:
    """RFC 9002 section 7.3.2: no further reduction for packets sent before the last one."""
    recovery, listener = listening()
    send(recovery, 5, now=0)
    for sent_time, now in ((0, RTT), (ms(1), RTT + ms(1)), (RTT, 2 * RTT), (RTT + 1, 2 * RTT + 1)):
        recovery.on_ecn_ce(sent_time, now)
    assert [(event.now, event.is_ecn, event.lost_bytes) for event in listener.events] == [
        (RTT, True, 0),
        (2 * RTT + 1, True, 0),
    ]


def test_a_mark_shrinks_the_window_like_a_loss() -> None:
    """RFC 9002 section 7.1."""
    recovery = established()
    window = recovery.congestion.congestion_window
    recovery.on_ecn_ce(0, RTT)
    assert recovery.congestion.congestion_window == window // 2


# What a controller that samples the delivery rate hears


def test_each_packet_in_flight_is_told_with_what_was_in_flight_before_it() -> None:
    recovery, listener = listening()
    send(recovery, 2, now=0)
    recovery.on_packet_sent(sent_packet(2, 0, size=40, is_ack_eliciting=False, is_in_flight=False))
    send(recovery, 1, now=0)
    assert listener.sent == [(0, 0), (1, MDS), (3, 2 * MDS)]


def test_the_application_is_the_limit_only_where_the_window_has_room() -> None:
    recovery, listener = listening()
    send(recovery, 9, now=0)
    recovery.on_application_limited(0)
    assert listener.limited == [9 * MDS]
    send(recovery, 1, now=0)
    recovery.on_application_limited(0)
    assert listener.limited == [9 * MDS]


def test_the_application_is_not_the_limit_while_the_pacer_would_hold_back_what_it_had() -> None:
    recovery, listener = listening(pacing=True)
    send(recovery, 9, now=0)
    recovery.send_allowance(0)
    recovery.on_ack_received([(0, 9)], 0, RTT)
    assert recovery.send_allowance(RTT) > 0
    while recovery.send_allowance(RTT):
        send(recovery, 1, now=RTT)
    recovery.on_ack_received([(0, 12)], 0, RTT)
    recovery.on_application_limited(RTT)
    assert listener.limited == []
    recovery.on_application_limited(SECOND)
    assert len(listener.limited) == 1
