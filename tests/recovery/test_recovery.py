"""RFC 9002 sections 5 to 7 as `Recovery` puts them together."""

import pytest

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.trace import ListSink, MetricsUpdated, PacketAcked, PacketLost, SpuriousLoss, TimerExpired
from rudp_smtp.units import SECOND
from tests.recovery.builders import (
    INITIAL_RTT,
    MAX_ACK_DELAY,
    MDS,
    established,
    ms,
    new_recovery,
    numbers,
    send,
    sent_packet,
    silent_packet,
)

RTT = ms(40)
FIRST_PTO = RTT + 4 * (RTT // 2) + MAX_ACK_DELAY  # after one sample of RTT, RFC 9002 section 6.2.1


# Acknowledgements and the round trip


def test_an_acknowledgement_returns_the_packets_and_frees_their_window() -> None:
    recovery = established()
    send(recovery, 4, now=0)
    outcome = recovery.on_ack_received([(0, 3)], 0, RTT)
    assert numbers(outcome.acked) == [0, 1, 2]
    assert (outcome.lost, outcome.spurious) == ((), ())
    assert recovery.sent.bytes_in_flight == MDS


def test_an_acknowledgement_of_a_packet_never_sent_is_the_peers_error() -> None:
    """RFC 9000 section 13.1."""
    recovery = established()
    send(recovery, 2, now=0)
    with pytest.raises(RemoteProtocolError) as caught:
        recovery.on_ack_received([(0, 3)], 0, RTT)
    assert caught.value.error_code == ErrorCode.PROTOCOL_VIOLATION


def test_a_sample_is_taken_from_the_largest_packet_newly_acknowledged() -> None:
    """RFC 9002 section 5.1."""
    recovery = established()
    send(recovery, 1, now=0)
    send(recovery, 1, now=ms(10))
    recovery.on_ack_received([(0, 2)], 0, ms(50))
    assert recovery.rtt.latest_rtt == ms(40)


def test_an_acknowledgement_that_repeats_its_largest_packet_gives_no_sample() -> None:
    """RFC 9002 section 5.1: only when the largest acknowledged packet number is newly acknowledged."""
    recovery = established()
    send(recovery, 3, now=0)
    recovery.on_ack_received([(2, 3)], 0, ms(40))
    recovery.on_ack_received([(0, 3)], 0, ms(90))
    assert recovery.rtt.latest_rtt == ms(40)


def test_acknowledging_nothing_ack_eliciting_gives_no_sample() -> None:
    """RFC 9002 section 5.1: at least one newly acknowledged packet was ack-eliciting."""
    recovery = established()
    recovery.on_packet_sent(silent_packet(0, 0))
    assert numbers(recovery.on_ack_received([(0, 1)], 0, ms(40)).acked) == [0]
    assert not recovery.rtt.has_sample


def test_the_ack_delay_is_believed_up_to_what_the_peer_promised() -> None:
    """RFC 9002 section 5.3: the lesser of the delay and max_ack_delay, once the handshake is confirmed."""
    recovery = established()
    send(recovery, 2, now=0)
    recovery.on_ack_received([(0, 1)], 0, ms(40))
    recovery.on_ack_received([(0, 2)], 9 * SECOND, ms(40) + MAX_ACK_DELAY + ms(8))
    assert recovery.rtt.smoothed_rtt == ms(41)


def test_a_packet_declared_lost_too_early_still_gives_a_sample() -> None:
    """Its number is its own, so the sample is not ambiguous: Karn's rule (RFC 6298 section 3) has no case here."""
    recovery = established(timer="rfc6298")
    send(recovery, 1, now=0)
    recovery.on_timeout(SECOND)
    outcome = recovery.on_ack_received([(0, 1)], 0, ms(1_500))
    assert numbers(outcome.spurious) == [0]
    assert recovery.rtt.latest_rtt == ms(1_500)


# Losses


def test_the_third_packet_after_it_proves_a_loss() -> None:
    """RFC 9002 section 6.1.1."""
    recovery = established()
    send(recovery, 5, now=0)
    assert not recovery.on_ack_received([(1, 3)], 0, RTT).lost
    assert numbers(recovery.on_ack_received([(1, 4)], 0, RTT).lost) == [0]
    assert recovery.sent.bytes_in_flight == MDS


def test_a_missing_packet_is_waited_for_nine_eighths_of_a_round_trip() -> None:
    """RFC 9002 section 6.1.2: the timer is set for the remaining time."""
    recovery = established()
    send(recovery, 2, now=0)
    assert not recovery.on_ack_received([(1, 2)], 0, RTT).lost
    assert recovery.next_timeout() == ms(45)
    assert not recovery.on_timeout(ms(44)).lost
    outcome = recovery.on_timeout(ms(45))
    assert (numbers(outcome.lost), outcome.probes) == ([0], 0)
    assert recovery.next_timeout() is None


def test_a_packet_that_turns_up_ends_the_wait() -> None:
    recovery = established()
    send(recovery, 2, now=0)
    recovery.on_ack_received([(1, 2)], 0, RTT)
    assert numbers(recovery.on_ack_received([(0, 2)], 0, ms(42)).acked) == [0]
    assert recovery.next_timeout() is None


def test_a_late_acknowledgement_shows_that_a_loss_was_none() -> None:
    recovery = established()
    send(recovery, 5, now=0)
    recovery.on_ack_received([(1, 5)], 0, RTT)
    outcome = recovery.on_ack_received([(0, 5)], 0, RTT + ms(5))
    assert (outcome.acked, numbers(outcome.spurious)) == ([], [0])


@pytest.mark.parametrize(("late", "spurious"), [(0, [0]), (1, [])])
def test_a_loss_is_remembered_for_three_round_trips_and_their_variation(late: int, spurious: list[int]) -> None:
    recovery = established()
    send(recovery, 5, now=0)
    recovery.on_ack_received([(1, 5)], 0, RTT)
    memory = 3 * (RTT + 4 * (RTT // 2))
    assert numbers(recovery.on_ack_received([(0, 5)], 0, RTT + memory + late).spurious) == spurious


def test_a_loss_shrinks_the_window_once_for_all_packets_of_a_flight() -> None:
    """RFC 9002 section 7.3.2."""
    recovery = established()
    send(recovery, 10, now=0)
    recovery.on_ack_received([(4, 7)], 0, RTT)
    window = recovery.congestion.congestion_window
    assert window == 5 * MDS
    outcome = recovery.on_ack_received([(9, 10), (4, 7)], 0, RTT)
    assert not outcome.lost
    assert recovery.congestion.congestion_window == window


# Silence


def test_silence_is_probed_after_the_probe_time_out() -> None:
    """RFC 9002 section 6.2.1, from the last ack-eliciting packet."""
    recovery = established()
    send(recovery, 1, now=0)
    recovery.on_ack_received([(0, 1)], 0, RTT)
    send(recovery, 1, now=ms(50))
    send(recovery, 1, now=ms(60))
    assert recovery.next_timeout() == ms(60) + FIRST_PTO


def test_a_packet_that_asks_for_nothing_does_not_move_the_timer() -> None:
    """RFC 9002 section 6.2.1."""
    recovery = established()
    send(recovery, 1, now=0)
    deadline = recovery.next_timeout()
    recovery.on_packet_sent(silent_packet(1, ms(30)))
    assert recovery.next_timeout() == deadline


def test_nothing_is_probed_while_nothing_is_in_flight() -> None:
    """RFC 9002 section 6.2.1: no timer without ack-eliciting packets in flight."""
    recovery = established()
    assert recovery.next_timeout() is None
    recovery.on_packet_sent(silent_packet(0, 0))
    assert recovery.next_timeout() is None
    send(recovery, 1, now=ms(1))
    recovery.on_ack_received([(1, 2)], 0, RTT)
    assert recovery.next_timeout() is None


def test_a_probe_time_out_asks_for_one_probe_first_and_two_after() -> None:
    """RFC 9002 section 6.2.4: at least one, at most two."""
    recovery = established()
    send(recovery, 1, now=0)
    recovery.on_ack_received([(0, 1)], 0, RTT)
    send(recovery, 1, now=RTT)
    probes = []
    for _ in range(3):
        deadline = recovery.next_timeout()
        assert deadline is not None
        outcome = recovery.on_timeout(deadline)
        assert not outcome.lost
        probes.append(outcome.probes)
        send(recovery, outcome.probes, now=deadline)
    assert probes == [1, 2, 2]


def test_the_probe_time_out_doubles_while_the_silence_lasts_and_an_acknowledgement_ends_that() -> None:
    """RFC 9002 section 6.2.1: the back-off factor is reset when an acknowledgement is received."""
    recovery = established()
    send(recovery, 1, now=0)
    recovery.on_ack_received([(0, 1)], 0, RTT)
    (number,) = send(recovery, 1, now=SECOND)
    waits = []
    for _ in range(4):
        sent_time = recovery.sent.last_ack_eliciting_time
        deadline = recovery.next_timeout()
        assert deadline is not None
        waits.append(deadline - sent_time)
        recovery.on_timeout(deadline)
        send(recovery, 1, now=deadline)
    assert waits == [FIRST_PTO, FIRST_PTO, 2 * FIRST_PTO, 4 * FIRST_PTO]
    assert recovery.pto_count == 4
    recovery.on_ack_received([(number, number + 1)], 0, 9 * SECOND)
    assert recovery.pto_count == 0


def test_before_the_first_sample_two_time_outs_bring_one_probe_each() -> None:
    """The round trip may only be longer than was guessed (RFC 9002 section 6.2.2 guesses 333 ms)."""
    recovery = new_recovery()
    send(recovery, 1, now=0)
    probes = []
    for _ in range(3):
        deadline = recovery.next_timeout()
        assert deadline is not None
        probes.append(recovery.on_timeout(deadline).probes)
    assert probes == [1, 1, 2]


def test_a_probe_time_out_declares_nothing_lost_and_leaves_the_window_alone() -> None:
    """RFC 9002 section 6.2: a probe time-out does not indicate packet loss."""
    recovery = established()
    send(recovery, 5, now=0)
    window = recovery.congestion.congestion_window
    recovery.on_timeout(9 * SECOND)
    assert recovery.sent.bytes_in_flight == 5 * MDS
    assert recovery.congestion.congestion_window == window


def test_the_acknowledgement_of_a_probe_proves_the_loss_of_a_whole_tail() -> None:
    """RFC 9002 section 6.2: tail losses are found without waiting once more."""
    recovery = established()
    send(recovery, 1, now=0)
    recovery.on_ack_received([(0, 1)], 0, RTT)
    send(recovery, 2, now=ms(50))
    expiry = recovery.next_timeout()
    assert expiry is not None
    recovery.on_timeout(expiry)
    send(recovery, 1, now=expiry)
    assert numbers(recovery.on_ack_received([(3, 4), (0, 1)], 0, expiry + RTT).lost) == [1, 2]


def test_a_timer_that_expired_starts_again_even_if_no_probe_was_sent() -> None:
    recovery = established(timer="fixed")
    send(recovery, 1, now=0)
    assert recovery.next_timeout() == ms(200)
    assert recovery.on_timeout(ms(200)).probes == 1
    assert recovery.next_timeout() == ms(400)


def test_an_early_call_does_nothing() -> None:
    recovery = established()
    assert recovery.on_timeout(SECOND).probes == 0
    send(recovery, 1, now=SECOND)
    assert recovery.on_timeout(SECOND).probes == 0
    assert recovery.pto_count == 0


def test_a_retransmission_time_out_declares_everything_lost_and_collapses_the_window() -> None:
    """RFC 6298 section 5.4, RFC 5681 section 3.1."""
    recovery = established(timer="rfc6298")
    send(recovery, 5, now=0)
    assert recovery.next_timeout() == SECOND
    outcome = recovery.on_timeout(SECOND)
    assert (numbers(outcome.lost), outcome.probes) == ([0, 1, 2, 3, 4], 0)
    assert recovery.sent.bytes_in_flight == 0
    assert recovery.congestion.congestion_window == 2 * MDS
    assert recovery.next_timeout() is None
    send(recovery, 2, now=SECOND)
    assert recovery.next_timeout() == 3 * SECOND  # RFC 6298 section 5.5: doubled


# The handshake


def test_the_peers_ack_delay_counts_from_the_end_of_the_handshake() -> None:
    """RFC 9002 section 6.2.1: max_ack_delay is 0 before."""
    recovery = new_recovery()
    send(recovery, 1, now=0)
    assert recovery.next_timeout() == 3 * INITIAL_RTT
    recovery.set_handshake_complete(MAX_ACK_DELAY)
    assert recovery.next_timeout() == 3 * INITIAL_RTT + MAX_ACK_DELAY


def test_a_client_probes_before_its_handshake_is_complete_though_nothing_is_in_flight() -> None:
    """RFC 9002 section 6.2.2.1: or a server that may not send more would wait for ever."""
    recovery = new_recovery(is_client=True)
    assert recovery.next_timeout() is None
    send(recovery, 1, now=0)
    recovery.on_ack_received([(0, 1)], 0, RTT)
    first = RTT + 4 * (RTT // 2)
    assert recovery.next_timeout() == RTT + first
    assert recovery.on_timeout(RTT + first).probes == 1
    assert recovery.next_timeout() == RTT + first + first
    recovery.set_handshake_complete(MAX_ACK_DELAY)
    assert recovery.next_timeout() is None


def test_a_client_keeps_backing_off_until_its_handshake_is_complete() -> None:
    """RFC 9002 section 6.2.1: not reset at a client unsure whether the server has validated its address."""
    recovery = new_recovery(is_client=True)
    send(recovery, 2, now=0)
    recovery.on_timeout(3 * INITIAL_RTT)
    recovery.on_ack_received([(0, 1)], 0, 4 * INITIAL_RTT)
    assert recovery.pto_count == 1
    recovery.set_handshake_complete(MAX_ACK_DELAY)
    recovery.on_ack_received([(0, 2)], 0, 4 * INITIAL_RTT)
    assert recovery.pto_count == 0


def test_a_server_does_not_probe_while_nothing_is_in_flight() -> None:
    recovery = new_recovery()
    send(recovery, 1, now=0)
    recovery.on_ack_received([(0, 1)], 0, RTT)
    assert recovery.next_timeout() is None


# Window and pacer


def test_a_whole_datagram_must_fit_into_the_window() -> None:
    recovery = established()
    send(recovery, 9, now=0)
    assert recovery.send_allowance(0) == MDS
    recovery.on_packet_sent(sent_packet(9, 0, size=1))
    assert recovery.send_allowance(0) == 0
    assert recovery.pacing_deadline(0) is None


def test_a_probe_is_sent_past_a_full_window_and_charged_to_it() -> None:
    """RFC 9002 section 7.5."""
    recovery = established()
    send(recovery, 12, now=0)
    assert recovery.sent.bytes_in_flight == 12 * MDS
    assert recovery.send_allowance(0) == 0
    recovery.on_ack_received([(0, 1)], 0, RTT)  # grows the window by one packet, which makes it 11 of each
    assert recovery.send_allowance(RTT) == 0


def test_the_initial_window_may_leave_at_once() -> None:
    """RFC 9002 section 7.7."""
    recovery = established(pacing=True)
    sent = 0
    while recovery.send_allowance(0):
        send(recovery, 1, now=0)
        sent += 1
    assert sent == 10


def test_a_grown_window_is_spread_over_the_round_trip() -> None:
    """RFC 9002 section 7.7."""
    recovery = established(pacing=True)
    send(recovery, 10, now=0)
    recovery.send_allowance(0)
    recovery.on_ack_received([(0, 10)], 0, RTT)
    sent, now = 0, RTT
    while recovery.send_allowance(now):
        send(recovery, 1, now)
        sent += 1
    assert sent < 20
    deadline = recovery.pacing_deadline(now)
    assert deadline is not None
    assert now < deadline < now + RTT // 4
    assert recovery.send_allowance(deadline) >= 2 * MDS
    assert recovery.pacing_deadline(deadline) is None


def test_without_pacing_the_window_alone_decides() -> None:
    recovery = established()
    send(recovery, 10, now=0)
    recovery.send_allowance(0)
    recovery.on_ack_received([(0, 10)], 0, RTT)
    assert recovery.send_allowance(RTT) == 20 * MDS


def test_an_unlimited_window_is_not_paced() -> None:
    recovery = established(congestion="unlimited", pacing=True)
    send(recovery, 10_000, now=0)
    assert recovery.send_allowance(0) >= MDS
    assert recovery.pacing_deadline(0) is None


def test_the_window_grows_only_while_it_is_filled() -> None:
    """RFC 9002 section 7.8."""
    recovery = established()
    send(recovery, 3, now=0)
    recovery.on_ack_received([(0, 3)], 0, RTT)
    assert recovery.congestion.congestion_window == 10 * MDS
    send(recovery, 10, now=RTT)
    assert recovery.send_allowance(RTT) == 0
    recovery.on_ack_received([(0, 13)], 0, 2 * RTT)
    assert recovery.congestion.congestion_window == 20 * MDS


def test_every_packet_of_a_flight_that_filled_the_window_counts_and_none_sent_after_it() -> None:
    """RFC 9002 section 7.8: the window was the limit when they were sent, whatever is waiting by now."""
    recovery = established()
    send(recovery, 10, now=0)
    recovery.on_ack_received([(0, 2)], 0, RTT)
    send(recovery, 2, now=RTT)
    assert recovery.congestion.congestion_window == 12 * MDS
    recovery.on_ack_received([(0, 10)], 0, RTT)
    assert recovery.congestion.congestion_window == 20 * MDS
    recovery.on_ack_received([(0, 12)], 0, 2 * RTT)
    assert recovery.congestion.congestion_window == 20 * MDS


def test_bursts_that_wait_for_the_pacer_but_use_less_than_half_the_window_do_not_grow_it() -> None:
    recovery = established(pacing=True)
    number = now = 0
    for _ in range(20):
        for _ in range(12):
            if recovery.send_allowance(now) == 0:
                deadline = recovery.pacing_deadline(now)
                now = now if deadline is None else deadline
            send(recovery, 1, now=now)
        number += 12
        now += RTT
        recovery.on_ack_received([(0, number)], 0, now)
    assert recovery.congestion.congestion_window <= 2 * 12 * MDS + 12 * MDS


def test_waiting_for_the_pacer_is_not_a_want_of_data() -> None:
    """RFC 9002 section 7.8: a sender that would have filled the window without the pacing delay is not limited."""
    recovery = established(pacing=True)
    send(recovery, 10, now=0)
    recovery.send_allowance(0)
    recovery.on_ack_received([(0, 10)], 0, RTT)
    while recovery.send_allowance(RTT):
        send(recovery, 1, now=RTT)
    in_flight = recovery.sent.bytes_in_flight
    window = recovery.congestion.congestion_window
    assert in_flight < window - MDS
    recovery.on_ack_received([(0, 12)], 0, 2 * RTT)
    assert recovery.congestion.congestion_window == window + 2 * MDS


# Persistent congestion


def lose_two(*, at: tuple[int, int], acked_between: bool = False, sampled_at: int = RTT) -> int:
    """Send two packets at these times and one more, acknowledged later; the window in packets after their loss."""
    recovery = established()
    send(recovery, 1, now=sampled_at - RTT)
    recovery.on_ack_received([(0, 1)], 0, sampled_at)
    send(recovery, 1, now=at[0])
    if acked_between:
        send(recovery, 1, now=at[0] + 1)
    send(recovery, 1, now=at[1])
    end = at[1] + SECOND
    (last,) = send(recovery, 1, now=end)
    between = [(2, 3)] if acked_between else []
    outcome = recovery.on_ack_received([(last, last + 1), *between, (0, 1)], 0, end + RTT)
    assert len(outcome.lost) == 2
    return recovery.congestion.congestion_window // MDS


LONG = 3 * FIRST_PTO  # RFC 9002 section 7.6.1, with the estimate of one sample


def test_losses_spread_over_three_probe_time_outs_collapse_the_window() -> None:
    """RFC 9002 section 7.6.1: (smoothed_rtt + max(4 * rttvar, kGranularity) + max_ack_delay) * 3."""
    assert lose_two(at=(SECOND, SECOND + LONG + 1)) <= 3  # the two of the collapse, and what the ACK adds


def test_losses_within_three_probe_time_outs_only_halve_the_window() -> None:
    """RFC 9002 section 7.6.1: the variation has fallen by the sample of the acknowledgement that proves them."""
    duration = 3 * (RTT + 4 * ms(15) + MAX_ACK_DELAY)
    assert lose_two(at=(SECOND, SECOND + duration)) == 5
    assert lose_two(at=(SECOND, SECOND + duration + 1)) <= 3


def test_a_packet_that_came_through_between_them_disproves_persistent_congestion() -> None:
    """RFC 9002 section 7.6.2: none of the packets sent between the two is acknowledged."""
    assert lose_two(at=(SECOND, SECOND + LONG + 1), acked_between=True) == 5


def test_losses_before_the_first_sample_do_not_count_for_persistent_congestion() -> None:
    """RFC 9002 section 7.6.2: a prior RTT sample existed when these two packets were sent."""
    recovery = established()
    send(recovery, 1, now=0)
    send(recovery, 1, now=5 * SECOND)
    (last,) = send(recovery, 1, now=6 * SECOND)
    assert len(recovery.on_ack_received([(last, last + 1)], 0, 6 * SECOND + RTT).lost) == 2
    assert recovery.congestion.congestion_window >= 5 * MDS


def test_persistent_congestion_is_seen_across_acknowledgements() -> None:
    """RFC 9002 section 7.6.2: what counts is the period, not which acknowledgement showed each loss."""
    recovery = established(loss_detection="packet_threshold")
    send(recovery, 1, now=0)
    recovery.on_ack_received([(0, 1)], 0, RTT)
    send(recovery, 1, now=SECOND)
    send(recovery, 1, now=SECOND + LONG + 1)
    for number in (3, 4, 5):
        send(recovery, 1, now=4 * SECOND)
        recovery.on_ack_received([(3, number + 1), (0, 1)], 0, 4 * SECOND + RTT)
    assert recovery.sent.bytes_in_flight == 0
    assert recovery.congestion.congestion_window <= 4 * MDS


# The end, and the facts


def test_every_fate_is_told_to_whoever_listens() -> None:
    sink = ListSink()
    recovery = established(sink=sink)
    send(recovery, 5, now=0)
    recovery.on_ack_received([(1, 5)], 0, RTT)
    assert sink.facts == [
        *(PacketAcked(RTT, "client", 0, number) for number in (1, 2, 3, 4)),
        PacketLost(RTT, "client", 0, 0, "reordering_threshold"),
        MetricsUpdated(
            RTT,
            "client",
            0,
            RTT,
            RTT,
            recovery.congestion.congestion_window,
            0,
            latest_rtt=RTT,
            rttvar=RTT // 2,
            pto_count=0,
            ssthresh=recovery.congestion.ssthresh,
            phase=recovery.congestion.phase,
        ),
    ]
    recovery.on_ack_received([(0, 5)], 0, RTT + 1)
    assert SpuriousLoss(RTT + 1, "client", 0, 0) in sink.facts


@pytest.mark.parametrize(("timer", "trigger"), [("pto", "time_threshold"), ("rfc6298", "pto_expired")])
def test_a_time_out_tells_why_a_packet_is_lost(timer: str, trigger: str) -> None:
    sink = ListSink()
    recovery = established(timer=timer, sink=sink)
    send(recovery, 2, now=0)
    if timer == "pto":
        recovery.on_ack_received([(1, 2)], 0, RTT)
    deadline = recovery.next_timeout()
    assert deadline is not None
    recovery.on_timeout(deadline)
    assert TimerExpired(deadline, "client", 0, "ack" if timer == "pto" else "pto") in sink.facts
    assert PacketLost(deadline, "client", 0, 0, trigger) in sink.facts
    assert isinstance(sink.facts[-1], MetricsUpdated)
