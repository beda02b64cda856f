"""RFC 9000 section 13.2: what is reported, when, and what counts as a duplicate."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.ack.policy import ACK_POLICIES
from rudp_smtp.ack.tracker import RANGES_KEPT, AckTracker
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, SECOND

MAX_ACK_DELAY = 25 * MILLISECOND
RTT = 40 * MILLISECOND
SIZE = 1200
ALL = 10**6  # more ranges than there are


def tracker(name: str = "every_n") -> AckTracker:
    return AckTracker(ACK_POLICIES.build(Spec(name)), MAX_ACK_DELAY)


def receive(acks: AckTracker, *packet_numbers: int, now: int = 0) -> list[bool]:
    return [acks.on_packet_received(number, True, SIZE, RTT, now) for number in packet_numbers]


def test_before_the_first_packet_there_is_nothing_to_report() -> None:
    acks = tracker()
    assert (acks.ack_ranges(ALL), acks.ack_deadline) == ([], None)


def test_what_arrived_is_reported_highest_first() -> None:
    acks = tracker()
    receive(acks, 0, 1, 5, 4, 9)
    assert acks.ack_ranges(ALL) == [(9, 10), (4, 6), (0, 2)]
    assert acks.ack_ranges(2) == [(9, 10), (4, 6)]


def test_a_packet_is_accepted_once() -> None:
    acks = tracker()
    assert receive(acks, 0, 2, 2, 0, 1, 1) == [True, True, False, False, True, False]
    assert acks.is_duplicate(2)
    assert not acks.is_duplicate(3)


def test_the_delay_is_how_long_the_largest_packet_has_waited() -> None:
    """RFC 9000 section 13.2.5."""
    acks = tracker()
    receive(acks, 5, now=100)
    receive(acks, 3, now=200)
    assert acks.ack_delay(250) == 150


@pytest.mark.parametrize("name", ACK_POLICIES.names())
def test_silence_is_never_acknowledged(name: str) -> None:
    """RFC 9000 section 13.2.1: no acknowledgement of packets that do not ask for one, even with gaps."""
    acks = tracker(name)
    for number in (0, 1, 5, 3):
        assert acks.on_packet_received(number, False, SIZE, RTT, 0)
    assert acks.ack_deadline is None


def test_silent_packets_are_reported_with_the_next_acknowledgement() -> None:
    """RFC 9000 section 13.2.1."""
    acks = tracker()
    acks.on_packet_received(0, False, SIZE, RTT, 0)
    receive(acks, 1)
    assert acks.ack_ranges(ALL) == [(0, 2)]


def test_the_earliest_deadline_holds() -> None:
    acks = tracker("delayed")
    receive(acks, 0, now=0)
    receive(acks, 1, now=1_000)
    assert acks.ack_deadline == MAX_ACK_DELAY


def test_an_acknowledgement_settles_the_deadline() -> None:
    acks = tracker("immediate")
    receive(acks, 0, now=7)
    assert acks.ack_deadline == 7
    acks.on_ack_sent(7, is_ack_eliciting=False)
    assert acks.ack_deadline is None


def test_a_duplicate_asks_for_nothing() -> None:
    acks = tracker("immediate")
    receive(acks, 0)
    acks.on_ack_sent(0, is_ack_eliciting=False)
    receive(acks, 0)
    assert acks.ack_deadline is None


@pytest.mark.parametrize(
    ("arrived", "arriving", "is_in_order"),
    [
        ([0], 1, True),
        ([], 0, True),
        ([], 1, False),  # leaves a gap below
        ([0], 2, False),
        ([0, 2], 1, False),  # below one that arrived
        ([0, 2], 3, True),  # the gap was told already
        ([0, 2, 3], 5, False),
    ],
)
def test_a_packet_that_leaves_or_fills_a_gap_is_acknowledged_at_once(
    arrived: list[int], arriving: int, is_in_order: bool
) -> None:
    """RFC 9000 section 13.2.1."""
    acks = tracker("delayed")
    receive(acks, *arrived)
    acks.on_ack_sent(0, is_ack_eliciting=False)
    receive(acks, arriving, now=7)
    assert acks.ack_deadline == (7 + MAX_ACK_DELAY if is_in_order else 7)


@pytest.mark.parametrize(("silent", "is_in_order"), [([1], True), ([2], False), ([1, 2, 3], True), ([5], True)])
def test_silent_packets_in_between_close_a_gap_and_leave_none(silent: list[int], is_in_order: bool) -> None:
    """RFC 9000 section 13.2.1: order is judged among ack-eliciting packets; only missing packets make a gap."""
    acks = tracker("delayed")
    receive(acks, 0)
    acks.on_ack_sent(0, is_ack_eliciting=False)
    for number in silent:
        acks.on_packet_received(number, False, SIZE, RTT, 0)
    arriving = 4 if silent == [1, 2, 3] else 2 if silent == [1] else 1 if silent == [5] else 3
    receive(acks, arriving, now=7)
    assert acks.ack_deadline == (7 + MAX_ACK_DELAY if is_in_order else 7)


# What the peer has heard need not be said again


def test_what_the_peer_heard_is_not_reported_again() -> None:
    """RFC 9000 section 13.2.4."""
    acks = tracker()
    receive(acks, 0, 2, 4, 6, 7)
    acks.on_ack_acked(largest=4)
    assert acks.ack_ranges(ALL) == [(6, 8)]


def test_the_largest_packet_is_always_reported() -> None:
    acks = tracker()
    receive(acks, 0, 2, 4)
    acks.on_ack_acked(largest=4)
    assert acks.ack_ranges(ALL) == [(4, 5)]
    receive(acks, 5)
    assert acks.ack_ranges(ALL) == [(4, 6)]


def test_a_packet_the_peer_knows_to_have_arrived_stays_a_duplicate() -> None:
    acks = tracker()
    receive(acks, 0, 2, 4, 6)
    acks.on_ack_acked(largest=4)
    assert receive(acks, 0, 2, 4, 6) == [False] * 4


def test_a_packet_that_had_not_arrived_is_welcome_later_and_reported() -> None:
    acks = tracker()
    receive(acks, 0, 2, 4, 6)
    acks.on_ack_acked(largest=4)
    assert receive(acks, 1, 1, 5, 3) == [True, False, True, True]
    assert acks.ack_ranges(ALL) == [(5, 7), (3, 4), (1, 2)]
    acks.on_ack_acked(largest=6)
    assert acks.ack_ranges(ALL) == [(6, 7)]
    assert receive(acks, 0, 1, 2, 3, 4, 5, 6) == [False] * 7


def test_an_old_acknowledgement_of_an_acknowledgement_forgets_nothing_new() -> None:
    acks = tracker()
    receive(acks, 0, 2, 4, 6)
    acks.on_ack_acked(largest=4)
    acks.on_ack_acked(largest=2)
    assert acks.ack_ranges(ALL) == [(6, 7)]
    assert receive(acks, 3) == [True]


def test_the_ranges_kept_are_bounded_and_the_oldest_go_first() -> None:
    """RFC 9000 section 13.2.3."""
    acks = tracker()
    receive(acks, *range(0, 4 * RANGES_KEPT, 2))
    reported = acks.ack_ranges(ALL)
    assert len(reported) == RANGES_KEPT
    assert reported[0] == (4 * RANGES_KEPT - 2, 4 * RANGES_KEPT - 1)


def test_too_old_to_tell_is_a_duplicate() -> None:
    """RFC 9000 section 13.2.3: packets below what is remembered are not accepted."""
    acks = tracker()
    receive(acks, *range(0, 8 * RANGES_KEPT, 2))
    assert receive(acks, 0, 1) == [False, False]


def test_hostile_packet_numbers_cost_no_memory() -> None:
    acks = tracker()
    for exponent in range(62):
        receive(acks, 2**exponent)
    for number in range(0, 20_000, 2):
        receive(acks, 2**62 + number)
    assert len(acks.ack_ranges(ALL)) <= RANGES_KEPT


# Asking for an acknowledgement of an acknowledgement


def test_a_single_range_never_asks_to_be_acknowledged() -> None:
    acks = tracker()
    receive(acks, *range(100))
    assert not acks.wants_ack_of_ack(RTT, 10 * SECOND)


def test_several_ranges_ask_to_be_acknowledged_once_per_round_trip() -> None:
    """RFC 9000 section 13.2.4: a receiver of data alone sends something ack-eliciting now and then."""
    acks = tracker()
    receive(acks, 0, 2, 3, now=SECOND)
    assert acks.wants_ack_of_ack(RTT, SECOND)
    acks.on_ack_sent(SECOND, is_ack_eliciting=True)
    receive(acks, 5, 6, 8, now=SECOND + 1)
    assert not acks.wants_ack_of_ack(RTT, SECOND + RTT - 1)
    assert acks.wants_ack_of_ack(RTT, SECOND + RTT)


def test_a_packet_with_data_asks_as_well_as_a_ping() -> None:
    acks = tracker()
    receive(acks, 0, 2, 3, now=SECOND)
    acks.on_ack_sent(SECOND, is_ack_eliciting=False)
    assert acks.wants_ack_of_ack(RTT, SECOND)
    acks.on_ack_sent(SECOND, is_ack_eliciting=True)
    assert not acks.wants_ack_of_ack(RTT, SECOND)


def test_two_hosts_with_nothing_to_say_fall_silent() -> None:
    """RFC 9000 section 13.2.4: acknowledgements of acknowledgements must not go on for ever."""
    hosts = [tracker("immediate"), tracker("immediate")]
    for acks in hosts:
        receive(acks, 0, 2, 4, 6)  # and nothing of what either says now shortens the other's ranges
    next_numbers = [100, 100]
    now = exchanged = 0
    while any(acks.ack_deadline is not None for acks in hosts):
        assert exchanged < 20
        for index, acks in enumerate(hosts):
            if acks.ack_deadline is None:
                continue
            now += SECOND
            is_ping = acks.wants_ack_of_ack(RTT, now)
            acks.on_ack_sent(now, is_ack_eliciting=is_ping)
            next_numbers[index] += 2
            hosts[1 - index].on_packet_received(next_numbers[index], is_ping, SIZE, RTT, now)
            exchanged += 1


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["packet", "packet", "packet", "heard"]), st.integers(0, 60)), max_size=80),
    st.sampled_from(ACK_POLICIES.names()),
)
def test_every_packet_is_accepted_exactly_once_and_reported_until_the_peer_heard(
    history: list[tuple[str, int]], name: str
) -> None:
    acks = tracker(name)
    arrived: set[int] = set()
    unheard: set[int] = set()  # arrived, and in no acknowledgement that the peer confirmed
    for now, (what, number) in enumerate(history):
        if what == "packet":
            assert acks.on_packet_received(number, True, SIZE, RTT, now) is (number not in arrived)
            assert acks.ack_deadline is not None
            unheard |= {number} - arrived
            arrived.add(number)
        elif arrived:
            largest = min(number, max(arrived))
            acks.on_ack_acked(largest)
            unheard = {heard for heard in unheard if heard > largest}
        reported = acks.ack_ranges(ALL)
        covered = {number for start, stop in reported for number in range(start, stop)}
        assert unheard <= covered <= arrived
        assert not arrived or reported[0][1] == max(arrived) + 1
        assert all(higher[0] > lower[1] for higher, lower in pairwise(reported))
