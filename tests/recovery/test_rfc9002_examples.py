"""RFC 9002's worked examples and the rules it states with numbers, as `Recovery` follows them."""

import pytest

from rudp_smtp.recovery.recovery import Recovery
from rudp_smtp.units import SECOND
from tests.recovery.builders import MDS, established, ms, new_recovery, numbers, send

PTO = 2 * SECOND  # the one of section 7.6.2's example
WARM_UP = 200  # packets


def of_section_7_6_2() -> tuple[Recovery, int]:
    """A recovery whose probe time-out is 2 s once packets #1 and #9 of the example are acknowledged; its time zero.

    The example gives the acknowledgements' times, from which the round trips are 1.2 s and 0.2 s; after a long run of
    0.2 s those leave a smoothed round trip and variation of some 1.2 s, and the peer's delay is the rest of 2 s.
    """

    def warmed_up(max_ack_delay: int) -> tuple[Recovery, int]:
        recovery = new_recovery()
        recovery.set_handshake_complete(max_ack_delay)
        for number in range(WARM_UP):
            send(recovery, 1, now=number * SECOND)
            recovery.on_ack_received([(0, number + 1)], 0, number * SECOND + ms(200))
        return recovery, WARM_UP * SECOND

    trial, zero = warmed_up(0)
    play_section_7_6_2(trial, zero, last_probe=12 * SECOND)
    return warmed_up(PTO - trial.rtt.probe_timeout(0))


def play_section_7_6_2(recovery: Recovery, zero: int, *, last_probe: int) -> list[int]:
    """The example's table, its packets counted from 1; `last_probe` is when #9 leaves, and #9 is acknowledged."""
    for time in (0, SECOND):
        send(recovery, 1, now=zero + time)
    recovery.on_ack_received([(0, WARM_UP + 1)], 0, zero + ms(1_200))
    for seconds in (2, 3, 4, 5, 6, 8):
        send(recovery, 1, now=zero + seconds * SECOND)
    (ninth,) = send(recovery, 1, now=zero + last_probe)
    outcome = recovery.on_ack_received([(ninth, ninth + 1), (0, WARM_UP + 1)], 0, zero + last_probe + ms(200))
    return [number - WARM_UP + 1 for number in numbers(outcome.lost)]


def test_section_7_6_2_the_example_is_persistent_congestion() -> None:
    """Packets 2 to 8 are lost when 9 is acknowledged at 12.2 s: 8 - 1 = 7 s are more than 2 * 3 = 6 s."""
    recovery, zero = of_section_7_6_2()
    assert play_section_7_6_2(recovery, zero, last_probe=12 * SECOND) == [2, 3, 4, 5, 6, 7, 8]
    assert recovery.congestion.congestion_window <= 3 * MDS  # the minimum, and what the acknowledgement adds


def test_section_7_6_2_the_same_losses_are_no_persistent_congestion_if_one_between_them_came_through() -> None:
    recovery, zero = of_section_7_6_2()
    for seconds in (0, 1):
        send(recovery, 1, now=zero + seconds * SECOND)
    recovery.on_ack_received([(0, WARM_UP + 1)], 0, zero + ms(1_200))
    window = recovery.congestion.congestion_window
    for seconds in (2, 3, 4, 5, 6, 8, 12):
        (last,) = send(recovery, 1, now=zero + seconds * SECOND)
    fourth = WARM_UP + 3
    ranges = [(last, last + 1), (fourth, fourth + 1), (0, WARM_UP + 1)]
    recovery.on_ack_received(ranges, 0, zero + ms(12_200))
    assert recovery.congestion.congestion_window == window // 2


@pytest.mark.parametrize(
    ("latest_rtt", "ack_delay", "counted"),
    [
        (ms(56), ms(8), ms(48)),
        (ms(48), ms(8), ms(40)),
        (ms(48), ms(8) + 1, ms(48)),  # below min_rtt: the sample stays as it is
        (ms(73), ms(99), ms(48)),  # max_ack_delay, 25 ms, is all that is believed
    ],
)
def test_section_5_3_an_ack_delay_is_taken_off_but_never_below_min_rtt(
    latest_rtt: int, ack_delay: int, counted: int
) -> None:
    recovery = established()
    send(recovery, 2, now=0)
    recovery.on_ack_received([(0, 1)], 0, ms(40))
    recovery.on_ack_received([(0, 2)], ack_delay, latest_rtt)
    assert recovery.rtt.min_rtt == ms(40)
    assert recovery.rtt.smoothed_rtt == (7 * ms(40) + counted) // 8


def test_section_6_2_2_1_a_client_breaks_the_deadlock_of_a_server_that_may_not_send_more() -> None:
    """All that the client sent is acknowledged, and still it probes until its handshake is complete; a server never."""
    for is_client in (True, False):
        recovery = new_recovery(is_client=is_client)
        send(recovery, 1, now=0)
        recovery.on_ack_received([(0, 1)], 0, ms(40))
        assert recovery.sent.bytes_in_flight == 0
        deadline = recovery.next_timeout()
        assert (deadline is not None) == is_client
        if deadline is not None:
            assert recovery.on_timeout(deadline).probes == 1
            recovery.set_handshake_complete(0)
            assert recovery.next_timeout() is None


def test_section_7_8_an_application_that_does_not_fill_the_window_does_not_grow_it() -> None:
    recovery = established()
    now = 0
    for _ in range(50):
        sent = send(recovery, 5, now=now)
        now += ms(40)
        recovery.on_ack_received([(0, sent[-1] + 1)], 0, now)
    assert recovery.congestion.congestion_window == 10 * MDS
