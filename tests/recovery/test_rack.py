"""RFC 8985: the rules of section 6, and the examples of sections 3.4 and 9.1 with packet numbers never reused."""

import pytest

from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS, LossDetector
from rudp_smtp.recovery.recovery import Recovery
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.registry import Spec
from tests.recovery.builders import MDS, established, ms, numbers, ranges_of, rtt_of, send, sent_packet

RTT = ms(40)
WINDOW = RTT // 4  # RFC 8985 section 6.2 step 4: RACK.min_RTT / 4, with a multiplier of one


def rack(**parameters: object) -> LossDetector:
    return LOSS_DETECTORS.build(Spec("rack", tuple(sorted(parameters.items()))))


def reordered_rack() -> LossDetector:
    detector = rack()
    detector.on_reordered()
    return detector


def missing_packets(*numbers_and_times: tuple[int, int]) -> list[SentPacket]:
    return [sent_packet(number, sent_time) for number, sent_time in numbers_and_times]


def measured(**choices: object) -> Recovery:
    """A recovery with RACK that has acknowledged packet 0, so it knows a round trip of 40 ms; the time is 40 ms."""
    recovery = established(loss_detection="rack", **choices)
    send(recovery, 1, now=0)
    recovery.on_ack_received([(0, 1)], 0, RTT)
    return recovery


def acknowledge(recovery: Recovery, packet_numbers: list[int], now: int) -> list[int]:
    """Acknowledge these beside packet 0; the numbers of the packets lost by it."""
    return numbers(recovery.on_ack_received(ranges_of({0, *packet_numbers}), 0, now).lost)


# The rules, section 6.2


@pytest.mark.parametrize(("largest_acked", "lost"), [(5, []), (6, []), (7, [4])])
def test_while_no_reordering_was_seen_three_later_packets_prove_a_loss_at_once(
    largest_acked: int, lost: list[int]
) -> None:
    """Section 6.2 step 4: the window is zero once DupThresh packets sent later have arrived."""
    verdict = rack().detect(missing_packets((4, ms(99))), largest_acked, rtt_of(RTT), ms(99) + RTT)
    assert numbers(verdict.lost) == lost


def test_with_fewer_later_packets_a_loss_takes_a_quarter_of_the_smallest_round_trip_more() -> None:
    """Section 6.2 steps 4 and 5: RACK.xmit_ts + RACK.rtt + RACK.reo_wnd."""
    missing = missing_packets((4, ms(100)))
    verdict = rack().detect(missing, 5, rtt_of(RTT), ms(101) + RTT)
    assert (verdict.lost, verdict.loss_time) == ([], ms(100) + RTT + WINDOW)
    verdict = rack().detect(missing, 5, rtt_of(RTT), ms(100) + RTT + WINDOW)
    assert (numbers(verdict.lost), verdict.loss_time) == ([4], None)


def test_once_reordering_was_seen_no_number_of_later_packets_proves_a_loss() -> None:
    """Section 6.2 step 4: RACK.reordering_seen."""
    missing = missing_packets((4, ms(100)))
    verdict = reordered_rack().detect(missing, 400, rtt_of(RTT), ms(101) + RTT)
    assert (verdict.lost, verdict.loss_time) == ([], ms(100) + RTT + WINDOW)


def test_the_round_trip_counted_is_that_of_the_packet_delivered_last() -> None:
    """Section 6.2 step 2: RACK.rtt is the latest sample, not the average; the window is of the smallest."""
    verdict = reordered_rack().detect(missing_packets((4, 0)), 5, rtt_of(RTT, 2 * RTT), ms(50))
    assert verdict.loss_time == 2 * RTT + WINDOW


def test_the_number_of_later_packets_can_be_chosen() -> None:
    verdict = rack(threshold=5).detect(missing_packets((4, ms(99))), 8, rtt_of(RTT), ms(99) + RTT)
    assert not verdict.lost
    verdict = rack(threshold=5).detect(missing_packets((4, ms(99))), 9, rtt_of(RTT), ms(99) + RTT)
    assert numbers(verdict.lost) == [4]


