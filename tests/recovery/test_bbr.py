"""BBR: what its parts conclude, and what the controller makes of losses, marks and undone losses."""

import pytest

from rudp_smtp.recovery.congestion import CongestionController, CongestionEvent, Flight
from rudp_smtp.recovery.congestion.bbr.baseline import SHARE_ONE, BaselineLoss
from rudp_smtp.recovery.congestion.bbr.model import FullPipe, MaxBandwidth, MinRtt
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.units import SECOND
from tests.recovery.builders import MDS, controller, ms, sent_packet

RTT = ms(40)
RATE = 2_400_000  # octets per second: 80 packets a round trip
PACKET_TIME = MDS * SECOND // RATE
SIGMAS = 5


class Bottleneck:
    """One sender at a link of `rate` and a queue of `room` octets; every `period`-th packet is lost behind it."""

    def __init__(self, *, room: int = 1 << 30, period: int = 0) -> None:
        self.congestion: CongestionController = controller("bbr")
        self.now = 0
        self._free_at = 0
        self._room = room
        self._period = period
        self._number = 0
        self._next_send = 0
        self._flight: list[tuple[int, bool, SentPacket]] = []  # when its fate is known, whether it arrives
        self._in_flight = 0
        self.passed = 0
        self.dropped = 0

    def run(self, until: int) -> None:
        """Go on sending as window and pace allow."""
        while self.now < until:
            can_send = self._in_flight + MDS <= self.congestion.congestion_window
            due = self._flight[0][0] if self._flight else until
            if can_send and self._next_send <= due:
                self.now = max(self.now, self._next_send)
                self._send()
            else:
                self.now = max(self.now, due)
                self._learn()

    def _send(self) -> None:
        packet = sent_packet(self._number, self.now)
        self._number += 1
        self.congestion.on_packet_sent(packet, self._in_flight)
        self._in_flight += MDS
        rate = self.congestion.pacing_rate(RTT)
        assert rate is not None
        self._next_send = self.now + MDS * SECOND // rate
        waiting = max(0, self._free_at - self.now)
        if waiting * RATE // SECOND > self._room:
            self.dropped += 1
            self._flight.append((self._free_at + RTT, False, packet))
            return
        self._free_at = max(self._free_at, self.now) + PACKET_TIME
        is_lost = self._period > 0 and packet.packet_number % self._period == 0
        self._flight.append((self._free_at + RTT, not is_lost, packet))
        self.passed += 1

    def _learn(self) -> None:
        _, arrives, packet = self._flight.pop(0)
        before = self._in_flight
        self._in_flight -= MDS
        if arrives:
            rtt = self.now - packet.sent_time
            self.congestion.on_packets_acked([packet], Flight(self.now, before, rtt, RTT, rtt, False))
        else:
            self.congestion.on_congestion_event(
                CongestionEvent(self.now, packet.sent_time, MDS, self._in_flight, False, [packet])
            )

    def utilisation(self, start: int, stop: int) -> float:
        self.run(start)
        before = self.passed
        self.run(stop)
        return (self.passed - before) * PACKET_TIME / (stop - start)


def pace(path: Bottleneck) -> float:
    rate = path.congestion.pacing_rate(RTT)
    assert rate is not None
    return rate / RATE


def test_after_startup_the_pace_is_the_bottlenecks() -> None:
    path = Bottleneck()
    path.run(SECOND)
    assert pace(path) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("period", [0, 100, 20, 10])
def test_losses_at_random_leave_the_link_full(period: int) -> None:
    """Up to one packet in ten, where a fixed threshold of 2 % would give up half of the link and more."""
    assert Bottleneck(period=period).utilisation(SECOND, 6 * SECOND) > 0.96


@pytest.mark.parametrize("room", [10, 20, 40, 80])
def test_a_queue_of_an_eighth_of_the_pipe_or_more_loses_hardly_anything(room: int) -> None:
    """A single flow: its own probes are all that overflow the queue."""
    path = Bottleneck(room=room * MDS)
    assert path.utilisation(SECOND, 8 * SECOND) > 0.85
    assert path.dropped < 0.02 * path.passed


@pytest.mark.parametrize("room", [1, 4])
def test_where_there_is_no_queue_to_speak_of_losses_are_not_taken_for_random(room: int) -> None:
    """No round trip ever gets longer, so that nothing tells them apart; to send more for them would never end."""
    path = Bottleneck(room=room * MDS)
    path.run(8 * SECOND)
    assert path.dropped < 0.1 * path.passed


def test_a_mark_in_each_round_is_answered_like_excess_loss() -> None:
    """RFC 9002 section 7.1."""
    path = Bottleneck()
    path.run(SECOND)
    before = path.congestion.congestion_window
    for _ in range(8):
        path.run(path.now + RTT)
        path.congestion.on_congestion_event(CongestionEvent(path.now, path.now, 0, 80 * MDS, False, (), True))
    assert path.congestion.congestion_window < before


