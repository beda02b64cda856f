"""The client's half: pipelining, refusals of every kind, lost sessions, and any chunking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp import Client, ClientEvent, DeliveryReport, Envelope, Outcome, Reply, SessionEnded, SessionReady
from tests.smtp.dialogue import client_events, cut

EXTENDED = "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"
MAIL = Envelope("a@b.example", ("u@mx.example",), b"Subject: x\r\n\r\n.dot\r\n")
TWO = Envelope("a@b.example", ("u@mx.example", "v@mx.example"), b"text\r\n")
MAIL_GROUP = b"MAIL FROM:<a@b.example> SIZE=20\r\nRCPT TO:<u@mx.example>\r\nDATA\r\n"
MAIL_TEXT = b"Subject: x\r\n\r\n..dot\r\n.\r\n"
TWO_GROUP = b"MAIL FROM:<a@b.example> SIZE=6\r\nRCPT TO:<u@mx.example>\r\nRCPT TO:<v@mx.example>\r\nDATA\r\n"


def hear(client: Client, *lines: str) -> bytes:
    """Let the client hear lines one after the other; what it had to say and what it says to them."""
    said = client.data_to_send()
    for line in lines:
        client.receive_data(line.encode("latin-1") + (b"" if line.endswith("\r\n") else b"\r\n"))
        said += client.data_to_send()
    return said


def greeted(hello: str = EXTENDED, *, pipelining: bool = True) -> Client:
    """A client that has heard the greeting and the reply to its EHLO."""
    client = Client(domain="client.example", pipelining=pipelining)
    assert hear(client, "220 mx.example ESMTP") == b"EHLO client.example\r\n"
    assert hear(client, hello) == b""
    assert [type(event) for event in client_events(client)] == [SessionReady]
    return client


def reports(client: Client) -> list[DeliveryReport]:
    return [event for event in client_events(client) if isinstance(event, DeliveryReport)]


def report(client: Client) -> DeliveryReport:
    (only,) = reports(client)
    return only


def test_nothing_is_said_before_the_greeting() -> None:
    client = Client(domain="client.example")
    client.submit(MAIL, token=1)
    client.quit()
    assert client.data_to_send() == b""


def test_the_extensions_are_told_when_the_session_is_ready() -> None:
    client = Client(domain="client.example")
    hear(client, "220-mx.example", "220 at your service", "250-mx.example greets you", "250-size 1000", "250 X-Foo a b")
    (ready,) = client_events(client)
    assert ready == SessionReady("mx.example", {"SIZE": "1000", "X-FOO": "A B"})


def test_a_server_that_knows_no_ehlo_is_told_helo() -> None:
    client = Client(domain="client.example")
    client.submit(MAIL, token=1)
    assert hear(client, "220 old", "502 what?") == b"EHLO client.example\r\nHELO client.example\r\n"
    assert hear(client, "250 old") == b"MAIL FROM:<a@b.example>\r\n"
    assert hear(client, "250 ok") == b"RCPT TO:<u@mx.example>\r\n"
    assert hear(client, "250 ok") == b"DATA\r\n"
    assert hear(client, "354 go") == MAIL_TEXT
    hear(client, "250 ok")
    assert report(client).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    "lines", [("554 go away",), ("450 later",), ("220 mx", "450 later"), ("220 mx", "500 no", "501 no")]
)
def test_a_server_that_refuses_service_is_told_quit_and_nothing_else(lines: tuple[str, ...]) -> None:
    client = Client(domain="client.example")
    client.submit(MAIL, token=1)
    client.submit(TWO, token=2)
    assert hear(client, *lines).endswith(b"QUIT\r\n")
    assert [(r.token, r.outcome, str(r.reply)) for r in reports(client)] == [
        (1, Outcome.UNSENT, lines[-1]),
        (2, Outcome.UNSENT, lines[-1]),
    ]
    hear(client, "221 bye")
    assert client.done


def test_with_pipelining_a_group_leaves_in_one_flight_and_the_next_one_rides_behind_the_end_mark() -> None:
    client = greeted()
    client.submit(MAIL, token=1)
    client.submit(TWO, token=2)
    client.quit()
    assert client.data_to_send() == MAIL_GROUP
    assert hear(client, "250 ok", "250 ok", "354 go") == MAIL_TEXT + TWO_GROUP
    assert hear(client, "250 kept") == b""
    assert hear(client, "250 ok", "250 ok", "250 ok", "354 go") == b"text\r\n.\r\nQUIT\r\n"
    hear(client, "250 kept", "221 bye")
    one, two, end = client_events(client)
    assert one == DeliveryReport(1, Outcome.ACCEPTED, MAIL.forward_paths, (), Reply(250, ("kept",)))
    assert two == DeliveryReport(2, Outcome.ACCEPTED, TWO.forward_paths, (), Reply(250, ("kept",)))
    assert end == SessionEnded("QUIT", is_clean=True)
    assert client.done


@pytest.mark.parametrize(("hello", "pipelining"), [(EXTENDED, False), ("250-mx\r\n250 SIZE 1000\r\n", True)])
def test_without_pipelining_each_command_waits_for_the_reply_before(hello: str, pipelining: bool) -> None:
    client = greeted(hello, pipelining=pipelining)
    client.submit(TWO, token=1)
    client.quit()
    said = [client.data_to_send()]
    said += [hear(client, line) for line in ("250 ok", "250 ok", "250 ok", "354 go", "250 kept", "221 bye")]
    assert b"".join(said) == TWO_GROUP + b"text\r\n.\r\nQUIT\r\n"
    assert [flight.count(b"\r\n") for flight in said] == [1, 1, 1, 1, 2, 1, 0]
    assert client.done


def test_a_session_that_is_idle_serves_the_next_message() -> None:
    client = greeted()
    for token in (1, 2):
        client.submit(MAIL, token)
        assert client.data_to_send() == MAIL_GROUP
        assert hear(client, "250 ok", "250 ok", "354 go") == MAIL_TEXT
        assert client.unreported == 1
        hear(client, "250 ok")
        assert client.unreported == 0
    assert not client.done


def test_some_recipients_refused_are_reported_each_with_its_reply() -> None:
    client = greeted()
    client.submit(TWO, token=1)
    assert (
        hear(client, "250 ok", "450-4.2.1 busy", "450 4.2.1 still", "250 ok", "354 go") == TWO_GROUP + b"text\r\n.\r\n"
    )
    hear(client, "250 ok")
    assert report(client) == DeliveryReport(
        1,
        Outcome.ACCEPTED,
        ("v@mx.example",),
        (("u@mx.example", Reply(450, ("4.2.1 busy", "4.2.1 still"))),),
        Reply(250, ("ok",)),
    )


def test_all_recipients_refused_and_data_with_them_is_followed_by_rset_before_the_next_message() -> None:
    client = greeted()
    client.submit(TWO, token=1)
    client.data_to_send()
    assert hear(client, "250 ok", "550 5.1.1 no", "450 4.2.1 later", "554 no valid recipients") == b""
    refused = report(client)
    assert refused.outcome is Outcome.DEFERRED
    assert [reply.code for _, reply in refused.refused] == [550, 450]
    assert refused.reply.status == "4.2.1"
    client.submit(MAIL, token=2)
    assert client.data_to_send() == b"RSET\r\n" + MAIL_GROUP
    assert hear(client, "250 reset", "250 ok", "250 ok", "354 go") == MAIL_TEXT


def test_all_recipients_refused_but_data_accepted_is_answered_with_a_single_dot() -> None:
    # RFC 2920 section 3.1.
    client = greeted()
    client.submit(TWO, token=1)
    client.data_to_send()
    assert hear(client, "250 ok", "550 no", "550 no", "354 go") == b".\r\n"
    hear(client, "250 nothing delivered to nobody")
    refused = report(client)
    assert (refused.outcome, refused.accepted) == (Outcome.REFUSED, ())
    assert [reply.code for _, reply in refused.refused] == [550, 550]


def test_a_refused_sender_is_the_answer_for_every_recipient() -> None:
    client = greeted()
    client.submit(TWO, token=1)
    client.submit(MAIL, token=2)
    client.data_to_send()
    # No RSET: no transaction was begun.
    assert hear(client, "451 4.7.1 greylisted", "503 no", "503 no", "503 no") == MAIL_GROUP
    refused = report(client)
    assert refused.outcome is Outcome.DEFERRED
    assert [reply.code for _, reply in refused.refused] == [451, 451]


def test_without_pipelining_nothing_is_sent_behind_a_refused_sender() -> None:
    client = greeted(pipelining=False)
    client.submit(TWO, token=1)
    client.submit(MAIL, token=2)
    client.data_to_send()
    assert hear(client, "550 no") == b"MAIL FROM:<a@b.example> SIZE=20\r\n"
    assert report(client).outcome is Outcome.REFUSED


def test_without_pipelining_no_data_is_sent_for_nobody() -> None:
    client = greeted(pipelining=False)
    client.submit(TWO, token=1)
    client.quit()
    client.data_to_send()
    assert hear(client, "250 ok", "550 no", "550 no").endswith(b"QUIT\r\n")
    assert report(client).outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    ("line", "outcome"),
    [("451 4.3.0 later", Outcome.DEFERRED), ("554 5.6.0 never", Outcome.REFUSED), ("499 ?", Outcome.DEFERRED),
     ("599 ?", Outcome.REFUSED)],
)  # fmt: skip
def test_a_refused_data_command_or_message_is_judged_by_its_first_digit(line: str, outcome: Outcome) -> None:
    for before in (("250 ok", "250 ok"), ("250 ok", "250 ok", "354 go")):
        client = greeted()
        client.submit(MAIL, token=1)
        hear(client, *before, line)
        refused = report(client)
        assert (refused.outcome, str(refused.reply)) == (outcome, line)
        assert refused.refused == (("u@mx.example", refused.reply),)


def test_an_unlisted_positive_code_accepts() -> None:
    client = greeted()
    client.submit(MAIL, token=1)
    hear(client, "299 ok", "251 will forward", "399 go", "260 kept")
    assert report(client).outcome is Outcome.ACCEPTED


def test_a_message_over_the_servers_limit_is_refused_here_without_a_word_to_it() -> None:
    client = greeted()
    client.submit(Envelope("", ("u@mx.example",), b"x" * 499 + b"\r\n" + b"y" * 498 + b"\r\n"), token=1)
    assert client.data_to_send() == b""
    client.submit(Envelope("", ("u@mx.example",), b"x" * 499 + b"\r\n" + b"y" * 497 + b"\r\n"), token=2)
    assert client.data_to_send().startswith(b"MAIL FROM:<> SIZE=1000\r\n")
    refused = report(client)
    assert (refused.outcome, refused.is_local) == (Outcome.REFUSED, True)
    assert (refused.reply.code, refused.reply.status) == (552, "5.3.4")


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0"])
def test_a_server_without_a_fixed_limit_is_told_the_size(size: str) -> None:
    client = greeted(f"250-mx\r\n250 {size}\r\n")
    client.submit(Envelope("", ("u@mx.example",), b".\r\n" * 1000), token=1)
    # RFC 1870 section 3: the dots that transparency doubles do not count.
    assert client.data_to_send() == b"MAIL FROM:<> SIZE=3000\r\n"


def test_a_limit_is_read_however_many_spaces_stand_before_it() -> None:
    client = greeted("250-mx\r\n250 SIZE   5 ")
    client.submit(Envelope("", ("u@mx.example",), b"12345\r\n"), token=1)
    assert report(client).is_local


def test_eight_bit_mail_is_declared_where_it_may_go() -> None:
    client = greeted()
    client.submit(Envelope("", ("u@mx.example",), b"\xfc\r\n"), token=1)
    assert client.data_to_send().startswith(b"MAIL FROM:<> SIZE=3 BODY=8BITMIME\r\n")


def test_eight_bit_mail_is_refused_here_where_it_may_not_go_and_the_next_message_goes_on() -> None:
    client = greeted("250 mx")
    client.submit(Envelope("", ("u@mx.example",), b"\xfc\r\n"), token=1)
    client.submit(Envelope("", ("u@mx.example",), b"u\r\n"), token=2)
    assert client.data_to_send() == b"MAIL FROM:<>\r\n"
    refused = report(client)
    assert (refused.token, refused.reply.status, refused.is_local) == (1, "5.6.3", True)


DIALOGUE = ("220 mx", EXTENDED, "250 ok", "250 ok", "354 go", "250 kept", "250 ok", "250 ok", "250 ok", "354 go")


def fate(client: Client) -> list[tuple[int, Outcome]]:
    return [(r.token, r.outcome) for r in reports(client)]


def halfway(heard: int) -> Client:
    """A client with two messages that has heard so much of DIALOGUE."""
    client = Client(domain="client.example")
    client.submit(MAIL, token=1)
    client.submit(TWO, token=2)
    hear(client, *DIALOGUE[:heard])
    return client


@pytest.mark.parametrize("heard", range(len(DIALOGUE) + 1))
def test_a_stream_that_ends_leaves_every_message_reported_once(heard: int) -> None:
    client = halfway(heard)
    client.receive_eof()
    first = Outcome.UNSENT if heard < 5 else Outcome.UNCONFIRMED if heard == 5 else Outcome.ACCEPTED
    second = Outcome.UNSENT if heard < 10 else Outcome.UNCONFIRMED
    assert fate(client) == [(1, first), (2, second)]
    assert client.done
    assert client.unreported == 0


@pytest.mark.parametrize("heard", range(len(DIALOGUE) + 1))
def test_421_at_any_time_ends_the_session(heard: int) -> None:
    client = halfway(heard)
    hear(client, "421 4.3.2 shutting down")
    # In the place of the end mark's reply, 421 is the answer to that very message.
    first = Outcome.UNSENT if heard < 5 else Outcome.DEFERRED if heard == 5 else Outcome.ACCEPTED
    second = Outcome.UNSENT if heard < 10 else Outcome.DEFERRED
    assert fate(client) == [(1, first), (2, second)]
    assert client.done


@pytest.mark.parametrize("is_sent", [False, True])
@pytest.mark.parametrize("last_word", ["", "421 4.3.2 closing"])
def test_a_recipient_that_was_refused_stays_refused_when_the_session_dies(is_sent: bool, last_word: str) -> None:
    client = greeted()
    client.submit(TWO, token=1)
    hear(client, "250 ok", "550 5.1.1 no such user", "250 ok", *(["354 go"] if is_sent else []))
    if last_word:
        hear(client, last_word)
    client.receive_eof()
    told = report(client)
    refusals = dict(told.refused)
    assert str(refusals["u@mx.example"]) == "550 5.1.1 no such user"
    assert refusals["v@mx.example"].is_transient
    assert told.refused_here == (() if last_word else ("v@mx.example",))
    assert told.reply == refusals["v@mx.example"]
    sent = Outcome.DEFERRED if last_word else Outcome.UNCONFIRMED
    assert told.outcome is (sent if is_sent else Outcome.UNSENT)


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        (("550 5.7.1 not you",), Outcome.REFUSED),
        (("250 ok", "550 5.1.1 no", "550 5.1.1 no"), Outcome.REFUSED),
        (("250 ok", "550 5.1.1 no", "450 4.2.1 later"), Outcome.DEFERRED),
        (("250 ok", "550 5.1.1 no"), Outcome.UNSENT),
        (("250 ok",), Outcome.UNSENT),
    ],
    ids=["sender", "all", "now", "one", "none"],
)
def test_where_everybody_was_refused_the_end_of_the_session_changes_nothing(
    replies: tuple[str, ...], outcome: Outcome
) -> None:
    client = greeted()
    client.submit(TWO, token=1)
    hear(client, *replies)
    client.receive_eof()
    told = report(client)
    assert (told.outcome, told.is_local) == (outcome, outcome is Outcome.UNSENT)


@pytest.mark.parametrize(
    ("heard", "line"),
    [(0, "354 what"), (0, "what"), (1, "250-a\r\n251 b"), (2, "354 go"), (3, "354 go"), (4, "250 ok"), (5, "354 go"),
     (5, "100 wait"), (5, "250 a\nb"), (5, "2" * 10_000)],
)  # fmt: skip
def test_a_server_that_breaks_the_protocol_ends_the_session(heard: int, line: str) -> None:
    client = halfway(heard)
    hear(client, line)
    *told, end = client_events(client)
    assert isinstance(end, SessionEnded)
    assert end.reason.startswith("the server broke the protocol: ")
    outcomes = [event.outcome for event in told if isinstance(event, DeliveryReport)]
    assert outcomes == [Outcome.UNCONFIRMED if heard == 5 else Outcome.UNSENT, Outcome.UNSENT]


@pytest.mark.parametrize("pieces", [[b"2" * 5_000], [b"2"] * 5_000, [b"250-and on\r\n"] * 200, [b"250-x\r\n" * 200]])
def test_a_reply_that_does_not_end_ends_the_session(pieces: list[bytes]) -> None:
    client = halfway(5)
    for piece in pieces:
        client.receive_data(piece)
    assert client.done
    assert fate(client) == [(1, Outcome.UNCONFIRMED), (2, Outcome.UNSENT)]


def test_a_reply_to_no_command_and_a_refused_rset_end_the_session() -> None:
    idle = greeted()
    hear(idle, "250 what for?")
    assert idle.done
    abandoned = greeted()
    abandoned.submit(MAIL, token=1)
    abandoned.submit(MAIL, token=2)
    hear(abandoned, "250 ok", "550 no", "554 no", "500 RSET?")
    assert abandoned.done


@pytest.mark.parametrize(
    ("envelope", "message"),
    [
        (Envelope("a@b", (), b""), "without a forward-path"),
        (Envelope("a@b>\r\nRCPT TO:<x@y", ("u@v",), b""), "address"),
        (Envelope("a@b", ("u@v\0",), b""), "address"),
        (Envelope("a@b", ("",), b""), "address"),
        (Envelope("jür\u200bgen@b", ("u@v",), b""), "address"),
        (Envelope("a@b", ("a" * 64 + "@" + ".".join(["b" * 63] * 3), "u@v"), b""), "longer than 256"),
        (Envelope("a@b", ("u@v",), b"no end"), "CRLF"),
        (Envelope("a@b", ("u@v",), b"one\r\ntwo\nthree\r\n"), "bare LF in line 2"),
        (Envelope("a@b", ("u@v",), b"one\r\ntwo\rthree\r\n"), "bare CR in line 2"),
        (Envelope("a@b", ("u@v",), b"\0\r\n"), "NUL in line 1"),
        (Envelope("a@b", ("u@v",), b"one\r\n" + b"x" * 999 + b"\r\n"), "more than 1000 octets in line 2"),
    ],
)
def test_what_smtp_cannot_carry_is_refused_at_the_call(envelope: Envelope, message: str) -> None:
    client = greeted()
    with pytest.raises(LocalProtocolError, match=message):
        client.submit(envelope, token=1)
    assert client.data_to_send() == b""
    assert client.unreported == 0


@pytest.mark.parametrize("domain", ["", "a b", "a\r\nMAIL FROM:<>", "a\0", "ä.example"])
def test_a_client_has_a_domain(domain: str) -> None:
    with pytest.raises(LocalProtocolError):
        Client(domain=domain)


def test_nothing_can_be_submitted_after_quit_or_the_end() -> None:
    quitting = greeted()
    quitting.quit()
    assert quitting.data_to_send() == b"QUIT\r\n"
    ended = greeted()
    ended.receive_eof()
    for client in (quitting, ended):
        with pytest.raises(LocalProtocolError):
            client.submit(MAIL, token=1)
    ended.quit()
    assert ended.data_to_send() == b""


REPLIES = st.lists(
    st.sampled_from(
        [b"220 mx\r\n", EXTENDED.encode(), b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n",
         b"354 go\r\n", b"550 no\r\n", b"451 later\r\n", b"421 bye\r\n", b"250-half", b"\r\n", b"\n", b"\xff", b"2",
         b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n550 no\r\n354 go\r\n", b"354 go\r\n250 kept\r\n"]
    ),
    max_size=30,
)  # fmt: skip
GREETED = st.sampled_from([[], [b"220 mx\r\n", EXTENDED.encode()], [b"220 mx\r\n", b"250 mx\r\n"]])
FLIGHTS = st.builds(list.__add__, GREETED, REPLIES)


def drive(flights: list[bytes], sizes: list[int] | None = None, *, pipelining: bool) -> tuple[bytes, list[ClientEvent]]:
    """All that a client with three messages says and tells when it hears these flights, cut, and then the end.

    What it says leaves behind each flight, so that the server's next one can be an answer to it.
    """
    client = Client(domain="client.example", pipelining=pipelining)
    for token, envelope in enumerate((MAIL, TWO, MAIL)):
        client.submit(envelope, token)
    client.quit()
    said = b""
    for flight in flights:
        for chunk in cut(flight, sizes or [len(flight)]):
            client.receive_data(chunk)
        said += client.data_to_send()
    client.receive_eof()
    return said, client_events(client)


@given(FLIGHTS, st.lists(st.integers(1, 20), min_size=1, max_size=5), st.booleans())
def test_a_session_does_not_depend_on_where_the_stream_is_cut(
    flights: list[bytes], sizes: list[int], pipelining: bool
) -> None:
    expected = drive(flights, pipelining=pipelining)
    assert drive(flights, sizes, pipelining=pipelining) == expected
    assert drive(flights, [1], pipelining=pipelining) == expected


@given(FLIGHTS | st.lists(st.binary(min_size=1, max_size=200), max_size=3), st.booleans())
def test_whatever_a_server_says_each_message_is_reported_once_and_each_recipient_in_it(
    flights: list[bytes], pipelining: bool
) -> None:
    said, events = drive(flights, pipelining=pipelining)
    told = [event for event in events if isinstance(event, DeliveryReport)]
    assert sorted(event.token for event in told) == [0, 1, 2]
    for event in told:
        envelope = (MAIL, TWO, MAIL)[event.token]
        assert sorted([*event.accepted, *(path for path, _ in event.refused)]) == sorted(envelope.forward_paths)
        assert bool(event.accepted) == (event.outcome is Outcome.ACCEPTED)
    assert isinstance(events[-1], SessionEnded)
    # Nothing counts as accepted, or as perhaps arrived, that never left.
    arrived = [event for event in told if event.outcome in (Outcome.ACCEPTED, Outcome.UNCONFIRMED)]
    assert len(arrived) <= said.count(MAIL_TEXT) + said.count(b"\r\ntext\r\n.\r\n")


def test_a_reply_that_comes_with_354_is_no_answer_to_mail_data_that_has_not_left() -> None:
    client = greeted()
    client.submit(MAIL, token=1)
    assert client.data_to_send() == MAIL_GROUP
    client.receive_data(b"250 ok\r\n250 ok\r\n354 go\r\n250 kept, whatever it is\r\n")
    assert client.data_to_send() == b""
    assert report(client).outcome is Outcome.UNSENT
    assert client.done


def test_421_that_comes_with_354_means_that_the_mail_data_never_leaves() -> None:
    client = greeted()
    client.submit(MAIL, token=1)
    client.data_to_send()
    client.receive_data(b"250 ok\r\n250 ok\r\n354 go\r\n421 or rather not\r\n")
    assert client.data_to_send() == b""
    assert report(client).outcome is Outcome.UNSENT


def test_a_server_that_answers_ehlo_before_it_is_asked_is_not_believed() -> None:
    client = Client(domain="client.example")
    client.submit(MAIL, token=1)
    client.receive_data(b"220 mx\r\n" + EXTENDED.encode() + b"250 ok\r\n250 ok\r\n354 go\r\n250 kept\r\n")
    assert client.data_to_send() == b""
    assert report(client).outcome is Outcome.UNSENT


def early(*, pipelining: bool = True) -> Client:
    return Client(domain="client.example", pipelining=pipelining, early_ehlo=True)


@pytest.mark.parametrize("pipelining", [True, False])
def test_an_early_ehlo_does_not_wait_for_the_greeting_and_nothing_rides_with_it(pipelining: bool) -> None:
    client = early(pipelining=pipelining)
    client.submit(MAIL, token=1)
    client.quit()
    assert client.data_to_send() == b"EHLO client.example\r\n"
    assert hear(client, "220 mx.example ESMTP") == b""
    assert hear(client, EXTENDED).startswith(b"MAIL FROM:")


def test_the_greeting_and_the_answer_to_an_early_ehlo_may_come_together() -> None:
    client = early()
    client.submit(MAIL, token=1)
    client.data_to_send()
    client.receive_data(b"220 mx.example ESMTP\r\n" + EXTENDED.encode())
    assert client.data_to_send() == MAIL_GROUP
    assert [type(event) for event in client_events(client)] == [SessionReady]


def test_a_server_that_knows_no_early_ehlo_is_told_helo() -> None:
    client = early()
    client.submit(MAIL, token=1)
    assert hear(client, "220 old", "500 what?") == b"EHLO client.example\r\nHELO client.example\r\n"
    assert hear(client, "250 old") == b"MAIL FROM:<a@b.example>\r\n"


@pytest.mark.parametrize("answer", ["503 no", "250 mx.example"])
def test_a_greeting_that_refuses_service_leaves_an_early_ehlo_without_effect(answer: str) -> None:
    client = early()
    client.submit(MAIL, token=1)
    assert hear(client, "554 go away") == b"EHLO client.example\r\nQUIT\r\n"
    assert report(client).outcome is Outcome.UNSENT
    assert hear(client, answer) == b""
    assert not client.done
    assert hear(client, "221 bye") == b""
    assert client.done
    assert client_events(client) == [SessionEnded("the server refused service: 554 go away", True)]


def test_421_in_answer_to_an_early_ehlo_ends_the_session_and_the_mail_is_unsent() -> None:
    client = early()
    client.submit(MAIL, token=1)
    hear(client, "220 mx.example", "421 4.7.0 too early")
    assert client.done
    assert report(client).outcome is Outcome.UNSENT
