"""Mail data that is handed on as it comes: nothing is lost, nothing is kept, and what is refused is called off."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.smtp import (
    Extensions,
    Limits,
    MailAborted,
    MailData,
    MailReceived,
    MailStarted,
    Reply,
    Server,
    ServerEvent,
    SessionEnded,
)
from rudp_smtp.smtp.lines import encode_text
from tests.smtp.dialogue import cut, read_replies, say, server_events

LINE = b".a line that opens with a dot and goes on for a while\r\n"
LONG = LINE * 10_000
HELD = Limits(held_octets=4096)


def in_data(limits: Limits = HELD) -> Server:
    server = Server(domain="mx.example", limits=limits, extensions=Extensions(is_chunking=True))
    assert say(server, "EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<u@mx.example>", "DATA")[-1] == 354
    return server


def told(server: Server, chunks: list[bytes]) -> list[ServerEvent]:
    events: list[ServerEvent] = []
    for chunk in chunks:
        server.receive_data(chunk)
        events += server_events(server)
    return events


def body(events: list[ServerEvent]) -> bytes:
    return b"".join(event.octets for event in events if isinstance(event, MailData))


@pytest.mark.parametrize("size", [1000, 65536, 1 << 22])
def test_a_long_message_comes_in_pieces_and_waits_for_its_answer(size: int) -> None:
    server = in_data()
    events = told(server, cut(encode_text(LONG), [size]))
    started, *pieces, received = events
    assert isinstance(started, MailStarted)
    assert (started.envelope.reverse_path, started.envelope.mail_data) == ("a@b.example", b"")
    assert all(isinstance(piece, MailData) for piece in pieces)
    assert received == MailReceived(started.envelope, is_streamed=True)
    assert body(events) == LONG
    assert server.is_waiting
    assert server.data_to_send() == b""
    server.accept_mail()
    assert [reply.code for reply in read_replies(server.data_to_send())] == [250]


def test_a_long_message_begins_with_what_its_header_says() -> None:
    started, *_, received = told(in_data(), cut(encode_text(b"TLS-Required: No\r\n\r\n" + LONG), [1000]))
    assert isinstance(started, MailStarted)
    assert isinstance(received, MailReceived)
    assert started.envelope.is_tls_optional
    assert received.envelope.is_tls_optional


def test_a_short_message_comes_whole() -> None:
    (event,) = told(in_data(), [encode_text(LINE)])
    assert isinstance(event, MailReceived)
    assert not event.is_streamed
    assert event.envelope.mail_data == LINE


def test_of_a_long_message_little_is_ever_held() -> None:
    server = in_data()
    came = gone = 0
    for chunk in cut(encode_text(LONG), [8192]):
        came += len(chunk)
        gone += len(body(told(server, [chunk])))
        assert came - gone < 100_000


def test_what_is_refused_halfway_is_called_off_once_and_swallowed() -> None:
    for defect, code in ((b"a\nb\r\n", 550), (b"x" * 2000 + b"\r\n", 550)):
        server = in_data()
        events = told(server, cut(encode_text(LONG).removesuffix(b".\r\n") + defect + encode_text(LONG), [65536]))
        assert [type(event) for event in events].count(MailAborted) == 1
        assert isinstance(events[-1], MailAborted)
        assert [reply.code for reply in read_replies(server.data_to_send())] == [code]
        assert say(server, "MAIL FROM:<>") == [250]


def test_a_message_over_the_size_limit_is_called_off() -> None:
    server = in_data(Limits(held_octets=4096, message_octets=100_000))
    events = told(server, cut(encode_text(LONG), [65536]))
    assert isinstance(events[-1], MailAborted)
    assert len(body(events)) <= 100_000
    assert [reply.code for reply in read_replies(server.data_to_send())] == [552]


def test_a_stream_that_ends_halfway_calls_the_message_off() -> None:
    server = in_data()
    events = told(server, [LONG])
    server.receive_eof()
    events += server_events(server)
    assert [type(event) for event in events[-2:]] == [MailAborted, SessionEnded]


def test_chunks_are_handed_on_too_and_rset_calls_them_off() -> None:
    for last, expected in ((b"BDAT 0 LAST\r\n", MailReceived), (b"RSET\r\n", MailAborted)):
        server = Server(domain="mx.example", limits=HELD, extensions=Extensions(is_chunking=True))
        say(server, "EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<u@mx.example>")
        chunk = b"BDAT %d\r\n" % len(LONG) + LONG
        events = told(server, cut(chunk * 2 + last, [65536]))
        assert body(events) == LONG * 2
        assert isinstance(events[0], MailStarted)
        assert isinstance(events[-1], expected)


def test_a_deadline_in_the_middle_of_a_message_calls_it_off() -> None:
    server = Server(domain="mx.example", limits=HELD, deadline=1000)
    say(server, "EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<u@mx.example>", "DATA")
    told(server, [LONG])
    assert server.next_timeout() == 1000
    server.handle_timeout(999)
    assert server.data_to_send() == b""
    server.handle_timeout(1000)
    assert read_replies(server.data_to_send()) == [Reply(421, ("4.4.2 The session took too long",))]
    assert [type(event) for event in server_events(server)] == [MailAborted, SessionEnded]
    assert server.next_timeout() is None


def test_a_deadline_waits_for_the_answer_to_a_message() -> None:
    server = Server(domain="mx.example", deadline=1000)
    say(server, "EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<u@mx.example>", "DATA")
    server.receive_data(b"x\r\n.\r\n")
    server.handle_timeout(5000)
    assert server.data_to_send() == b""
    server.accept_mail()
    assert [reply.code for reply in read_replies(server.data_to_send())] == [250, 421]


@pytest.mark.parametrize(("fields", "code"), [(100, 250), (101, 554)])
def test_a_message_that_goes_round_in_circles_is_stopped(fields: int, code: int) -> None:
    message = b"received: by somebody\r\n" * fields + b"Subject: x\r\n\r\n" + b"Received: no more\r\n" * 200
    for size in (10, 100_000):
        server = in_data(Limits())
        events = told(server, cut(encode_text(message), [size]))
        if code == 250:
            assert isinstance(events[0], MailReceived)
        else:
            (reply,) = read_replies(server.data_to_send())
            assert (reply.code, reply.status) == (554, "5.4.6")


TEXTS = st.lists(st.sampled_from([b"\r\n", b".", b"x" * 50, b"..\r\n", b"\n", b"text\r\n", b"\r\n.\r\n"]), max_size=40)


def outcome(limits: Limits, chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    """The messages that came to their end, and what the server said."""
    server = in_data(limits)
    bodies, pieces = [], b""
    for chunk in chunks:
        for event in told(server, [chunk]):
            if isinstance(event, MailData):
                pieces += event.octets
            elif isinstance(event, MailReceived):
                bodies.append(pieces if event.is_streamed else event.envelope.mail_data)
                server.accept_mail()
    return bodies, server.data_to_send()


@settings(deadline=None)
@given(TEXTS, st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(0, 50))
def test_streamed_or_not_the_same_message_gets_the_same_answer(texts: list[bytes], sizes: list[int], held: int) -> None:
    chunks = cut(b"".join(texts) + b"\r\n.\r\n", sizes)
    expected = outcome(Limits(message_octets=700), chunks)
    assert outcome(Limits(message_octets=700, held_octets=held), chunks) == expected


@pytest.mark.parametrize("limits", [HELD, Limits(message_octets=100_000), Limits(received_fields=0)])
def test_what_passes_by_or_is_refused_takes_no_memory(limits: Limits) -> None:
    server = in_data(limits)
    if limits.received_fields == 0:
        server.receive_data(b"Received: by us\r\n\r\n")
    server.receive_data(LONG)
    list(server_events(server))
    tracemalloc.start()
    try:
        for _ in range(20):
            server.receive_data(LONG)
            list(server_events(server))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * len(LONG)
