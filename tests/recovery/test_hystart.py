"""RFC 9406, with round trips made up acknowledgement by acknowledgement."""

from collections.abc import Callable

from rudp_smtp.recovery.hystart import HyStart
from tests.recovery.builders import MDS, ms

RTT = ms(40)


def run_round(hystart: HyStart, start: int, count: int, rtt_of: Callable[[int], int]) -> tuple[int, int]:
    """`count` packets sent over a round trip from `start`, and acknowledged: the growth, and when the next round is."""
    growth = 0
    for number in range(count):
        sent_time = start + RTT * number // count
        growth += hystart.on_acked(MDS, sent_time, sent_time + rtt_of(number))
    return growth, start + RTT + rtt_of(0) - RTT


def test_slow_start_grows_by_all_that_is_acknowledged_while_the_round_trip_stays() -> None:
    hystart, now = HyStart(), 0
    for count in (10, 20, 40, 80):
        growth, now = run_round(hystart, now, count, lambda number: RTT)
        assert growth == count * MDS
    assert not hystart.is_done


def test_a_longer_round_trip_slows_growth_to_a_quarter_and_ends_it_after_five_rounds() -> None:
    """Section 4.2: CSS_GROWTH_DIVISOR is 4, CSS_ROUNDS 5; the threshold is 1/8 of 40 ms."""
    hystart = HyStart()
    _, now = run_round(hystart, 0, 40, lambda number: RTT)
    longer = RTT + ms(5)
    growth, now = run_round(hystart, now, 40, lambda number: longer)
    assert 7 * MDS + 33 * MDS // 4 <= growth <= 8 * MDS + 32 * MDS // 4
    for _ in range(4):
        assert not hystart.is_done
        growth, now = run_round(hystart, now, 40, lambda number: longer)
        assert growth == 10 * MDS
    run_round(hystart, now, 1, lambda number: longer)
    assert hystart.is_done


def test_a_round_trip_a_little_longer_changes_nothing() -> None:
    hystart = HyStart()
    _, now = run_round(hystart, 0, 40, lambda number: RTT)
    growth, _ = run_round(hystart, now, 40, lambda number: RTT + ms(4.9))
    assert growth == 40 * MDS


def test_slow_start_goes_on_if_the_round_trip_shrinks_again() -> None:
    """Section 4.2: what had looked like a queue was jitter."""
    hystart = HyStart()
    _, now = run_round(hystart, 0, 40, lambda number: RTT)
    _, now = run_round(hystart, now, 40, lambda number: RTT + ms(6))
    _, now = run_round(hystart, now, 8, lambda number: RTT)
    growth, now = run_round(hystart, now, 80, lambda number: RTT)
    assert growth == 80 * MDS
    for _ in range(8):
        _, now = run_round(hystart, now, 80, lambda number: RTT)
    assert not hystart.is_done


def test_fewer_than_eight_samples_prove_nothing() -> None:
    """Section 4.3: N_RTT_SAMPLE."""
    hystart = HyStart()
    _, now = run_round(hystart, 0, 40, lambda number: RTT)
    growth, _ = run_round(hystart, now, 7, lambda number: 2 * RTT)
    assert growth == 7 * MDS


def test_a_queue_that_builds_up_within_a_round_is_seen_in_that_round() -> None:
    """Our departure: the first packets of the round still find the queue empty."""
    hystart = HyStart()
    _, now = run_round(hystart, 0, 80, lambda number: RTT)
    growth, _ = run_round(hystart, now, 160, lambda number: RTT + number * RTT // 160)
    assert growth < 80 * MDS


def test_one_late_packet_in_two_is_no_queue() -> None:
    hystart, now = HyStart(), 0
    for count in (10, 20, 40, 80, 160):
        growth, now = run_round(hystart, now, count, lambda number: RTT + ms(15) * (number % 2))
        assert growth == count * MDS