def test_packets_that_are_missing_too_are_not_counted_as_later_arrivals() -> None:
    missing = missing_packets((4, ms(99)), (5, ms(99)), (6, ms(99)))
    assert not rack().detect(missing, 8, rtt_of(RTT), ms(99) + RTT).lost
    assert numbers(rack().detect(missing, 9, rtt_of(RTT), ms(99) + RTT).lost) == [4, 5, 6]


def window_of(detector: LossDetector) -> int:
    """How much longer than a round trip of 40 ms the detector waits, when nothing was lost for long."""
    loss_time = detector.detect(missing_packets((10**6, 10**15)), 10**6 + 1, rtt_of(RTT), 10**15 + RTT).loss_time
    assert loss_time is not None
    return loss_time - 10**15 - RTT


def test_each_round_trip_with_a_spurious_loss_widens_the_window_by_a_step_up_to_a_round_trip() -> None:
    """Section 6.2 step 4: RACK.reo_wnd_mult grows, and the window is never more than SRTT."""
    detector, windows = rack(), []
    for time in range(0, 10 * RTT, 2 * RTT):
        detector.on_spurious(sent_packet(1, time), time + RTT)
        windows.append(window_of(detector))
    assert windows == [2 * WINDOW, 3 * WINDOW, 4 * WINDOW, 4 * WINDOW, 4 * WINDOW]


def test_several_spurious_losses_of_one_round_trip_widen_the_window_once() -> None:
    """Section 6.2 step 4: RACK.dsack_round."""
    detector = rack()
    for time in (0, 1, RTT):
        detector.on_spurious(sent_packet(1, time), time + RTT)
    assert window_of(detector) == 2 * WINDOW


def lose_one(detector: LossDetector, time: int) -> None:
    assert detector.detect(missing_packets((1, time)), 9, rtt_of(RTT), time + 3 * RTT).lost


def test_sixteen_recoveries_without_a_spurious_loss_narrow_the_window_to_one_step() -> None:
    """Section 6.2 step 4: RACK.reo_wnd_persist."""
    detector = rack()
    detector.on_spurious(sent_packet(1, 0), RTT)
    windows = []
    for number in range(1, 17):
        lose_one(detector, number * 10 * RTT)
        windows.append(window_of(detector))
    assert windows == [2 * WINDOW] * 15 + [WINDOW]


def test_a_late_packet_that_was_not_yet_lost_shows_reordering() -> None:
    """Section 6.2 step 3."""
    recovery = measured()
    send(recovery, 2, now=RTT)
    assert acknowledge(recovery, [2], 2 * RTT) == []
    assert acknowledge(recovery, [1, 2], 2 * RTT + ms(2)) == []
    send(recovery, 9, now=3 * RTT)
    assert acknowledge(recovery, list(range(4, 12)), 4 * RTT) == []
    assert recovery.next_timeout() == 4 * RTT + WINDOW
    assert numbers(recovery.on_timeout(4 * RTT + WINDOW).lost) == [3]


def test_a_packet_lost_by_the_timer_alone_and_slow_is_no_reordering() -> None:
    """Nothing overtook it: the whole path was slow."""
    recovery = established(loss_detection="rack", timer="rfc6298")
    send(recovery, 2, now=0)
    deadline = recovery.next_timeout()
    assert deadline is not None
    assert numbers(recovery.on_timeout(deadline).lost) == [0, 1]
    recovery.on_ack_received([(0, 2)], 0, deadline + ms(1))
    send(recovery, 4, now=2 * deadline)
    assert numbers(recovery.on_ack_received([(3, 6), (0, 2)], 0, 2 * deadline + RTT).lost) == [2]


# The examples


def test_section_3_4_a_tail_loss_is_found_by_the_probe_and_the_loss_of_a_repair_by_the_next_arrival() -> None:
    """Four packets leave and the last three are lost; the probe shows two losses, and one repair is lost again."""
    recovery = measured()
    p0, p1, p2, p3 = send(recovery, 4, now=RTT)
    assert acknowledge(recovery, [p0], 2 * RTT) == []
    expiry = recovery.next_timeout()
    assert expiry is not None
    assert recovery.on_timeout(expiry).probes == 1
    (probe,) = send(recovery, 1, now=expiry)
    # The probe repeats P3, so the sender repeats P1 and P2 alone; here P3's own number is lost as well.
    assert acknowledge(recovery, [p0, probe], expiry + RTT) == [p1, p2, p3]
    r1, r2 = send(recovery, 2, now=expiry + RTT)
    assert acknowledge(recovery, [p0, probe, r2], expiry + 2 * RTT) == [r1]


