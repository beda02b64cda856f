"""Preparation for SMTP: what is made canonical, what is refused, and that nothing else changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.mail.message import Message, Prepared, Refused, prepare


def prepared(octets: bytes) -> Prepared | Refused:
    return prepare(Message("m", "a@b.example", ("c@d.example",), octets))


def test_octets_that_smtp_may_carry_stay_as_they_are() -> None:
    octets = b"Subject: x\r\n\r\n.\r\n\xff\x80\x1a\r\n"
    assert prepared(octets) == Prepared(octets)


def test_a_text_file_gets_its_canonical_line_ends_and_says_so() -> None:
    outcome = prepared(b"Subject: x\n\nbody\n")
    assert outcome == Prepared(b"Subject: x\r\n\r\nbody\r\n", ("bare LF line ends became CRLF",))


def test_a_missing_last_line_end_is_added_and_said() -> None:
    assert prepared(b"Subject: x") == Prepared(b"Subject: x\r\n", ("the last line got its line end",))
    assert prepared(b"a\r\nb") == Prepared(b"a\r\nb\r\n", ("the last line got its line end",))
    assert prepared(b"a\nb") == Prepared(
        b"a\r\nb\r\n", ("bare LF line ends became CRLF", "the last line got its line end")
    )


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "it is empty"),
        (b"a\0b\r\n", "it contains NUL"),
        (b"a\rb\r\n", "it contains a bare CR"),
        (b"a\r", "it contains a bare CR"),
        (b"a\r\r\n", "it contains a bare CR"),
        (b"a\r\nb\nc\r\n", "it mixes CRLF with bare LF"),
        (b"a\r\n" + b"x" * 999 + b"\r\n", "line 2 has 999 octets, more than 998"),
        (b"x" * 1000, "line 1 has 1000 octets, more than 998"),
    ],
)
def test_what_has_no_one_meaning_is_refused_with_its_reason(octets: bytes, reason: str) -> None:
    assert prepared(octets) == Refused(reason)


def test_a_line_of_998_octets_is_the_longest_that_passes() -> None:
    octets = b"x" * 998 + b"\r\n"
    assert prepared(octets) == Prepared(octets)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b".", b"text", b"\xff"]), max_size=12).map(b"".join))
def test_whatever_passes_is_canonical_and_passes_again_unchanged(octets: bytes) -> None:
    outcome = prepared(octets)
    if isinstance(outcome, Prepared):
        assert outcome.data.replace(b"\r\n", b"").count(b"\r") == 0
        assert outcome.data.replace(b"\r\n", b"").count(b"\n") == 0
        assert prepared(outcome.data) == Prepared(outcome.data)
        assert outcome.data.replace(b"\r\n", b"\n").rstrip(b"\n") == octets.replace(b"\r\n", b"\n").rstrip(b"\n")
