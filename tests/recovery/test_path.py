"""What Recovery keeps of a path, and what of it is no sign of congestion (RFC 9000 sections 9.4 and 14.4)."""

import pytest

from rudp_smtp.errors import RemoteProtocolError
from rudp_smtp.recovery.recovery import PathEstimates, Recovery
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.recovery.timer import TIMERS
from rudp_smtp.registry import Spec
from rudp_smtp.trace import ListSink, MetricsUpdated
from tests.recovery.builders import INITIAL_RTT, MDS, controller, established, ms, send


def probe_path(recovery: Recovery, size: int, now: int) -> int:
    """Send a probe of the path; its number."""
    number = recovery.sent.next_packet_number
    recovery.on_packet_sent(SentPacket(number, now, size, True, True, [], is_path_probe=True))
    return number


def elsewhere() -> PathEstimates:
    return PathEstimates(controller(), TIMERS.build(Spec("pto")), RttEstimator(INITIAL_RTT))


def test_a_lost_probe_of_the_path_leaves_the_window_alone() -> None:
    recovery = established()
    window = recovery.congestion.congestion_window
    number = probe_path(recovery, 1472, ms(0))
    following = send(recovery, 4, ms(1))
    assert recovery.sent.bytes_in_flight == 1472 + 4 * MDS
    outcome = recovery.on_ack_received([(following[0], following[-1] + 1)], 0, ms(50))
    assert [packet.packet_number for packet in outcome.lost] == [number]
    assert recovery.congestion.congestion_window >= window
    assert recovery.sent.bytes_in_flight == 0


def test_a_timer_that_declares_loss_spares_the_window_where_only_probes_of_the_path_are_out() -> None:
    recovery = established(timer="rfc6298")
    window = recovery.congestion.congestion_window
    probe_path(recovery, 1472, ms(0))
    deadline = recovery.next_timeout()
    assert deadline is not None
    assert len(recovery.on_timeout(deadline).lost) == 1
    assert recovery.congestion.congestion_window == window


def test_a_larger_datagram_is_the_new_unit_of_window_and_pacer() -> None:
    recovery = established(pacing=True)
    recovery.set_max_datagram_size(1472)
    assert recovery.congestion.max_datagram_size == 1472
    while recovery.send_allowance(ms(0)):
        send(recovery, 1, ms(0))
    window = recovery.congestion.congestion_window
    assert window - recovery.sent.bytes_in_flight < 1472


def test_datagrams_larger_than_the_window_leave_one_at_a_time() -> None:
    recovery = established(congestion="new_reno")
    recovery.set_max_datagram_size(40_000)
    assert recovery.send_allowance(ms(0)) > 0
    send(recovery, 10, ms(0))
    assert recovery.send_allowance(ms(0)) == 0


def test_what_another_path_carried_teaches_nothing_about_this_one() -> None:
    recovery = established()
    old = send(recovery, 8, ms(0))
    recovery.on_ack_received([(old[0], old[2])], 0, ms(40))
    former = recovery.change_path(elsewhere(), ms(50))
    window = recovery.congestion.congestion_window
    assert not recovery.rtt.has_sample
    outcome = recovery.on_ack_received([(old[-1], old[-1] + 1)], 0, ms(300))
    assert outcome.lost
    assert recovery.congestion.congestion_window == window
    assert not recovery.rtt.has_sample
    new = send(recovery, 1, ms(310))
    recovery.on_ack_received([(new[0], new[0] + 1)], 0, ms(400))
    assert recovery.rtt.min_rtt == ms(90)
    recovery.change_path(former, ms(410))
    assert recovery.rtt.min_rtt == ms(40)
    assert recovery.congestion is former.congestion


def test_what_is_in_flight_elsewhere_takes_no_room_here_and_does_again_on_the_way_back() -> None:
    """RFC 9000 section 9.4; on the way back it does, or hopping to and fro would double the window."""
    recovery = established()
    old = send(recovery, 10, ms(0))
    assert recovery.send_allowance(ms(1)) == 0
    former = recovery.change_path(elsewhere(), ms(2))
    assert recovery.sent.bytes_in_flight == 0
    assert recovery.send_allowance(ms(2)) >= 10 * MDS
    new = send(recovery, 4, ms(3))
    recovery.on_ack_received([(new[0], new[1] + 1), (old[0], old[2])], 0, ms(50))
    assert recovery.sent.bytes_in_flight == 2 * MDS
    recovery.change_path(former, ms(60))
    assert recovery.sent.bytes_in_flight == sum(packet.size for packet in recovery.sent.in_flight()) > 2 * MDS
    recovery.on_ack_received([(old[0], new[-1] + 1)], 0, ms(70))
    assert recovery.sent.bytes_in_flight == 0


def test_a_mark_on_what_went_elsewhere_leaves_the_window_of_this_path_alone() -> None:
    recovery = established()
    send(recovery, 4, ms(0))
    recovery.change_path(elsewhere(), ms(20))
    window = recovery.congestion.congestion_window
    recovery.on_ecn_ce(ms(0), ms(40))
    assert recovery.congestion.congestion_window == window
    send(recovery, 1, ms(41))
    recovery.on_ecn_ce(ms(41), ms(90))
    assert recovery.congestion.congestion_window == window // 2


def test_a_window_that_a_mark_or_another_path_changed_is_told_at_once() -> None:
    sink = ListSink()
    recovery = established(sink=sink)
    send(recovery, 4, ms(0))
    recovery.on_ecn_ce(0, ms(40))
    recovery.change_path(elsewhere(), ms(50))
    told = [(fact.time, fact.congestion_window) for fact in sink.facts if isinstance(fact, MetricsUpdated)]
    assert told == [(ms(40), 6000), (ms(50), 12_000)]


def test_a_skipped_number_is_neither_lost_nor_may_it_be_acknowledged() -> None:
    recovery = established()
    before = send(recovery, 2, ms(0))
    recovery.sent.skip_packet_number()
    after = send(recovery, 6, ms(1))
    assert after[0] == before[-1] + 2
    outcome = recovery.on_ack_received([(after[0], after[-1] + 1), (before[0], before[-1] + 1)], 0, ms(50))
    assert len(outcome.acked) == 8
    assert not outcome.lost
    with pytest.raises(RemoteProtocolError, match="skipped"):
        recovery.on_ack_received([(before[0], after[-1] + 1)], 0, ms(60))


def test_persistent_congestion_is_seen_across_a_skipped_number() -> None:
    recovery = established()
    send(recovery, 1, ms(0))
    recovery.on_ack_received([(0, 1)], 0, ms(40))
    send(recovery, 1, ms(50))
    recovery.sent.skip_packet_number()
    send(recovery, 1, ms(2000))
    last = send(recovery, 1, ms(2500))
    recovery.on_ack_received([(last[0], last[0] + 1)], 0, ms(2600))
    assert recovery.congestion.congestion_window <= 3 * MDS
