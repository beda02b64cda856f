"""CHUNKING and BINARYMIME at the server (RFC 3030): its examples, what is swallowed, and any cutting."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.smtp import BodyType, Envelope, Extensions, Limits, MailReceived, Server, SessionEnded
from tests.smtp.dialogue import accept_all, cut, feed, read_replies, say, server_events

BINARY = bytes(range(256)) * 4
BEGUN = ("EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<u@mx.example>")


def chunking(limits: Limits | None = None) -> Server:
    return Server(domain="mx.example", limits=limits, extensions=Extensions(is_chunking=True))


def begun(limits: Limits | None = None) -> Server:
    server = chunking(limits)
    assert say(server, *BEGUN) == [220, 250, 250, 250]
    return server


def talk(server: Server, octets: bytes) -> tuple[list[int], list[Envelope]]:
    server.receive_data(octets)
    envelopes = accept_all(server)
    return [reply.code for reply in read_replies(server.data_to_send())], envelopes


def test_chunking_and_binarymime_are_announced() -> None:
    server = chunking()
    server.data_to_send()
    server.receive_data(b"EHLO c\r\n")
    assert read_replies(server.data_to_send())[0].lines[-2:] == ("CHUNKING", "BINARYMIME")


def test_the_simple_chunking_of_rfc_3030_section_4_1() -> None:
    server = chunking()
    say(server, "EHLO cnri.reston.va.us", "MAIL FROM:<Sam@Random.com>", "RCPT TO:<Susan@mx.example>")
    codes, envelopes = talk(server, b"BDAT 86 LAST\r\n" + b"To: Susan@random.com\r\n" * 3 + b"x" * 18 + b"\r\n")
    assert codes == [250]
    assert [len(envelope.mail_data) for envelope in envelopes] == [86]
    assert talk(server, b"QUIT\r\n") == ([221], [])


def test_the_pipelined_binarymime_of_rfc_3030_section_4_2() -> None:
    server = chunking()
    say(server, "EHLO cnri.reston.va.us")
    codes, envelopes = talk(
        server,
        b"MAIL FROM:<ned@ymir.claremont.edu> BODY=BINARYMIME\r\nRCPT TO:<gvaudre@mx.example>\r\n"
        b"RCPT TO:<jstewart@mx.example>\r\nBDAT 1000\r\n" + (BINARY * 2)[:1000] + b"BDAT 24 LAST\r\n" + BINARY[-24:] +
        b"QUIT\r\n",
    )  # fmt: skip
    assert codes == [250, 250, 250, 250, 250, 221]
    (envelope,) = envelopes
    assert envelope.mail_data == BINARY[:1000] + BINARY[-24:]
    assert envelope.body is BodyType.BINARY_MIME
    assert envelope.forward_paths == ("gvaudre@mx.example", "jstewart@mx.example")


def test_dots_mean_nothing_in_a_chunk() -> None:
    text = b".\r\n..\r\n.x\r\n\r\n.\r\n"
    codes, envelopes = talk(begun(), b"BDAT %d LAST\r\n" % len(text) + text + b"NOOP\r\n")
    assert codes == [250, 250]
    assert [envelope.mail_data for envelope in envelopes] == [text]


def test_an_empty_last_chunk_ends_a_message_and_an_empty_message_is_one() -> None:
    assert talk(begun(), b"BDAT 3\r\nx\r\nBDAT 0\r\nbdat 0 last\r\n")[1][0].mail_data == b"x\r\n"
    assert talk(begun(), b"BDAT 0 LAST\r\n")[1][0].mail_data == b""


@pytest.mark.parametrize(
    ("before", "codes"),
    [
        ((), [503]),
        (BEGUN[:1], [503]),
        (BEGUN[:2], [554]),
        ((*BEGUN, "RSET"), [503]),
        ((*BEGUN, "EHLO c"), [503]),
        ((*BEGUN, "DATA", "."), [503]),
        (("EHLO c", "MAIL FROM:<a@b.example> SIZE=99999999999", "RCPT TO:<u@mx.example>"), [503]),
    ],
)
def test_the_octets_of_a_refused_chunk_are_swallowed_and_never_obeyed(
    before: tuple[str, ...], codes: list[int]
) -> None:
    hidden = b"MAIL FROM:<evil@b.example>\r\nQUIT\r\n"
    for size in (1, 7, 1000):
        server = chunking()
        say(server, *before)
        heard = []
        for piece in cut(b"BDAT %d LAST\r\n" % len(hidden) + hidden + b"NOOP\r\n", [size]):
            heard += talk(server, piece)[0]
        assert heard == [*codes, 250]
        assert not server.done


def test_data_after_bdat_and_bdat_after_the_last_chunk_are_out_of_order() -> None:
    server = begun()
    assert talk(server, b"BDAT 3\r\nx\r\nDATA\r\nMAIL FROM:<>\r\nRCPT TO:<u@mx.example>\r\nNOOP\r\n")[0] == [
        250, 503, 503, 503, 250,
    ]  # fmt: skip
    codes, envelopes = talk(server, b"BDAT 0 LAST\r\nBDAT 3 LAST\r\nxyzRSET\r\n")
    assert codes == [250, 503, 250]
    assert [envelope.mail_data for envelope in envelopes] == [b"x\r\n"]


def test_rset_between_chunks_forgets_them() -> None:
    codes, envelopes = talk(begun(), b"BDAT 3\r\nx\r\nRSET\r\nBDAT 3 LAST\r\ny\r\n")
    assert (codes, envelopes) == ([250, 250, 503], [])


@pytest.mark.parametrize("line", ["BDAT", "BDAT x", "BDAT -1", "BDAT 5 LAST x", "BDAT 5 FIRST", "BDAT " + "9" * 21])
def test_a_chunk_without_a_size_ends_the_session(line: str) -> None:
    server = begun()
    assert talk(server, line.encode() + b"\r\nMAIL FROM:<evil@b.example>\r\n") == ([501, 421], [])
    assert server.done


def test_binarymime_needs_bdat_and_bdat_needs_no_binarymime() -> None:
    server = chunking()
    lines = ("EHLO c", "MAIL FROM:<a@b.example> BODY=BINARYMIME", "RCPT TO:<u@mx.example>", "DATA", "NOOP")
    assert say(server, *lines) == [220, 250, 250, 250, 503, 250]
    assert talk(server, b"BDAT 2 LAST\r\n\0\n")[0] == [250]
    assert say(Server(domain="mx.example"), *lines[:2]) == [220, 250, 501]


@pytest.mark.parametrize(
    ("text", "code"),
    [(b"a\nb\r\n", 550), (b"a\rb\r\n", 550), (b"\0\r\n", 550), (b"no end", 550), (b"half\r", 550),
     (b"x" * 999 + b"\r\n", 550), (b"fine\r\n", 250)],
)  # fmt: skip
def test_what_is_not_declared_binary_is_text_however_it_is_cut_into_chunks(text: bytes, code: int) -> None:
    for size in (1, 2, 3, 5000):
        server = begun(Limits(idle_commands=2 * len(text) + 10))  # chunks of an octet are a flood
        chunks = [b"BDAT %d\r\n" % len(piece) + piece for piece in cut(text, [size])]
        codes, envelopes = talk(server, b"".join(chunks) + b"BDAT 0 LAST\r\nNOOP\r\n")
        assert codes[-1] == 250
        assert code in codes[:-1]
        assert len(envelopes) == (code == 250)
        # Behind the refused chunk everything is out of order, and none of it is held against the client.
        assert set(codes[:-1]) <= ({250, 550, 503} if code == 550 else {250})


def test_a_size_over_the_limit_is_refused_by_the_chunk_that_exceeds_it() -> None:
    server = begun(Limits(message_octets=1000))
    chunk = b"BDAT 600\r\n" + b"x" * 598 + b"\r\n"
    assert talk(server, chunk * 2 + b"BDAT 0 LAST\r\nMAIL FROM:<>\r\n")[0] == [250, 552, 503, 250]


def test_a_flood_of_tiny_chunks_ends_the_session_and_a_long_message_in_chunks_does_not() -> None:
    assert talk(begun(), b"BDAT 1\r\nx" * 20_000)[0][-1] == 421
    codes, envelopes = talk(begun(), (b"BDAT 1000\r\n" + b"x" * 998 + b"\r\n") * 2000 + b"BDAT 0 LAST\r\n")
    assert set(codes) == {250}
    assert [len(envelope.mail_data) for envelope in envelopes] == [2_000_000]


def test_a_stream_that_ends_in_a_chunk_delivers_nothing() -> None:
    server = begun()
    server.receive_data(b"BDAT 100 LAST\r\nhalf a chunk\r\n")
    server.receive_eof()
    assert [type(event) for event in server_events(server)] == [SessionEnded]


SCRIPT = st.lists(
    st.sampled_from(
        [
            b"EHLO c\r\n", b"MAIL FROM:<a@b>\r\n", b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n",
            b"RCPT TO:<u@mx.example>\r\n", b"RCPT TO:<x@y>\r\n", b"DATA\r\n", b".\r\n",
            b"BDAT 0 LAST\r\n", b"BDAT 4\r\n", b"BDAT 9 LAST\r\n",
            b"BDAT 700\r\n", b"BDAT x\r\n", b"RSET\r\n", b"NOOP\r\n", b"text\r\n", b"\r", b"\n", b"\0\xff", b"x" * 300,
            b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@mx.example>\r\nBDAT 6\r\nText\r\n", b"QUIT\r\n",
        ]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip
SMALL = Limits(message_octets=600, text_line_octets=200, errors=15)


@settings(deadline=None, max_examples=200)
@given(SCRIPT, st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_a_session_with_chunks_does_not_depend_on_where_the_stream_is_cut(script: bytes, sizes: list[int]) -> None:
    expected = feed(chunking(SMALL), [script])
    assert feed(chunking(SMALL), cut(script, sizes)) == expected
    assert feed(chunking(SMALL), cut(script, [1])) == expected
    read_replies(expected[0])
    assert isinstance(expected[1][-1], SessionEnded)
    assert all(isinstance(event, MailReceived) for event in expected[1][:-1])
