"""The probe time-out for dialogues: how soon it is sure, and what keeps it from being too sure."""

from rudp_smtp.recovery.recovery import Recovery
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.timer import TIMERS, RtoEstimator
from rudp_smtp.registry import Spec
from rudp_smtp.units import SECOND
from tests.recovery.builders import MAX_ACK_DELAY, MDS, established, ms, new_recovery, rtt_of, send

RTT = ms(40)


def eager() -> RtoEstimator:
    return TIMERS.build(Spec("pto_eager"))


def after(*samples: tuple[int, int], is_prompt: bool = True) -> int:
    """The time-out after samples with these ACK delays, of a peer that lets no end of a flight wait if prompt."""
    timer = eager()
    for sample, ack_delay in samples:
        timer.on_rtt_sample(sample, ack_delay)
        if is_prompt:
            timer.on_flight_acked(0)
    return timer.timeout(rtt_of(*(sample for sample, _ in samples)), MAX_ACK_DELAY, 0)


def test_before_any_sample_it_waits_for_half_as_long_again_as_was_guessed() -> None:
    """RFC 9002 section 6.2.2 says twice as long, which with its initial RTT is a second."""
    assert eager().timeout(RttEstimator(ms(100)), 0, 0) == ms(150)


def test_it_is_a_round_trip_and_a_half_at_first_and_nine_eighths_on_a_steady_path() -> None:
    waits = [after(*[(RTT, 0)] * count) for count in range(1, 30)]
    assert waits[0] == RTT * 3 // 2
    assert waits == sorted(waits, reverse=True)
    assert waits[-1] == RTT * 9 // 8


def test_it_allows_for_what_a_round_trip_varies_by() -> None:
    assert after(*[(ms(30), 0), (ms(50), 0)] * 20) > ms(60)


def test_one_long_round_trip_is_heeded_at_once_and_remembered_for_many_short_ones() -> None:
    steady = [(RTT, 0)] * 50
    assert after(*steady, (ms(80), 0)) > ms(80)
    assert after(*steady, (ms(80), 0), *steady[:5]) > ms(80)


def test_until_the_peer_was_seen_to_be_prompt_its_whole_delay_is_allowed_for() -> None:
    """RFC 9002 section 6.2.1: max_ack_delay."""
    samples = [(RTT, 0)] * 30
    assert after(*samples, is_prompt=False) == after(*samples) + MAX_ACK_DELAY


def test_a_peer_that_delays_is_allowed_what_it_takes_at_most_what_it_promised() -> None:
    timer = eager()
    for _ in range(30):
        timer.on_rtt_sample(RTT, 0)
    waits = []
    for delay in (0, ms(10), ms(4), ms(7), 9 * SECOND):
        timer.on_flight_acked(delay)
        waits.append(timer.timeout(rtt_of(RTT), MAX_ACK_DELAY, 0) - RTT * 9 // 8)
    assert waits == [0, ms(10), ms(7), ms(7), MAX_ACK_DELAY]


def test_a_delayed_acknowledgement_does_not_look_like_a_path_that_varies() -> None:
    """RFC 9002 section 5.3 would take nothing off here, for the result would be below min_rtt."""
    steady = [(RTT, 0)] * 30
    assert after(*steady, (RTT + ms(24), ms(25)), *steady[:1]) == RTT * 9 // 8


def test_a_peer_that_overstates_its_delay_gains_no_shorter_time_out_than_the_smallest_sample_gives() -> None:
    """RFC 9002 section 5.3's reason never to adjust below min_rtt."""
    assert after(*[(RTT, 9 * SECOND)] * 30) == RTT * 9 // 8


# With the rest of Recovery


def dialogue() -> Recovery:
    """After 20 turns of 40 ms each; the time is one second."""
    recovery = established(timer="pto_eager")
    for number in range(20):
        send(recovery, 1, now=number * RTT)
        recovery.on_ack_received([(0, number + 1)], 0, (number + 1) * RTT)
    return recovery


def test_a_turn_of_a_dialogue_is_probed_after_nine_eighths_of_a_round_trip() -> None:
    recovery = dialogue()
    send(recovery, 1, now=SECOND)
    assert recovery.next_timeout() == SECOND + RTT * 9 // 8


def test_the_end_of_a_flight_is_not_probed_while_acknowledgements_come() -> None:
    """It stands in the queue that the flight itself made: a quarter of a round trip must pass without any."""
    recovery = dialogue()
    first, *_, last = send(recovery, 12, now=SECOND)
    now = SECOND + RTT
    for number in range(first, last):
        recovery.on_ack_received([(0, number + 1)], 0, now)
        deadline = recovery.next_timeout()
        assert deadline is not None
        assert deadline >= now + RTT // 4
        now += ms(9)
    assert now > SECOND + 3 * RTT


def test_delays_of_the_handshake_say_nothing_of_what_comes_after() -> None:
    """RFC 9002 section 6.2.1: there is no max_ack_delay before."""
    recovery = new_recovery(timer="pto_eager")
    send(recovery, 1, now=0)
    recovery.on_ack_received([(0, 1)], 0, RTT)
    recovery.set_handshake_complete(MAX_ACK_DELAY)
    send(recovery, 1, now=SECOND)
    assert recovery.next_timeout() == SECOND + RTT * 3 // 2 + MAX_ACK_DELAY


def test_the_back_off_of_a_handshake_ends_with_it() -> None:
    """RFC 9002 section 6.2.2: the timer is reset when the handshake's keys are discarded."""
    recovery = new_recovery(timer="pto_eager", is_client=True)
    send(recovery, 1, now=0)
    for _ in range(5):
        deadline = recovery.next_timeout()
        assert deadline is not None
        recovery.on_timeout(deadline)
    recovery.set_handshake_complete(0)
    send(recovery, 1, now=9 * SECOND)
    assert recovery.next_timeout() == 9 * SECOND + ms(150)
    assert recovery.sent.bytes_in_flight == 2 * MDS
