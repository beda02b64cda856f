"""What all workloads share: octets known by their position, and how the end of a connection reads."""

from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.draws import DrawKey
from rudp_smtp.transport import Closed
from rudp_smtp.workload.node import PATTERN_PERIOD, Pattern, describe_end

PATTERN = Pattern(DrawKey(1, "pattern"))


@given(st.integers(0, 1 << 40), st.integers(0, 3 * PATTERN_PERIOD))
def test_pieces_put_together_match_from_where_they_begin(offset: int, count: int) -> None:
    pieces = []
    start = offset
    while start < offset + count:
        piece = PATTERN.piece(start, min(50_000, offset + count - start))
        pieces.append(piece)
        start += len(piece)
    whole = b"".join(pieces)
    assert len(whole) == count
    assert PATTERN.matches(offset, whole)


@given(st.integers(0, 1 << 40), st.integers(8, 70_000), st.integers(1, 4096))
def test_octets_that_went_astray_do_not_match(offset: int, count: int, shift: int) -> None:
    whole = PATTERN.piece(offset, min(count, PATTERN_PERIOD))
    assert not PATTERN.matches(offset + shift, whole)
    assert not PATTERN.matches(offset + 1024 * shift, whole)
    assert not PATTERN.matches(offset, whole[:-1] + bytes([whole[-1] ^ 1]))


def test_the_end_of_a_connection_is_told_with_its_reason_or_its_code() -> None:
    assert describe_end(Closed("idle_timeout", 0, "")) == "connection closed: idle_timeout"
    assert describe_end(Closed("peer", 7, "")) == "connection closed: peer (error 7)"
    assert describe_end(Closed("peer", 7, "too many streams")) == "connection closed: peer (too many streams)"
