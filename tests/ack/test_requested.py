"""draft-ietf-quic-ack-frequency section 6: a receiver acknowledges as it was asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.ack.policy import ACK_POLICIES
from rudp_smtp.ack.requested import Requested
from rudp_smtp.ack.tracker import AckTracker
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND

MAX_ACK_DELAY = 25 * MILLISECOND
RTT = 40 * MILLISECOND
SIZE = 1200
NEVER = 1 << 30


def obedient(threshold: int = NEVER, delay: int = 10 * MILLISECOND, reordering: int = 1) -> AckTracker:
    acks = AckTracker(ACK_POLICIES.build(Spec("immediate")), MAX_ACK_DELAY)
    acks.obey(Requested(threshold, delay), reordering)
    return acks


def told(acks: AckTracker, *packet_numbers: int) -> list[int]:
    """The packets that are acknowledged at once."""
    immediate = []
    for now, number in enumerate(packet_numbers):
        acks.on_packet_received(number, True, SIZE, RTT, now)
        if acks.ack_deadline == now:
            immediate.append(number)
            acks.on_ack_sent(now, is_ack_eliciting=False)
    return immediate


def test_so_many_packets_as_asked_may_pass_without_an_acknowledgement() -> None:
    """Section 4: the threshold itself is not acknowledged at once, the next packet is."""
    assert told(obedient(threshold=3), *range(10)) == [3, 7]
    assert told(obedient(threshold=0), *range(4)) == [0, 1, 2, 3]


@pytest.mark.parametrize(("asked", "waits"), [(10 * MILLISECOND, 10 * MILLISECOND), (90 * MILLISECOND, MAX_ACK_DELAY)])
def test_no_packet_waits_longer_than_asked_nor_than_declared(asked: int, waits: int) -> None:
    acks = obedient(delay=asked)
    acks.on_packet_received(0, True, SIZE, RTT, 5)
    assert acks.ack_deadline == 5 + waits


def test_an_immediate_acknowledgement_is_given() -> None:
    """Section 5."""
    acks = obedient()
    acks.on_packet_received(0, True, SIZE, RTT, 5)
    acks.on_immediate_ack(5)
    assert acks.ack_deadline == 5


@pytest.mark.parametrize(
    ("threshold", "packets", "immediate"),
    [
        (1, [0, 2, 3, 4], [2]),  # as RFC 9000 section 13.2.1 has it
        (0, [0, 2, 3, 4, 5, 6], []),  # never for order's sake
        (3, [0, 1, 2, 4, 5, 6, 7], [6]),  # 3 is three below 6: told once
        (3, [0, 1, 2, 4, 3, 5, 6, 7], []),  # the gap closed in time
        (3, [0, 1, 4, 5, 6, 7], [5, 6]),  # 2 is three below 5, 3 is three below 6
        (3, [0, 9, 10, 11], [9, 10, 11]),  # 1 to 6 are told at once, 7 and 8 one by one
        (5, [0, 1, 3, 5, 7, 9, 10, 11], [7, 9, 11]),  # 2, 4 and 6 are five below 7, 9 and 11
        (2, [3, 1, 2, 0], [3]),  # what is late fills gaps that were told
    ],
)
def test_a_gap_is_told_once_it_is_as_wide_as_asked(threshold: int, packets: list[int], immediate: list[int]) -> None:
    """Section 6.2."""
    assert told(obedient(reordering=threshold), *packets) == immediate


@given(st.permutations(range(24)), st.integers(2, 6))
def test_every_packet_that_far_below_the_largest_has_been_told_of(order: list[int], threshold: int) -> None:
    """Section 6.2, whatever the order: when a packet is `threshold` below the largest, an acknowledgement that says so
    has left."""
    acks = obedient(reordering=threshold)
    arrived: set[int] = set()
    largest_told = -1
    for number in order:
        if told(acks, number):
            largest_told = max(arrived | {number})
        arrived.add(number)
        untold = range(max(largest_told - threshold + 1, 0), max(arrived) - threshold + 1)
        assert all(missing in arrived for missing in untold)
