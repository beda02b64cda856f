"""A message handed on twice by a host that puts its field in front has one fingerprint; another message has another."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.mail.received import Fingerprint

TEXT = b"Subject: x\r\nReceived: from further down\r\n\r\nReceived: not a field\r\n"


def fingerprint(octets: bytes, cuts: tuple[int, ...] = ()) -> str:
    made = Fingerprint()
    edges = [0, *sorted(cut for cut in cuts if cut < len(octets)), len(octets)]
    for start, end in pairwise(edges):
        made.feed(octets[start:end])
    return made.text()


def received(minute: int, fold: bytes = b"\r\n\t") -> bytes:
    return b"Received: from a" + fold + b"by b with ESMTP;" + fold + b"Thu, 1 Jan 2026 00:%02d:00 +0000\r\n" % minute


def test_the_fields_that_hosts_on_the_way_put_in_front_do_not_count() -> None:
    assert len({fingerprint(front + TEXT) for front in (b"", received(1), received(2), received(3) * 20)}) == 1


def test_everything_else_does() -> None:
    others = (
        TEXT,
        TEXT[:-1],
        TEXT.replace(b"further", b"farther"),
        b" " + TEXT,
        b"",
        TEXT + received(1),
        b"Rec",
        b"Re",
    )
    assert len({fingerprint(received(1) + other) for other in others[:3] + others[4:]}) == len(others) - 1
    assert len({fingerprint(other) for other in others}) == len(others)


def test_an_endless_line_in_front_is_not_kept() -> None:
    assert fingerprint(b"Received: " + b"x" * 100_000 + b"\r\n" + TEXT) == fingerprint(TEXT)
    assert fingerprint(b"x" * 100_000) != fingerprint(b"x" * 100_001)


@given(st.lists(st.integers(0, 300), max_size=8), st.sampled_from([b"", TEXT, b"Received", b"x" * 200]))
def test_where_the_pieces_are_cut_does_not_matter(cuts: list[int], text: bytes) -> None:
    octets = received(1) + received(2) + text
    assert fingerprint(octets, tuple(cuts)) == fingerprint(octets) == fingerprint(text)
