"""A dialogue is told the same whatever pieces it comes in, and content never passes for commands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.draws import DrawKey
from rudp_smtp.trace import Fact, ListSink, SmtpCommand, SmtpContent, SmtpReply, VantagePoint
from rudp_smtp.workload.smtp.dialogue import LINE_MAX, Dialogue, overhear
from tests.workload.scene import endpoints

SESSION = [  # who speaks, and what
    ("server", b"220 server.example\r\n"),
    ("client", b"EHLO client.example\r\n"),
    ("server", b"250-server.example\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"),
    ("client", b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n"),
    ("server", b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 Go ahead\r\n"),
    ("client", b"Subject: QUIT\r\n\r\nQUIT\r\n..\r\n.\r\nQUIT\r\n"),
    ("server", b"250 2.0.0 Ok\r\n221\r\n"),
]
CONTENT = b"Subject: QUIT\r\n\r\nQUIT\r\n..\r\n"


def listened(sizes: list[int]) -> list[Fact]:
    sink = ListSink()
    dialogue = Dialogue(VantagePoint(sink, "client", 3), sink, 4)
    turn = 0
    for speaker, octets in SESSION:
        rest = octets
        while rest:
            size = sizes[turn % len(sizes)]
            turn += 1
            (dialogue.on_commands if speaker == "client" else dialogue.on_replies)(rest[:size], 7)
            rest = rest[size:]
    return list(sink.facts)


@given(st.lists(st.integers(1, 90), min_size=1))
def test_chunks_are_content_as_long_as_they_said(sizes: list[int]) -> None:
    sink = ListSink()
    dialogue = Dialogue(VantagePoint(sink, "client", 3), sink, 4)
    rest, turn = b"BDAT 6\r\nQUIT\r\nbdat 4 last\r\n\r\n.\rQUIT\r\n", 0
    while rest:
        dialogue.on_commands(rest[: sizes[turn % len(sizes)]], 7)
        rest, turn = rest[sizes[turn % len(sizes)] :], turn + 1
    told = [fact.line if isinstance(fact, SmtpCommand) else fact for fact in sink.facts]
    contents = [fact.size for fact in sink.facts if isinstance(fact, SmtpContent)]
    assert [line for line in told if isinstance(line, str)] == ["BDAT 6", "bdat 4 last", "QUIT"]
    assert contents == [6, 4]


@given(st.lists(st.integers(1, 90), min_size=1))
def test_the_pieces_make_no_difference(sizes: list[int]) -> None:
    told = listened(sizes)
    assert told == listened([1000])
    assert [fact.line for fact in told if isinstance(fact, SmtpCommand)] == [
        "EHLO client.example",
        "MAIL FROM:<a@a.example>",
        "RCPT TO:<b@b.example>",
        "DATA",
        "QUIT",
    ]
    replies = [(fact.code, fact.text) for fact in told if isinstance(fact, SmtpReply)]
    assert replies[1] == (250, "server.example\nPIPELINING\nSIZE 1000")
    assert [code for code, _ in replies] == [220, 250, 250, 250, 354, 250, 221]
    assert [fact for fact in told if isinstance(fact, SmtpContent)] == [SmtpContent(7, "client", 3, 4, len(CONTENT))]


def test_an_empty_message_ends_at_once() -> None:
    sink = ListSink()
    dialogue = Dialogue(VantagePoint(sink, "client", 0), sink, 0)
    dialogue.on_replies(b"354 \r\n", 0)
    dialogue.on_commands(b".\r\nNOOP\r\n", 0)
    assert sink.facts[1:] == [SmtpContent(0, "client", 0, 0, 0), SmtpCommand(0, "client", 0, 0, "NOOP")]


@pytest.mark.parametrize("octets", [b"\xff\x00\r\n", b"-\r\n\r\n", b"250", b"x" * 100_000])
def test_nonsense_is_told_or_passed_over(octets: bytes) -> None:
    sink = ListSink()
    dialogue = Dialogue(VantagePoint(sink, "server", 0), sink, 0)
    for _ in range(3):
        dialogue.on_commands(octets, 0)
        dialogue.on_replies(octets, 0)
    assert all(len(fact.line) <= 2 * LINE_MAX for fact in sink.facts if isinstance(fact, SmtpCommand))


def test_nobody_overhears_where_nobody_listens() -> None:
    client, _ = endpoints(DrawKey(1))
    assert overhear(client.connect("server", 0), 0) is None
