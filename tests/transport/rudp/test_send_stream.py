"""Written octets become ranges; each is sent until it is acknowledged, and forgotten then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.transport.rudp.flow import Blocked, SendCredit
from rudp_smtp.transport.rudp.outbox import Outbox
from rudp_smtp.transport.rudp.send_stream import WRITABLE_THRESHOLD, SendStream

PLENTY = 1 << 30


def stream(limit: int = PLENTY) -> SendStream:
    credit = SendCredit(limit)
    return SendStream(0, credit, Blocked(Outbox(), credit, 0))


def test_the_fin_goes_with_the_last_octets() -> None:
    sending = stream()
    sending.write(b"abcdef", is_fin=True)
    assert sending.take_fresh(4, PLENTY) == (0, 4)
    assert sending.take_fresh(4, PLENTY) == (4, 7)
    assert sending.octets(4, 7) == b"ef"
    assert not sending.has_fresh


def test_a_fin_without_octets_is_urgent_and_needs_no_credit() -> None:
    sending = stream(limit=3)
    sending.write(b"abc", is_fin=False)
    sending.take_fresh(PLENTY, PLENTY)
    sending.write(b"", is_fin=True)
    assert sending.has_urgent
    assert sending.take_urgent(0) == (3, 4)
    assert sending.octets(3, 4) == b""


def test_credit_of_the_stream_and_of_the_connection_bound_what_is_taken() -> None:
    sending = stream(limit=5)
    sending.write(b"abcdefgh", is_fin=True)
    assert sending.take_fresh(PLENTY, 3) == (0, 3)
    assert sending.take_fresh(PLENTY, PLENTY) == (3, 5)
    assert sending.is_blocked
    assert not sending.has_fresh
    sending.credit.raise_limit(8)
    assert sending.take_fresh(PLENTY, PLENTY) == (5, 9)


def test_lost_octets_are_taken_again_lowest_first() -> None:
    sending = stream()
    sending.write(b"abcdefgh", is_fin=True)
    sending.take_fresh(PLENTY, PLENTY)
    sending.on_range_lost(6, 9)
    sending.on_range_lost(0, 2)
    assert sending.take_urgent(10) == (0, 2)
    assert sending.take_urgent(1) == (6, 7)
    assert sending.take_urgent(1) == (7, 9)  # the FIN takes no room
    assert not sending.has_urgent


def test_what_was_acknowledged_meanwhile_is_not_sent_again() -> None:
    sending = stream()
    sending.write(b"abcdefgh", is_fin=False)
    sending.take_fresh(PLENTY, PLENTY)
    sending.on_range_acked(2, 4)
    sending.on_range_lost(0, 6)
    sending.on_range_acked(5, 6)
    assert sending.take_urgent(PLENTY) == (0, 2)
    assert sending.take_urgent(PLENTY) == (4, 5)
    assert not sending.has_urgent


def test_the_stream_is_over_when_its_fin_and_all_before_it_are_acknowledged() -> None:
    sending = stream()
    sending.write(b"abc", is_fin=True)
    sending.take_fresh(PLENTY, PLENTY)
    assert not sending.on_range_acked(1, 4)
    assert not sending.is_flushed
    assert sending.on_range_acked(0, 1)
    assert sending.is_over
    assert sending.is_flushed
    assert not sending.on_range_acked(0, 4)


def test_nothing_is_written_after_fin_or_reset() -> None:
    finished, given_up = stream(), stream()
    finished.write(b"", is_fin=True)
    given_up.reset()
    for sending in (finished, given_up):
        with pytest.raises(LocalProtocolError):
            sending.write(b"x", is_fin=False)


def test_a_reset_forgets_what_was_not_delivered() -> None:
    sending = stream()
    sending.write(b"abcdef", is_fin=True)
    sending.take_fresh(3, PLENTY)
    assert sending.reset()
    sending.on_range_lost(0, 3)
    sending.on_range_acked(0, 3)
    assert not sending.has_urgent
    assert not sending.has_fresh
    assert sending.unsent == 0
    assert sending.credit.used == 3  # its final size
    assert not sending.is_flushed
    assert sending.on_reset_acked()
    assert sending.is_over


def test_an_announcement_is_dropped_where_octets_announce_the_stream() -> None:
    quiet, talkative = stream(), stream()
    quiet.is_announcement_due = talkative.is_announcement_due = True
    talkative.write(b"x", is_fin=False)
    assert quiet.take_urgent(100) == (0, 0)
    assert talkative.take_urgent(100) is None
    quiet.on_range_lost(0, 0)
    assert quiet.take_urgent(100) == (0, 0)


def test_room_is_told_once_when_most_of_what_waited_has_left() -> None:
    sending = stream()
    sending.write(bytes(4 * WRITABLE_THRESHOLD), is_fin=False)
    sending.take_fresh(2 * WRITABLE_THRESHOLD, PLENTY)
    assert not sending.became_writable()
    sending.take_fresh(WRITABLE_THRESHOLD, PLENTY)
    assert sending.became_writable()
    assert sending.most_unsent == 0


@given(
    size=st.integers(0, 50),
    steps=st.lists(st.tuples(st.sampled_from(["take", "lose", "ack"]), st.integers(0, 60), st.integers(1, 9))),
)
def test_every_octet_is_carried_until_it_is_acknowledged(size: int, steps: list[tuple[str, int, int]]) -> None:
    octets = bytes(range(size))
    sending = stream()
    sending.write(octets, is_fin=True)
    flying: list[tuple[int, int]] = []
    acked: set[int] = set()

    def take(room: int) -> None:
        taken = sending.take_urgent(room) or sending.take_fresh(room, PLENTY)
        if taken[0] < taken[1]:
            assert octets[taken[0] : taken[1]] == sending.octets(*taken)
            flying.append(taken)

    def settle(index: int, is_acked: bool) -> None:
        start, stop = flying.pop(index)
        if is_acked:
            acked.update(range(start, stop))
            sending.on_range_acked(start, stop)
        else:
            sending.on_range_lost(start, stop)

    for step, index, room in steps:
        if step == "take":
            take(room)
        elif flying:
            settle(index % len(flying), step == "ack")
    while flying:
        settle(0, is_acked=False)
    while sending.has_urgent or sending.has_fresh:
        take(7)
        settle(0, is_acked=True)
    assert acked == set(range(size + 1))
    assert sending.is_over
