"""Received fields: counted however the octets are cut, and only where the header section has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.smtp.hops import HopCount

PIECES = [b"Received: from a\r\n", b"received :x\r\n", b"\tReceived: folded\r\n", b"X-Received: x\r\n", b"\r\n"]
LONG = b"x" * 300 + b"Received: y\r\n"


def hops(*pieces: bytes) -> int:
    count = HopCount()
    for piece in pieces:
        count.take(piece)
    return count.hops


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"", 0),
        (b"Received: a\r\n", 1),
        (b"RECEIVED\t:a\r\nReceived: b\r\n\tby c\r\nSubject: Received: no\r\n\r\nReceived: body\r\n", 2),
        (b"\r\nReceived: body\r\n", 0),
        (LONG + b"Received: z\r\n", 1),
        (b"Received: y\r\n" + b"X: no end\r\n" * 24_000 + b"Received: z\r\n", 1),
    ],
)
def test_only_fields_of_the_header_section_count(octets: bytes, expected: int) -> None:
    assert hops(octets) == expected


@given(st.lists(st.sampled_from([*PIECES, LONG]), max_size=12).map(b"".join), st.data())
def test_however_it_is_cut_the_count_is_the_same(octets: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=10)))
    pieces = [octets[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    assert hops(*pieces) == hops(octets) == hops(*(octets[i : i + 1] for i in range(len(octets))))
