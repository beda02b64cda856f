"""Scattered ranges in, ordered octets out; final sizes and credit kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.transport.rudp.flow import ReceiveCredit
from rudp_smtp.transport.rudp.recv_stream import SCATTERED_RANGES_MAX, Pieces, RecvStream


def stream(window: int = 1 << 20) -> RecvStream:
    return RecvStream(0, ReceiveCredit(window, window), Pieces(ReceiveCredit(window, window)))


def refused(receiving: RecvStream, offset: int, data: bytes, is_fin: bool = False) -> int:
    with pytest.raises(RemoteProtocolError) as caught:
        receiving.on_data(offset, data, is_fin)
    return caught.value.error_code


def test_octets_in_order_pass_straight_through() -> None:
    receiving = stream()
    assert receiving.on_data(0, b"one", False) == b"one"
    assert receiving.on_data(3, b"two", True) == b"two"
    assert receiving.is_delivered


def test_a_filled_gap_releases_what_waited_behind_it() -> None:
    receiving = stream()
    assert receiving.on_data(3, b"def", False) is None
    assert receiving.on_data(9, b"jkl", False) is None
    assert receiving.on_data(0, b"abc", False) == b"abcdef"
    assert receiving.on_data(6, b"ghi", False) == b"ghijkl"


def test_octets_are_delivered_once_however_often_they_come() -> None:
    receiving = stream()
    assert receiving.on_data(0, b"abcd", False) == b"abcd"
    assert receiving.on_data(0, b"abcd", False) is None
    assert receiving.on_data(2, b"cdef", False) == b"ef"


def test_the_end_alone_is_told_once() -> None:
    receiving = stream()
    assert receiving.on_data(0, b"all", False) == b"all"
    assert receiving.on_data(3, b"", True) == b""
    assert receiving.on_data(3, b"", True) is None
    assert receiving.is_over


def test_an_end_that_overtakes_its_octets_waits_for_them() -> None:
    receiving = stream()
    assert receiving.on_data(3, b"d", True) is None
    assert not receiving.is_over
    assert receiving.on_data(0, b"abc", False) == b"abcd"
    assert receiving.is_delivered


def test_other_octets_at_the_same_offset_are_a_violation() -> None:
    receiving = stream()
    receiving.on_data(4, b"efgh", False)
    assert refused(receiving, 2, b"cdXX") == ErrorCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    ("offset", "data", "is_fin"), [(4, b"e", False), (3, b"", True), (5, b"", True), (0, b"abcde", True)]
)
def test_a_final_size_never_changes_and_nothing_lies_beyond_it(offset: int, data: bytes, is_fin: bool) -> None:
    receiving = stream()
    receiving.on_data(2, b"cd", True)
    assert refused(receiving, offset, data, is_fin) == ErrorCode.FINAL_SIZE_ERROR


def test_a_final_size_below_what_arrived_is_refused() -> None:
    receiving = stream()
    receiving.on_data(10, b"k", False)
    assert refused(receiving, 4, b"e", is_fin=True) == ErrorCode.FINAL_SIZE_ERROR


def test_a_reset_obeys_the_final_size_too() -> None:
    receiving = stream()
    receiving.on_data(0, b"abc", False)
    with pytest.raises(RemoteProtocolError) as caught:
        receiving.on_reset(2)
    assert caught.value.error_code == ErrorCode.FINAL_SIZE_ERROR
    assert stream().on_reset(7)


def test_a_reset_after_the_end_changes_nothing() -> None:
    receiving = stream()
    receiving.on_data(0, b"abc", True)
    assert not receiving.on_reset(3)
    assert receiving.is_delivered


def test_octets_after_a_reset_are_ignored() -> None:
    receiving = stream()
    assert receiving.on_reset(10)
    assert receiving.on_data(4, b"efg", False) is None
    assert receiving.on_data(0, b"abc", False) is None


def test_credit_is_charged_for_the_highest_octet_only() -> None:
    receiving = stream(window=10)
    receiving.on_data(5, b"fghij", False)
    receiving.on_data(5, b"fghij", False)
    assert refused(receiving, 10, b"k") == ErrorCode.FLOW_CONTROL_ERROR


def test_crumbs_are_bounded() -> None:
    receiving = stream()
    for index in range(SCATTERED_RANGES_MAX):
        assert receiving.on_data(2 * index + 1, b"x", False) is None
    assert refused(receiving, 2 * SCATTERED_RANGES_MAX + 1, b"x") == ErrorCode.PROTOCOL_VIOLATION


@given(
    data=st.binary(max_size=60),
    cuts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=30),
    order=st.randoms(use_true_random=False),
)
def test_any_pieces_in_any_order_give_the_whole(data: bytes, cuts: list[tuple[int, int]], order: object) -> None:
    pieces = [(min(a, b), max(a, b)) for a, b in cuts] + [(i, i + 1) for i in range(len(data))]
    order.shuffle(pieces)  # type: ignore[attr-defined]
    receiving = stream()
    out = b""
    for start, stop in [*pieces, (len(data), len(data))]:
        piece = data[start:stop]
        if start <= len(data):
            out += receiving.on_data(start, piece, start + len(piece) == len(data)) or b""
        assert data.startswith(out)
    assert out == data
    assert receiving.is_delivered