def test_section_9_1_tail_drop() -> None:
    """Example 1: of three packets the first and the last are lost; the repair of the first shows the last."""
    recovery = measured()
    (p1,), (p2,), (p3,) = (send(recovery, 1, now=RTT + number * WINDOW) for number in range(3))
    assert acknowledge(recovery, [p2], 2 * RTT + WINDOW) == [p1]
    (r1,) = send(recovery, 1, now=2 * RTT + WINDOW)
    assert acknowledge(recovery, [p2, r1], 3 * RTT + WINDOW) == [p3]


def test_section_9_1_lost_retransmission() -> None:
    """Example 2: two of three are lost, and the first repair as well; the second one's arrival shows it."""
    recovery = measured()
    (p1,), (p2,), (p3,) = (send(recovery, 1, now=RTT + number * WINDOW) for number in range(3))
    assert acknowledge(recovery, [p3], 2 * RTT + 2 * WINDOW) == [p1, p2]
    r1, r2 = send(recovery, 2, now=2 * RTT + 2 * WINDOW)
    assert acknowledge(recovery, [p3, r2], 3 * RTT + 2 * WINDOW) == [r1]


@pytest.mark.parametrize(("late", "lost"), [(WINDOW - 1, False), (WINDOW, True)])
def test_section_9_1_reordering(late: int, lost: bool) -> None:
    """Example 3: the small third packet arrives first; the others are lost only if later than min_RTT / 4."""
    recovery = measured()
    send(recovery, 2, now=RTT)
    acknowledge(recovery, [2], 2 * RTT)
    acknowledge(recovery, [1, 2], 2 * RTT + 1)  # reordering was seen before
    p1, p2, p3 = send(recovery, 3, now=3 * RTT)
    assert acknowledge(recovery, [1, 2, p3], 4 * RTT) == []
    given_up = numbers(recovery.on_timeout(4 * RTT + late).lost)
    assert given_up == ([p1, p2] if lost else [])
    outcome = recovery.on_ack_received([(0, p3 + 1)], 0, 4 * RTT + late)
    assert (numbers(outcome.acked), numbers(outcome.spurious)) == (([], [p1, p2]) if lost else ([p1, p2], []))


def test_section_7_4_2_a_loss_that_a_probe_repaired_still_shrinks_the_window() -> None:
    """The last packet is lost and its probe arrives: a loss all the same, or it would be hidden from the controller."""
    recovery = measured(timer="pto_eager")
    window = recovery.congestion.congestion_window
    send(recovery, 1, now=RTT)
    expiry = recovery.next_timeout()
    assert expiry is not None
    recovery.on_timeout(expiry)
    (probe,) = send(recovery, 1, now=expiry)
    assert acknowledge(recovery, [probe], expiry + RTT) == [1]
    assert recovery.congestion.congestion_window == window // 2


def test_section_7_4_1_a_probe_that_was_not_needed_leaves_the_window_alone() -> None:
    recovery = measured(timer="pto_eager")
    window = recovery.congestion.congestion_window
    send(recovery, 1, now=RTT)
    expiry = recovery.next_timeout()
    assert expiry is not None
    recovery.on_timeout(expiry)
    (probe,) = send(recovery, 1, now=expiry)
    assert acknowledge(recovery, [1], expiry + 1) == []
    assert acknowledge(recovery, [1, probe], expiry + RTT) == []
    assert recovery.congestion.congestion_window == window


def test_a_probe_is_charged_to_the_window() -> None:
    """RFC 9002 section 7.5."""
    recovery = measured()
    send(recovery, 3, now=RTT)
    recovery.on_timeout(ms(999))
    send(recovery, 1, now=ms(999))
    assert recovery.sent.bytes_in_flight == 4 * MDS