def test_persistent_congestion_leaves_two_datagrams_and_the_window_comes_back() -> None:
    """RFC 9002 section 7.6.2."""
    path = Bottleneck()
    path.run(SECOND)
    before = path.congestion.congestion_window
    path.congestion.on_congestion_event(CongestionEvent(path.now, path.now, MDS, 0, True))
    assert path.congestion.congestion_window == 2 * MDS
    path.run(3 * SECOND)
    assert path.congestion.congestion_window > before * 9 // 10


def test_no_decision_depends_on_floats_or_on_chance() -> None:
    paces = []
    for _ in range(2):
        path = Bottleneck(room=40 * MDS, period=50)
        path.run(5 * SECOND)
        paces.append((path.passed, path.congestion.pacing_rate(RTT), path.congestion.congestion_window))
    assert paces[0] == paces[1]
    assert all(type(value) is int for value in paces[0])


def fed(lost: int, sent: int, rounds: int) -> BaselineLoss:
    baseline = BaselineLoss()
    for _ in range(rounds):
        baseline.on_round(lost, sent)
    return baseline


def test_without_random_loss_two_per_cent_are_too_much() -> None:
    """draft-ietf-ccwg-bbr section 2.4: LossThresh."""
    baseline = fed(0, 100, 10)
    assert not baseline.is_exceeded(2, 100, SIGMAS)
    assert baseline.is_exceeded(3, 100, SIGMAS)


def test_with_random_loss_too_much_is_what_chance_does_not_explain() -> None:
    baseline = fed(10, 100, 30)
    assert baseline.share == pytest.approx(SHARE_ONE // 10, rel=0.01)
    assert not baseline.is_exceeded(16, 100, SIGMAS)
    assert baseline.is_exceeded(40, 100, SIGMAS)
    assert baseline.is_exceeded(160, 1000, SIGMAS)


def test_a_path_that_loses_in_bursts_is_allowed_more() -> None:
    even, bursty = fed(10, 100, 40), BaselineLoss()
    for number in range(40):
        bursty.on_round(40 if number % 4 == 0 else 0, 100)
    assert even.is_exceeded(25, 100, SIGMAS)
    assert not bursty.is_exceeded(25, 100, SIGMAS)


def test_what_is_sent_more_is_what_is_certain_and_bounded() -> None:
    few, many = fed(10, 100, 1), fed(10, 100, 40)
    assert few.compensated(1000) < many.compensated(1000) < 1112
    assert fed(60, 100, 40).compensated(1000) < 1200
    many.is_trusted = False
    assert many.compensated(1000) == 1000


def test_the_bandwidth_is_the_largest_of_two_cycles() -> None:
    """Section 5.5.6."""
    bandwidth = MaxBandwidth()
    bandwidth.on_sample(100)
    bandwidth.advance()
    bandwidth.on_sample(80)
    assert bandwidth.value == 100
    bandwidth.advance()
    assert bandwidth.value == 80


def test_the_pipe_is_full_after_three_rounds_without_a_quarter_more() -> None:
    """Section 5.3.1.2."""
    pipe = FullPipe()
    for rate in (100, 200, 400, 480, 490):
        pipe.on_round(rate, False)
        assert not pipe.is_full
    pipe.on_round(499, False)
    assert pipe.is_full


def test_before_it_was_ever_full_rounds_without_a_queue_count_half() -> None:
    pipe = FullPipe()
    for _ in range(6):
        pipe.on_round(100, True)
        assert not pipe.is_full
    pipe.on_round(100, True)
    assert pipe.is_full


def test_the_round_trip_is_probed_when_no_short_one_was_seen_for_five_seconds() -> None:
    """Section 5.3.4.3; and ten seconds later an old one is forgotten."""
    min_rtt = MinRtt()
    min_rtt.on_sample(RTT, 0, True)
    min_rtt.on_sample(2 * RTT, 5 * SECOND, True)
    assert not min_rtt.is_probe_due
    min_rtt.on_sample(2 * RTT, 5 * SECOND + 1, True)
    assert (min_rtt.is_probe_due, min_rtt.value) == (True, RTT)
    min_rtt.on_sample(2 * RTT, 11 * SECOND, True)
    assert min_rtt.value == 2 * RTT


@pytest.mark.parametrize("is_queue_known", [True, False])
def test_a_round_trip_as_short_as_the_shortest_puts_the_probe_off_where_queues_are_known(is_queue_known: bool) -> None:
    """Where they are not, it may as well be that the queue is full all the time."""
    min_rtt = MinRtt()
    due = []
    for now in range(0, 6 * SECOND, SECOND // 10):
        min_rtt.on_sample(RTT, now, is_queue_known)
        due.append(min_rtt.is_probe_due)
    assert any(due) != is_queue_known


def test_what_was_lost_while_probing_is_taken_back_when_it_arrives_after_all() -> None:
    """Section 5.5.11.2: the window is at least what it was."""
    path = Bottleneck(room=20 * MDS)
    path.run(SECOND)
    before = path.congestion.congestion_window
    sent_time = path.now
    for number in range(8):
        lost = [sent_packet(1_000_000 + number, sent_time)]
        path.congestion.on_congestion_event(CongestionEvent(path.now, sent_time, MDS, 60 * MDS, False, lost))
    path.congestion.on_spurious_congestion_event(path.now)
    assert path.congestion.congestion_window >= before
