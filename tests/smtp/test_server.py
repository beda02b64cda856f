"""The server's half: transcripts, order, limits, smuggling, and any chunking."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp import Envelope, Limits, MailReceived, Reply, Server, SessionEnded, StrayOctets
from tests.smtp.dialogue import accept_all, cut, feed, play, read_replies, say, server_events

KNOWN = {"Jones@foo.com", "Brown@foo.com", "u@mx.example"}


def known_only(forward_path: str) -> Reply | None:
    return None if forward_path in KNOWN else Reply(550, ("5.1.1 No such user here",))


def server(limits: Limits | None = None) -> Server:
    return Server(domain="mx.example", accepts=known_only, limits=limits)


def ready(limits: Limits | None = None) -> Server:
    """A server that was greeted with EHLO, its replies so far read."""
    fresh = server(limits)
    assert say(fresh, "EHLO client.example") == [220, 250]
    return fresh


def in_data(limits: Limits | None = None) -> Server:
    fresh = ready(limits)
    assert say(fresh, "MAIL FROM:<a@b.example>", "RCPT TO:<u@mx.example>", "DATA") == [250, 250, 354]
    return fresh


def test_a_typical_scenario_of_rfc_5321_appendix_d1() -> None:
    (envelope,) = play(
        server(),
        """
        S: 220
        C: EHLO bar.com
        S: 250
        C: MAIL FROM:<Smith@bar.com>
        S: 250
        C: RCPT TO:<Jones@foo.com>
        S: 250
        C: RCPT TO:<Green@foo.com>
        S: 550
        C: RCPT TO:<Brown@foo.com>
        S: 250
        C: DATA
        S: 354
        C: Blah blah blah...
        C: ...etc. etc. etc.
        C: .
        S: 250
        C: QUIT
        S: 221
        """,
    )
    # The second line opens with the dot that transparency would have doubled: the example's client did not.
    text = b"Blah blah blah...\r\n..etc. etc. etc.\r\n"
    assert envelope == Envelope("Smith@bar.com", ("Jones@foo.com", "Brown@foo.com"), text)
    assert (envelope.client_domain, envelope.is_extended) == ("bar.com", True)


def test_an_aborted_transaction_of_rfc_5321_appendix_d2() -> None:
    envelopes = play(
        server(),
        """
        S: 220
        C: EHLO bar.com
        S: 250
        C: MAIL FROM:<Smith@bar.com>
        S: 250
        C: RCPT TO:<Jones@foo.com>
        S: 250
        C: RCPT TO:<Green@foo.com>
        S: 550
        C: RSET
        S: 250
        C: QUIT
        S: 221
        """,
    )
    assert envelopes == []


def test_a_relayed_mail_of_rfc_5321_appendix_d3_with_a_source_route() -> None:
    (envelope,) = play(
        server(),
        """
        S: 220
        C: EHLO foo.com
        S: 250
        C: MAIL FROM:<JQP@bar.com>
        S: 250
        C: RCPT TO:<@foo.com:Jones@foo.com>
        S: 250
        C: DATA
        S: 354
        C: Date: Thu, 21 May 1998 05:33:29 -0700
        C:
        C: .
        S: 250
        C: QUIT
        S: 221
        """,
    )
    assert envelope.forward_paths == ("Jones@foo.com",)


def test_a_verifying_scenario_of_rfc_5321_appendix_d4_tells_nothing() -> None:
    play(
        server(),
        """
        S: 220
        C: EHLO bar.com
        S: 250
        C: VRFY Crispin
        S: 252
        C: MAIL FROM:<EAK@bar.com>
        S: 250
        C: EXPN list
        S: 502
        C: HELP
        S: 214
        C: NOOP
        S: 250
        C: QUIT
        S: 221
        """,
    )


def test_the_pipelined_dialogue_of_rfc_2920_section_4_is_answered_command_by_command() -> None:
    mx = server()
    mx.receive_data(b"EHLO dbc.mtview.ca.us\r\n")
    mx.data_to_send()
    mx.receive_data(
        b"MAIL FROM:<mrose@dbc.mtview.ca.us>\r\nRCPT TO:<ned@innosoft.com>\r\nRCPT TO:<dan@innosoft.com>\r\n"
        b"RCPT TO:<kvc@innosoft.com>\r\nDATA\r\n"
    )
    # Section 4's second example: every recipient is refused, and DATA properly with them.
    assert [reply.code for reply in read_replies(mx.data_to_send())] == [250, 550, 550, 550, 554]
    mx.receive_data(b"RSET\r\nMAIL FROM:<mrose@dbc.mtview.ca.us>\r\nRCPT TO:<u@mx.example>\r\nDATA\r\n")
    assert [reply.code for reply in read_replies(mx.data_to_send())] == [250, 250, 250, 354]
    mx.receive_data(b"mail\r\n.\r\nQUIT\r\n")
    assert mx.data_to_send() == b""
    assert [envelope.mail_data for envelope in accept_all(mx)] == [b"mail\r\n"]
    assert [reply.code for reply in read_replies(mx.data_to_send())] == [250, 221]


def test_the_extensions_are_announced_to_ehlo_and_not_to_helo() -> None:
    mx = server(Limits(message_octets=1_000_000))
    mx.data_to_send()
    mx.receive_data(b"EHLO client.example\r\n")
    (reply,) = read_replies(mx.data_to_send())
    assert reply.lines == ("mx.example", "PIPELINING", "SIZE 1000000", "8BITMIME", "ENHANCEDSTATUSCODES")
    mx.receive_data(b"HELO client.example\r\n")
    assert read_replies(mx.data_to_send()) == [Reply(250, ("mx.example",))]
    assert say(mx, "MAIL FROM:<a@b.example> SIZE=5") == [555]


def test_250_is_said_when_the_application_says_so_and_not_before() -> None:
    mx = in_data()
    mx.receive_data(b"mail\r\n.\r\nNOOP\r\n")
    assert mx.data_to_send() == b""
    assert mx.is_waiting
    mx.receive_data(b"NOOP\r\n")
    assert mx.data_to_send() == b""
    mx.accept_mail("2.6.0 Kept as 1234")
    assert mx.data_to_send().splitlines() == [b"250 2.6.0 Kept as 1234", b"250 2.0.0 OK", b"250 2.0.0 OK"]


def test_a_rejected_message_gets_its_reply_and_the_session_goes_on() -> None:
    mx = in_data()
    mx.receive_data(b"mail\r\n.\r\n")
    assert [type(event) for event in server_events(mx)] == [MailReceived]
    mx.reject_mail(Reply(452, ("4.3.1 Disk full",)))
    assert mx.data_to_send() == b"452 4.3.1 Disk full\r\n"
    assert say(mx, "DATA", "MAIL FROM:<>") == [503, 250]


@pytest.mark.parametrize("code", [250, 354, 421])
def test_what_does_not_refuse_is_not_said_as_a_refusal(code: int) -> None:
    mx = in_data()
    mx.receive_data(b"mail\r\n.\r\n")
    with pytest.raises(LocalProtocolError):
        mx.reject_mail(Reply(code, ("2.0.0 no refusal",)))
    mx.accept_mail()
    mx = Server(domain="mx.example", accepts=lambda path: Reply(code, ("2.0.0 no refusal",)))
    say(mx, "EHLO c", "MAIL FROM:<>")
    with pytest.raises(LocalProtocolError):
        say(mx, "RCPT TO:<u@mx.example>")
    assert mx.data_to_send() == b""


def test_an_answer_that_cannot_be_sent_leaves_the_message_waiting() -> None:
    mx = in_data()
    mx.receive_data(b"mail\r\n.\r\n")
    for text in ("two\r\nlines", "x" * 507):
        with pytest.raises(LocalProtocolError):
            mx.accept_mail(text)
    mx.accept_mail()
    with pytest.raises(LocalProtocolError, match="no message waits"):
        mx.accept_mail()


REACHED: dict[str, tuple[str, ...]] = {
    "connected": (),
    "ready": ("EHLO c",),
    "mail refused": ("EHLO c", "MAIL FROM:<a@b> SIZE=99999999999"),
    "mail": ("EHLO c", "MAIL FROM:<a@b>"),
    "rcpt": ("EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<u@mx.example>"),
    "after mail": ("EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<u@mx.example>", "DATA", "."),
    "after reset": ("EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<u@mx.example>", "RSET"),
    "after hello again": ("EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<u@mx.example>", "EHLO c"),
}
COMMANDS = ("EHLO c", "HELO c", "MAIL FROM:<a@b>", "RCPT TO:<u@mx.example>", "DATA", "RSET")
ORDER = {  # the codes that COMMANDS get where REACHED leads; NOOP, VRFY, HELP and QUIT are welcome everywhere
    "connected": (250, 250, 503, 503, 503, 250),
    "ready": (250, 250, 250, 503, 503, 250),
    "mail refused": (250, 250, 250, 503, 503, 250),
    "mail": (250, 250, 503, 250, 554, 250),
    "rcpt": (250, 250, 503, 250, 354, 250),
    "after mail": (250, 250, 250, 503, 503, 250),
    "after reset": (250, 250, 250, 503, 503, 250),
    "after hello again": (250, 250, 250, 503, 503, 250),
}


@pytest.mark.parametrize("place", REACHED)
def test_every_command_in_every_state_is_answered_by_the_table(place: str) -> None:
    for command, code in zip(COMMANDS, ORDER[place], strict=True):
        mx = server()
        say(mx, *REACHED[place])
        assert say(mx, command) == [code], command
    for command, code in (("NOOP", 250), ("VRFY x", 252), ("HELP", 214), ("FOO", 500), ("QUIT", 221)):
        mx = server()
        say(mx, *REACHED[place])
        assert say(mx, command) == [code], command


def test_after_quit_nothing_is_read() -> None:
    mx = ready()
    assert say(mx, "QUIT") == [221]
    assert mx.done
    assert say(mx, "NOOP") == []
    mx.receive_eof()
    mx.shut_down()
    assert mx.data_to_send() == b""


@pytest.mark.parametrize("stray", [b"\n", b"\r", b"\0"])
def test_a_stray_octet_in_a_command_is_refused(stray: bytes) -> None:
    mx = ready()
    mx.receive_data(b"NOOP" + stray + b"RSET\r\nNOOP\r\n")
    assert [reply.code for reply in read_replies(mx.data_to_send())] == [500, 250]


@pytest.mark.parametrize("mark", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\0.\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_smuggled_message_is_refused_with_the_message_that_hid_it(mark: bytes, size: int) -> None:
    mx = in_data()
    hidden = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<u@mx.example>\r\nDATA\r\nevil\r\n"
    for chunk in cut(b"Subject: one\r\n\r\nbody" + mark + hidden + b".\r\nNOOP\r\n", [size]):
        mx.receive_data(chunk)
    replies = read_replies(mx.data_to_send())
    assert [reply.code for reply in replies] == [550, 250]
    assert replies[0].status == "5.6.0"
    assert list(server_events(mx)) == []


def test_stray_octets_are_kept_where_the_operator_says_so_and_end_nothing() -> None:
    mx = in_data(Limits(stray_octets=StrayOctets.KEEP))
    mx.receive_data(b"a\n.\nb\r.\rc\0\r\n.\r\n")
    assert [envelope.mail_data for envelope in accept_all(mx)] == [b"a\n.\nb\r.\rc\0\r\n"]


def test_a_text_line_over_the_limit_is_refused_by_its_number() -> None:
    mx = in_data()
    mx.receive_data(b"short\r\n" + b"x" * 999 + b"\r\n.\r\n")
    assert mx.data_to_send() == b"550 5.6.0 Mail data with more than 1000 octets in line 2\r\n"


def test_an_empty_message_is_a_message() -> None:
    mx = in_data()
    mx.receive_data(b".\r\n")
    assert [envelope.mail_data for envelope in accept_all(mx)] == [b""]


def test_a_hundred_recipients_are_accepted_and_the_next_one_is_put_off() -> None:
    mx = Server(domain="mx.example")
    say(mx, "EHLO c", "MAIL FROM:<>")
    paths = tuple(f"user{i}@mx.example" for i in range(101))
    assert say(mx, *[f"RCPT TO:<{path}>" for path in paths]) == [250] * 100 + [452]
    mx.receive_data(b"DATA\r\n.\r\n")
    (envelope,) = accept_all(mx)
    assert envelope.forward_paths == paths[:100]


def test_a_size_declared_over_the_limit_is_refused_at_mail() -> None:
    mx = ready(Limits(message_octets=1000))
    assert say(mx, "MAIL FROM:<a@b> SIZE=1001") == [552]
    assert say(mx, "MAIL FROM:<a@b> SIZE=1000") == [250]


def test_a_size_over_the_limit_is_swallowed_to_its_end_and_refused_once() -> None:
    mx = in_data(Limits(message_octets=1000))
    for _ in range(100):
        mx.receive_data(b"x" * 98 + b"\r\n")
    assert mx.data_to_send() == b""
    mx.receive_data(b".\r\nNOOP\r\n")
    replies = read_replies(mx.data_to_send())
    assert [(reply.code, reply.status) for reply in replies] == [(552, "5.3.4"), (250, "2.0.0")]
    assert not list(server_events(mx))


def test_the_size_limit_counts_octets_before_transparency() -> None:
    # RFC 1870 section 3: neither the doubled dots nor the end mark count.
    mx = in_data(Limits(message_octets=900))
    mx.receive_data(b"..\r\n" * 300 + b".\r\n")
    assert [len(envelope.mail_data) for envelope in accept_all(mx)] == [900]
    mx = in_data(Limits(message_octets=899))
    mx.receive_data(b"..\r\n" * 300 + b".\r\n")
    assert accept_all(mx) == []


def test_eight_bit_mail_is_carried_as_it_is() -> None:
    mx = ready()
    say(mx, "MAIL FROM:<ned@ymir.claremont.edu> BODY=8BITMIME", "RCPT TO:<u@mx.example>", "DATA")
    mx.receive_data(b"gr\xfc\xdfe\xff\x80\r\n.\r\n")
    (envelope,) = accept_all(mx)
    assert envelope.mail_data == b"gr\xfc\xdfe\xff\x80\r\n"
    assert envelope.parameters == (("BODY", "8BITMIME"),)


def test_too_many_errors_end_the_session_with_421() -> None:
    mx = ready(Limits(errors=5))
    assert say(mx, *["FOO"] * 10) == [500, 500, 500, 500, 421]
    assert list(server_events(mx)) == []  # `say` has read the end of the session
    assert mx.done


def test_what_was_pipelined_behind_a_refused_mail_is_no_error_of_the_client() -> None:
    for refused in ("MAIL FROM:<a@b> SIZE=99999999999", "MAIL FROM:<a@b> FOO"):
        mx = ready()
        codes = say(mx, refused, *["RCPT TO:<u@mx.example>"] * 100, "DATA", "NOOP")
        assert codes[1:] == [503] * 101 + [250]


FLOODS = {
    "nothing": "NOOP\r\n",
    "hello": "EHLO c\r\n",
    "senders": "MAIL FROM:<a@b>\r\nRSET\r\n",
    "strangers": "RCPT TO:<x@elsewhere.example>\r\n",
    "refused messages": "RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@mx.example>\r\nDATA\r\nbare\rCR\r\n.\r\n",
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_of_commands_without_a_message_ends_the_session_with_421(flood: str) -> None:
    mx = ready()
    say(mx, "MAIL FROM:<a@b>" if flood.startswith("RCPT") else "NOOP")
    mx.receive_data(flood.encode() * 20_000)
    *_, last = read_replies(mx.data_to_send())
    assert last == Reply(421, ("4.7.0 Too many commands without a message",))
    assert mx.done


def test_a_long_session_that_delivers_is_no_flood() -> None:
    mx = ready()
    for _ in range(2000):
        mx.receive_data(b"MAIL FROM:<a@b>\r\nRCPT TO:<u@mx.example>\r\nDATA\r\nx\r\n.\r\n")
        mx.accept_mail()
    assert not mx.done


def test_unknown_recipients_are_no_errors_of_syntax_or_order() -> None:
    mx = ready()
    assert say(mx, "MAIL FROM:<>", *["RCPT TO:<x@mx.example>"] * 50, "DATA") == [250] + [550] * 50 + [554]


def test_only_local_recipients_are_accepted_unless_somebody_decides_otherwise() -> None:
    mx = Server(domain="mx.example", local_domains=("mx.example", "Other.Example"))
    say(mx, "EHLO c", "MAIL FROM:<>")
    paths = ("a@mx.example", "a@other.example", "a@elsewhere.example", "Postmaster", "a@mx.example.evil")
    assert say(mx, *[f"RCPT TO:<{path}>" for path in paths]) == [250, 250, 550, 250, 550]


def test_the_postmaster_of_a_local_domain_is_always_accepted() -> None:
    mx = Server(domain="mx.example", accepts=lambda path: Reply(550, ("5.1.1 Nobody lives here",)))
    say(mx, "EHLO c", "MAIL FROM:<>")
    paths = ("Postmaster", "POSTMASTER@MX.example", "postmaster@elsewhere.example", "a@mx.example")
    assert say(mx, *[f"RCPT TO:<{path}>" for path in paths]) == [250, 250, 550, 550]


def test_input_that_waits_for_the_application_is_bounded() -> None:
    mx = in_data(Limits(buffered_octets=1000))
    mx.receive_data(b"mail\r\n.\r\n")
    for _ in range(100):
        mx.receive_data(b"NOOP\r\n" * 10)
    assert len(accept_all(mx)) == 1
    assert [reply.code for reply in read_replies(mx.data_to_send())] == [250, 421]
    assert mx.done


def test_a_stream_that_ends_in_mail_data_delivers_nothing() -> None:
    mx = in_data()
    mx.receive_data(b"half a message\r\n")
    mx.receive_eof()
    (event,) = server_events(mx)
    assert isinstance(event, SessionEnded)
    assert not event.is_clean


def test_a_stream_that_ends_behind_the_end_mark_still_gets_its_answer() -> None:
    mx = in_data()
    mx.receive_data(b"mail\r\n.\r\nNOOP\r\n")
    mx.receive_eof()
    assert [type(event) for event in server_events(mx)] == [MailReceived]
    mx.accept_mail()
    assert [reply.code for reply in read_replies(mx.data_to_send())] == [250, 250]
    assert [type(event) for event in server_events(mx)] == [SessionEnded]
    assert mx.done


def test_shutting_down_waits_for_the_answer_to_a_message() -> None:
    idle, busy = ready(), in_data()
    idle.shut_down()
    assert read_replies(idle.data_to_send()) == [Reply(421, ("4.3.2 Service shutting down",))]
    busy.receive_data(b"mail\r\n.\r\n")
    busy.shut_down()
    assert busy.data_to_send() == b""
    busy.accept_mail()
    assert [reply.code for reply in read_replies(busy.data_to_send())] == [250, 421]


@pytest.mark.parametrize("domain", ["", "mx example\r\n", "ä.example"])
def test_a_server_has_a_domain(domain: str) -> None:
    with pytest.raises(LocalProtocolError):
        Server(domain=domain)


SCRIPT = st.lists(
    st.sampled_from(
        [
            b"EHLO c\r\n", b"HELO c\r\n", b"MAIL FROM:<a@b>\r\n", b"MAIL FROM:<a@b> SIZE=9999\r\n",
            b"RCPT TO:<u@mx.example>\r\n", b"RCPT TO:<x@y>\r\n", b"DATA\r\n", b".\r\n", b"text\r\n", b"..\r\n",
            b"RSET\r\n", b"NOOP\r\n", b"a\nb\r\n", b"\r", b"\n", b"\0", b"\xff", b"FOO\r\n",
            b"x" * 700 + b"\r\n", b"y" * 400, b"QUIT\r\n",
            b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@mx.example>\r\nDATA\r\n",
        ]
    ),
    max_size=40,
).map(b"".join)  # fmt: skip
SMALL = Limits(message_octets=600, text_line_octets=500, errors=15, recipients=3)


@settings(max_examples=300, deadline=None)
@given(SCRIPT, st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_a_session_does_not_depend_on_where_the_stream_is_cut(script: bytes, sizes: list[int]) -> None:
    expected = feed(server(SMALL), [script])
    assert feed(server(SMALL), cut(script, sizes)) == expected
    assert feed(server(SMALL), cut(script, [1])) == expected


@given(SCRIPT)
def test_every_reply_is_wellformed_and_every_session_ends_once(script: bytes) -> None:
    said, events = feed(server(SMALL), [script])
    assert all(200 <= reply.code <= 599 for reply in read_replies(said))
    assert [type(event) for event in events].count(SessionEnded) == 1
    assert isinstance(events[-1], SessionEnded)


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_random_octets_are_answered_and_never_raise(chunks: list[bytes]) -> None:
    for mx in (server(SMALL), in_data(SMALL)):
        said, events = feed(mx, chunks)
        read_replies(said)
        assert isinstance(events[-1], SessionEnded)


def said_to_early(*chunks: bytes) -> list[int]:
    """The codes of all that a server says to octets of a first flight."""
    mx = server()
    for chunk in chunks:
        mx.receive_data(chunk, is_early=True)
    assert not any(isinstance(event, MailReceived) for event in server_events(mx))
    return [reply.code for reply in read_replies(mx.data_to_send())]


def test_an_early_ehlo_is_answered_behind_the_greeting_and_the_session_goes_on() -> None:
    mx = server()
    mx.receive_data(b"EHLO client.example\r\n", is_early=True)
    assert [reply.code for reply in read_replies(mx.data_to_send())] == [220, 250]
    assert say(mx, "MAIL FROM:<a@b.example>", "RCPT TO:<u@mx.example>", "DATA", "x", ".") == [250, 250, 354, 250]


@pytest.mark.parametrize(
    "rest",
    [
        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\nDATA\r\nx\r\n.\r\n",
        b"MAIL FR",
        b"EHLO again.example\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"\n",
    ],
)
def test_whatever_comes_early_behind_ehlo_ends_the_session(rest: bytes) -> None:
    early = b"EHLO client.example\r\n" + rest
    assert said_to_early(early) == [220, 250, 421]
    assert said_to_early(*[early[i : i + 1] for i in range(len(early))]) == [220, 250, 421]


@pytest.mark.parametrize("line", [b"HELO client.example", b"MAIL FROM:<a@b.example>", b"RSET", b"QUIT", b"GET /", b""])
def test_whatever_comes_early_instead_of_ehlo_ends_the_session(line: bytes) -> None:
    assert said_to_early(line + b"\r\n") == [220, 421]


def test_an_ehlo_of_which_only_the_beginning_came_early_is_completed_later() -> None:
    mx = server()
    mx.receive_data(b"EHLO client.ex", is_early=True)
    assert say(mx, "ample", "MAIL FROM:<a@b.example>") == [220, 250, 250]


def test_before_ehlo_mail_is_out_of_order_however_it_is_pipelined() -> None:
    script = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\nDATA\r\nEHLO client.example\r\n"
    said, events = feed(server(), [script])
    assert [reply.code for reply in read_replies(said)] == [220, 503, 503, 503, 250]
    assert [type(event) for event in events] == [SessionEnded]
