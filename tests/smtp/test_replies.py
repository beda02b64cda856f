"""Replies, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import LocalProtocolError, SmtpSyntaxError
from rudp_smtp.smtp.replies import Reply, ReplyReader

PRINTABLE = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


def read(*lines: bytes) -> Reply | None:
    reader = ReplyReader()
    reply = None
    for line in lines:
        assert reply is None
        reply = reader.receive_line(line)
    return reply


@given(st.integers(200, 599), st.lists(PRINTABLE, min_size=1, max_size=6))
def test_a_reply_is_read_as_it_is_written(code: int, lines: list[str]) -> None:
    reply = Reply(code, tuple(lines))
    assert read(*reply.encode().split(b"\r\n")[:-1]) == reply


def test_a_reply_of_several_lines_is_complete_with_its_last_line() -> None:
    assert Reply(250, ("mx", "SIZE 5", "8BITMIME")).encode() == b"250-mx\r\n250-SIZE 5\r\n250 8BITMIME\r\n"
    assert read(b"250-mx", b"250-SIZE 5") is None
    assert read(b"250-mx", b"250-", b"250") == Reply(250, ("mx", "", ""))


@pytest.mark.parametrize(
    ("code", "kind"),
    [(250, "positive"), (299, "positive"), (399, "intermediate"), (467, "transient"), (599, "permanent")],
)
def test_an_unlisted_code_is_judged_by_its_first_digit(code: int, kind: str) -> None:
    reply = read(f"{code} whatever".encode())
    assert reply is not None
    judged = {
        "positive": reply.is_positive,
        "intermediate": reply.is_intermediate,
        "transient": reply.is_transient,
        "permanent": reply.is_permanent,
    }
    assert [name for name, holds in judged.items() if holds] == [kind]


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("5.1.1 No such user", 550, "5.1.1"),
        ("2.0.0", 250, "2.0.0"),
        ("4.1.1 of another class", 550, ""),
        ("5.1 short", 550, ""),
        ("5.1.1.1 long", 550, ""),
        ("5.1234.1 large", 550, ""),
        ("no status", 550, ""),
    ],
)
def test_an_enhanced_status_code_counts_if_it_agrees_with_the_reply(text: str, code: int, status: str) -> None:
    assert Reply(code, (text,)).status == status


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"25",
        b"abc",
        b"100 class",
        b"600 class",
        b"250_text",
        b"2500",
        b"250 a\nb",
        b"250 a\rb",
        b"250 \0",
        b" 250 x",
    ],
)
def test_a_line_that_is_no_reply_line_is_refused(line: bytes) -> None:
    with pytest.raises(SmtpSyntaxError):
        read(line)


def test_all_lines_of_a_reply_have_the_same_code() -> None:
    with pytest.raises(SmtpSyntaxError, match="begins with code 250 and goes on with 251"):
        read(b"250-one", b"251 two")


def test_a_reply_without_an_end_is_refused() -> None:
    with pytest.raises(SmtpSyntaxError, match="lines"):
        read(*[b"250-again"] * 1000)


def test_octets_nobody_can_print_are_escaped() -> None:
    reply = read(b"550 \x1b[2J gr\xfc\xdf")
    assert reply is not None
    assert reply.lines == ("\\x1b[2J gr\\xfc\\xdf",)


@pytest.mark.parametrize(
    ("code", "lines"), [(250, ("two\r\nlines",)), (250, ("ümlaut",)), (199, ("x",)), (600, ("x",)), (250, ())]
)
def test_a_reply_that_may_not_be_sent_cannot_be_made(code: int, lines: tuple[str, ...]) -> None:
    with pytest.raises(LocalProtocolError):
        Reply(code, lines)


def test_a_line_longer_than_512_octets_is_not_sent() -> None:
    assert len(Reply(250, ("x" * 506,)).encode()) == 512
    with pytest.raises(LocalProtocolError, match="512"):
        Reply(250, ("x" * 507,)).encode()
