"""Fields that a server looks for: seen however the octets are cut, and only where the header section has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.smtp.header import PassingHeader

TLS = b"TLS-Required: No\r\n"
PIECES = [
    TLS,
    b"tls-required:\r\n",
    b" no\r\n",
    b"\tyes\r\n",
    b"Received: from a\r\n",
    b"received :x\r\n",
    b"\tReceived: folded\r\n",
    b"X-Received: x\r\n",
    b"\r\n",
]
LONG = b"x" * 300 + b"Received: y\r\n"


def read(*pieces: bytes) -> PassingHeader:
    header = PassingHeader()
    for piece in pieces:
        header.take(piece)
    return header


def seen(*pieces: bytes) -> tuple[int, bool]:
    header = read(*pieces)
    return header.hops, header.is_tls_optional


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
    assert read(octets).hops == expected


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (TLS, True),
        (b"Subject: x\r\n" + TLS + b"To: y\r\n\r\n", True),
        (b"tls-REQUIRED \t:nO \r\n\r\n", True),
        (b"TLS-Required:\r\n\t\r\n No\r\nTo: y\r\n\r\n", True),
        (b"TLS-Required: Yes\r\n\r\n", False),
        (b"TLS-Required:\r\n\r\n No\r\n", False),
        (b"TLS-Required: No\r\n or yes\r\n\r\n", False),
        (TLS + b"X: y\r\n" + TLS + b"\r\n", False),
        (b"X-TLS-Required: No\r\nSubject: x\r\n TLS-Required: No\r\n\r\n", False),
        (b"\r\n" + TLS, False),
        (b"TLS-Required: No" + b" " * 200 + b"t\r\n\r\n", False),
        (b"TLS-Required: No\r\n" + b" \r\n" * 200 + b" t\r\n\r\n", False),
        (b"X: no end\r\n" * 24_000 + TLS + b"\r\n", False),
    ],
)
def test_tls_is_optional_where_one_field_of_the_header_says_no_and_nothing_else(octets: bytes, expected: bool) -> None:
    assert read(octets).is_tls_optional == expected


@given(st.lists(st.sampled_from([*PIECES, LONG]), max_size=12).map(b"".join), st.data())
def test_however_it_is_cut_it_says_the_same(octets: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=10)))
    pieces = [octets[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    assert seen(*pieces) == seen(octets) == seen(*(octets[i : i + 1] for i in range(len(octets))))
