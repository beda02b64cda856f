"""CRLF framing, the end mark, transparency, and what mail data may hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp.lines import PIECE_OCTETS, Defect, LineBuffer, TextCheck, encode_text, first_defect, stuff, unstuff
from tests.smtp.dialogue import cut

PIECES = st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"..", b"a", b"text", b"\r\n.\r\n", b"\r\n.", b".\r\n", b"\0"])
HOSTILE = st.lists(PIECES, max_size=40).map(b"".join)
SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=8)
TEXT = st.lists(st.sampled_from([b"", b".", b"..", b"...", b".a", b"a", b"a.", b"\r.", b"\n."]), max_size=30).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


def read_lines(chunks: list[bytes], limit: int) -> list[bytes]:
    buffer = LineBuffer()
    lines = []
    for chunk in chunks:
        buffer.append(chunk)
        while (line := buffer.next_line(limit)) is not None:
            lines.append(line)
    return lines


def read_texts(chunks: list[bytes]) -> tuple[list[bytes], int]:
    """Messages one behind the other, and how many octets were left over."""
    buffer = LineBuffer()
    buffer.begin_text()
    texts, pieces = [], []
    for chunk in chunks:
        buffer.append(chunk)
        while (text := buffer.next_text()) is not None:
            pieces.append(text.octets)
            if text.is_last:
                texts.append(b"".join(pieces))
                pieces.clear()
                buffer.begin_text()
    return texts, len(buffer) + sum(map(len, pieces))


def test_a_line_ends_at_crlf_and_at_nothing_else() -> None:
    assert read_lines([b"one\r\ntw\ro\r\nth\nree\r\n\r\nrest\r"], 100) == [b"one", b"tw\ro", b"th\nree", b""]


def test_a_line_over_the_limit_is_cut_to_one_octet_more_and_the_next_one_is_whole() -> None:
    assert read_lines([b"x" * 500 + b"\r\nnext\r\n"], 10) == [b"x" * 11, b"next"]
    assert read_lines([b"x" * 10 + b"\r\n"], 10) == [b"x" * 10]


@given(HOSTILE, SIZES, st.integers(1, 9))
def test_lines_do_not_depend_on_where_the_stream_is_cut(data: bytes, sizes: list[int], limit: int) -> None:
    assert read_lines(cut(data, sizes), limit) == read_lines([data], limit)
    assert read_lines([data], limit) == [line[: limit + 1] for line in data.split(b"\r\n")[:-1]]


@given(HOSTILE, SIZES)
def test_mail_data_does_not_depend_on_where_the_stream_is_cut(data: bytes, sizes: list[int]) -> None:
    assert read_texts(cut(data, sizes)) == read_texts([data])


@pytest.mark.parametrize("position", range(PIECE_OCTETS - 6, PIECE_OCTETS + 6))
@pytest.mark.parametrize(
    "edge", [b"\r\n.\r\n", b"\r\n..\r\n", b"\r\n.x", b"\r\n\r\n", b"\r\n", b"\r\n.\rx", b"\r.\r\n"]
)
def test_a_piece_may_end_anywhere_and_nothing_is_taken_for_an_end_mark_or_missed(edge: bytes, position: int) -> None:
    stream = b"x" * position + edge + b"y" * PIECE_OCTETS + b"\r\n.\r\n"
    text, _, _ = (b"\r\n" + stream).partition(b"\r\n.\r\n")
    expected = unstuff(text[2:] + b"\r\n")
    for sizes in ([1 << 20], [PIECE_OCTETS], [PIECE_OCTETS + 1], [4096], [1000]):
        assert read_texts(cut(stream, sizes))[0][0] == expected


def test_of_a_long_text_no_more_is_held_than_a_piece_and_what_came_at_once() -> None:
    buffer = LineBuffer()
    buffer.begin_text()
    for _ in range(1000):
        buffer.append(b".x" * 500 + b"\r\n")
        while buffer.next_text() is not None:
            pass
        assert len(buffer) <= PIECE_OCTETS + 1002


@given(HOSTILE, SIZES, SIZES, st.integers(2, 12))
def test_a_defect_is_found_in_the_same_line_wherever_the_text_is_cut(
    data: bytes, sizes: list[int], others: list[int], limit: int
) -> None:
    found = []
    for pieces in ([data], cut(data, sizes), cut(data, others), cut(data, [1])):
        check = TextCheck(line_octets=limit, is_stray_allowed=False)
        for piece in pieces:
            check.take(piece, is_last=False)
        check.take(b"", is_last=True)
        found.append(check.defect)
        assert check.size == len(data)
    assert found.count(found[0]) == len(found)
    lines = data.split(b"\r\n")
    is_bad = [len(line) + 2 > limit or any(octet in line for octet in (b"\r", b"\n", b"\0")) for line in lines]
    is_bad[-1] = is_bad[-1] or bool(lines[-1])  # it has no end
    assert (found[0].line if found[0] else None) == (is_bad.index(True) + 1 if any(is_bad) else None)


@given(HOSTILE, SIZES, st.integers(2, 12))
def test_a_text_that_is_forgotten_as_it_passes_has_its_defect_in_the_same_place(
    data: bytes, sizes: list[int], limit: int
) -> None:
    kept, forgetful = (TextCheck(line_octets=limit, is_stray_allowed=False) for _ in range(2))
    for piece in cut(data, sizes):
        kept.take(piece, is_last=False)
        forgetful.take(piece, is_last=False)
        forgetful.forget()
    kept.take(b"", is_last=True)
    forgetful.take(b"", is_last=True)
    if kept.defect is None:
        assert forgetful.defect is None
    else:
        assert forgetful.defect is not None
        assert forgetful.defect.fault == kept.defect.fault
        assert data[: forgetful.defect.behind].count(b"\r\n") + forgetful.defect.line == kept.defect.line
        where = f" behind octet {forgetful.defect.behind}" if forgetful.defect.behind else ""
        assert str(forgetful.defect) == f"{kept.defect.fault} in line {forgetful.defect.line}{where}"


def test_a_text_that_need_not_have_lines_has_no_defects() -> None:
    check = TextCheck(line_octets=10, is_stray_allowed=False, is_binary=True)
    check.take(b"\0\r\n\n" + b"x" * 100, is_last=True)
    assert check.defect is None


def test_a_chunk_is_taken_by_its_size_and_the_next_line_follows_it() -> None:
    buffer = LineBuffer()
    buffer.append(b"\r\n.\r\nNOOP\r\n")
    assert (buffer.take(3), buffer.take(2), buffer.next_line(100)) == (b"\r\n.", b"\r\n", b"NOOP")
    assert buffer.take(5) == b""


@given(TEXT)
def test_unstuffing_undoes_stuffing(text: bytes) -> None:
    assert unstuff(stuff(text)) == text
    assert b"\r\n.\r\n" not in b"\r\n" + stuff(text)


@given(TEXT, SIZES)
def test_mail_data_arrives_as_it_was_sent(text: bytes, sizes: list[int]) -> None:
    assert read_texts(cut(encode_text(text), sizes)) == ([text], 0)


def test_a_dot_that_opens_the_first_line_is_stuffed() -> None:
    assert encode_text(b".\r\n") == b"..\r\n.\r\n"
    assert encode_text(b"") == b".\r\n"


def test_text_without_a_last_line_end_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError, match="does not end in CRLF"):
        encode_text(b"half a line")


@pytest.mark.parametrize(
    "mark",
    [
        b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\r\n.\r\r\n", b"\n\n.\r\n",
        b"\r\n.\0\r\n", b"\r\r\n.\r", b"\n.\r", b"\r\n\0.\r\n", b"\r\n. \r\n", b"\r\n.\n\r\n", b"\r\n..\r\n",
    ],
)  # fmt: skip
def test_a_smuggled_end_mark_ends_nothing(mark: bytes) -> None:
    stream = b"Subject: one" + mark + b"MAIL FROM:<evil@example.com>\r\n"
    for chunks in ([stream], cut(stream, [1]), cut(stream, [3])):
        assert read_texts(chunks)[0] == []
    (text,), _ = read_texts([stream + b".\r\nQUIT\r\n"])
    assert b"MAIL FROM" in text


def test_a_line_split_at_the_length_limit_makes_no_end_mark() -> None:
    line = b"x" * 998 + b".\r\n"
    (text,), rest = read_texts([line + b"." * 1001 + b"\r\n" + b".\r\nNOOP\r\n"])
    assert text == line + b"." * 1000 + b"\r\n"
    assert rest == len(b"NOOP\r\n")


@pytest.mark.parametrize(
    ("text", "defect"),
    [
        (b"", None),
        (b"fine\r\n\r\n", None),
        (b"\xff eight bits\r\n", None),
        (b"x" * 998 + b"\r\n", None),
        (b"x" * 999 + b"\r\n", Defect(1, "more than 1000 octets")),
        (b"ok\r\n" * 300 + b"x" * 2000 + b"\r\n", Defect(301, "more than 1000 octets")),
        (b"ok\r\nb\nc\r\n", Defect(2, "bare LF")),
        (b"\nok\r\n", Defect(1, "bare LF")),
        (b"ok\r\n\r\r\n", Defect(2, "bare CR")),
        (b"ok\r\nends in CR\r", Defect(2, "bare CR")),
        (b"ends in LF\n", Defect(1, "bare LF")),
        (b"ok\r\nok\r\na\0b\r\n", Defect(3, "NUL")),
        (b"a\rb\nc\r\n", Defect(1, "bare CR")),
        (b"\n\r\r\n", Defect(1, "bare LF")),
        (b"a\nb\r\n" + b"x" * 999 + b"\r\n", Defect(1, "bare LF")),
        (b"x" * 999 + b"\r\na\nb\r\n", Defect(1, "more than 1000 octets")),
    ],
)
def test_the_first_defect_of_mail_data_is_named_with_its_line(text: bytes, defect: Defect | None) -> None:
    assert first_defect(text) == defect


def test_stray_octets_may_be_allowed_but_long_lines_are_not() -> None:
    assert first_defect(b"a\nb\0\r\n", is_stray_allowed=True) is None
    assert first_defect(b"a\nb\r\n", line_octets=4, is_stray_allowed=True) == Defect(1, "more than 4 octets")


@given(HOSTILE, st.integers(2, 12))
def test_the_bulk_search_for_defects_agrees_with_reading_line_by_line(data: bytes, limit: int) -> None:
    text = data + b"\r\n"
    lines = text.split(b"\r\n")[:-1]
    is_bad = [len(line) + 2 > limit or any(octet in line for octet in (b"\r", b"\n", b"\0")) for line in lines]
    defect = first_defect(text, line_octets=limit)
    assert (defect.line if defect else None) == (is_bad.index(True) + 1 if any(is_bad) else None)


def test_a_long_message_octet_by_octet_is_searched_once() -> None:
    # Each search starts where the last one stopped: a quadratic search of this many octets would never come to its end.
    text = (b".a line that opens with a dot\r\n" + b"x" * 200 + b"\r\n") * 1_000
    assert read_texts(cut(encode_text(text), [1])) == ([text], 0)
