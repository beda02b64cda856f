"""Streams followed through their packets: what is found is what a reader of the whole stream would find."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.link.following import OCCURRENCES_MAX, STREAMS_MAX, Follower, Piece

END = b"\r\n.\r\n"


def carried(follower: Follower, offset: int, data: bytes, text: bytes = END, stream: object = 0) -> list[int]:
    return follower.carry([Piece(stream, offset, data)]).get(text, [])


def test_an_end_cut_into_three_packets_is_carried_by_the_last() -> None:
    follower = Follower([END])
    assert carried(follower, 0, b"hello\r") == []
    assert carried(follower, 6, b"\n.\r") == []
    assert carried(follower, 9, b"\nQUIT\r\n") == [1]


def test_a_retransmission_counts_where_it_carries_the_last_octet_however_it_is_cut() -> None:
    follower = Follower([END])
    assert carried(follower, 0, b"hi\r\n.\r\nQUIT") == [1]
    assert carried(follower, 0, b"hi\r\n") == []
    assert carried(follower, 6, b"\nQ") == [2]
    assert carried(follower, 0, b"hi\r\n.\r\n") == [3]
    assert carried(follower, 7, b"QUIT") == []


def test_what_closes_a_gap_completes_what_lies_across_it() -> None:
    follower = Follower([END])
    assert carried(follower, 4, b"\r\nmore") == []
    assert carried(follower, 0, b"x\r") == []
    assert carried(follower, 2, b"\n.") == [1]
    assert carried(follower, 4, b"\r\n") == [2]


def test_streams_are_apart() -> None:
    follower = Follower([END])
    assert carried(follower, 0, b"\r\n.", stream="one") == []
    assert carried(follower, 3, b"\r\n", stream="other") == []
    assert carried(follower, 3, b"\r\n", stream="one") == [1]


def test_a_packet_with_two_ends_carries_both() -> None:
    follower = Follower([END, b"."])
    assert carried(follower, 0, b"\r\n.\r\n\r\n.\r\n") == [1, 1]
    assert follower.carry([Piece(0, 7, b".\r\n")]) == {END: [2], b".": [2]}


TEXTS = [b"a", b"ab", b"aba", b"bbab"]
STREAM = st.text("ab", min_size=1, max_size=30).map(str.encode)
CUTS = st.lists(st.tuples(st.integers(0, 29), st.integers(1, 30)), min_size=1, max_size=40)


@given(STREAM, CUTS)
def test_any_pieces_in_any_order_and_number_find_what_the_whole_stream_has(
    stream: bytes, cuts: list[list[int]]
) -> None:
    follower = Follower(TEXTS)
    ends = {text: [at + len(text) for at in range(30) if stream[at:].startswith(text)] for text in TEXTS}
    counts = dict.fromkeys(((text, end) for text in TEXTS for end in ends[text]), 0)
    seen: set[int] = set()
    for start, size in cuts:
        data = stream[start : start + size]
        stop = start + len(data)
        fresh = set(range(start, stop)) - seen
        seen |= fresh
        expected: dict[bytes, list[int]] = {}
        for text, end in counts:
            octets = set(range(end - len(text), end))
            if octets <= seen and (start < end <= stop or octets & fresh):
                counts[text, end] += 1
                expected.setdefault(text, []).append(counts[text, end])
        assert follower.carry([Piece(0, start, data)]) == expected


def test_memory_is_bounded_whatever_a_stream_is_made_of() -> None:
    follower = Follower([b"a", b"aa" * 20])
    block = b"a" * 1400

    def fill(streams: int, packets: int) -> int:
        """All of one text, with gaps and without; what that takes."""
        for stream in range(streams):
            for number in range(packets):
                spread = 1400 if number % 2 else 2800
                assert len(carried(follower, number * spread, block, b"a", stream)) <= OCCURRENCES_MAX
        return len(pickle.dumps(follower))

    early = fill(STREAMS_MAX, 2)
    assert fill(3, 40) < early * 1.1
    assert fill(STREAMS_MAX + 99, 1) < early * 1.1
    assert early < STREAMS_MAX * 20 * 1024


def test_what_was_forgotten_of_a_stream_is_found_again_where_it_is_whole() -> None:
    follower = Follower([END])
    assert carried(follower, 0, END, stream="old") == [1]
    for stream in range(STREAMS_MAX):
        carried(follower, 0, b"x", stream=stream)
    assert carried(follower, 0, END, stream="old") == [1]
