"""What the client makes of what a server offers: chunks, sources, limits, notices, UTF-8, keys."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp import (
    BodyType,
    Client,
    DeliveryReport,
    Envelope,
    Extensions,
    Limits,
    MailSource,
    Notify,
    Outcome,
    RecipientDsn,
    Reply,
    Ret,
    Server,
    SessionEnded,
)
from tests.smtp.dialogue import client_events, converse, cut, whole

CHUNKING = "250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 CHUNKING\r\n"
MAIL = Envelope("a@b.example", ("u@mx.example",), b".x\r\n")
GROUP = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\nBDAT 4 LAST\r\n.x\r\n"
LONG = b".many a line with a dot\r\n" * 40_000
EVERYTHING = Extensions(
    is_chunking=True, is_smtputf8=True, is_dsn=True, is_limits=True, is_requiretls=True, is_idempotent=True
)


def hear(client: Client, *lines: str) -> bytes:
    said = client.data_to_send()
    for line in lines:
        client.receive_data(line.encode() + (b"" if line.endswith("\r\n") else b"\r\n"))
        said += client.data_to_send()
    return said


def greeted(hello: str = CHUNKING, *, pipelining: bool = True) -> Client:
    client = Client(domain="client.example", pipelining=pipelining)
    hear(client, "220 mx.example", hello)
    client_events(client)
    return client


def reports(client: Client) -> list[DeliveryReport]:
    return [event for event in client_events(client) if isinstance(event, DeliveryReport)]


def report(client: Client) -> DeliveryReport:
    (only,) = reports(client)
    return only


def server(extensions: Extensions = EVERYTHING, limits: Limits | None = None) -> Server:
    return Server(domain="mx.example", extensions=extensions, limits=limits, accepts=lambda path: None)


def pieces(data: bytes, size: int = 1000) -> MailSource:
    return MailSource(lambda: cut(data, [size]), len(data))


def test_a_short_message_leaves_in_one_flight_with_its_envelope() -> None:
    client = greeted()
    client.submit(MAIL, token=1)
    assert client.data_to_send() == GROUP
    hear(client, "250 ok", "250 ok", "250 kept")
    assert report(client).outcome is Outcome.ACCEPTED
    client.submit(MAIL, token=2)
    assert client.data_to_send() == GROUP


def test_the_next_message_is_preceded_by_rset_until_the_one_before_is_accepted() -> None:
    client = greeted()
    client.submit(MAIL, token=1)
    client.submit(MAIL, token=2)
    client.quit()
    assert client.data_to_send() == GROUP + b"RSET\r\n" + GROUP + b"QUIT\r\n"
    hear(client, "250 ok", "550 no", "554 nobody", "250 reset", "250 ok", "250 ok", "250 kept", "221 bye")
    assert [(r.token, r.outcome) for r in reports(client)] == [(1, Outcome.REFUSED), (2, Outcome.ACCEPTED)]
    assert client.done


def test_what_all_refuse_is_reported_and_the_next_message_still_goes() -> None:
    client = greeted()
    client.submit(MAIL, token=1)
    client.submit(MAIL, token=2)
    client.data_to_send()
    hear(client, "250 ok", "450 4.2.1 busy", "554 nobody", "250 reset", "250 ok", "250 ok", "250 kept")
    first, second = reports(client)
    assert (first.token, first.outcome, first.reply.code) == (1, Outcome.DEFERRED, 450)
    assert (second.token, second.outcome) == (2, Outcome.ACCEPTED)


def test_without_pipelining_every_command_and_chunk_waits() -> None:
    client = greeted("250-mx\r\n250 CHUNKING", pipelining=True)
    client.submit(MAIL, token=1)
    client.quit()
    said = [client.data_to_send()] + [hear(client, line) for line in ("250 ok", "250 ok", "250 kept", "221 bye")]
    assert said == [
        b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<u@mx.example>\r\n", b"BDAT 4 LAST\r\n.x\r\n", b"QUIT\r\n", b"",
    ]  # fmt: skip


def test_so_much_is_sent_ahead_of_answers_and_no_more() -> None:
    client = greeted()
    for token in range(100):
        client.submit(Envelope("", ("u@mx.example",), b"x" * 998 + b"\r\n" + b"y" * 998 + b"\r\n"), token)
    ahead = client.data_to_send()
    assert 60_000 < len(ahead) < 80_000
    assert converse(client, server())[0] == 0  # not before the first is answered


def test_a_long_message_waits_for_a_recipient_and_leaves_in_chunks() -> None:
    client = greeted()
    client.submit(Envelope("a@b.example", ("u@mx.example", "v@mx.example"), LONG), token=1)
    assert b"BDAT" not in client.data_to_send()
    assert hear(client, "250 ok", "250 ok") == b""
    said = hear(client, "550 no")
    assert said.startswith(b"BDAT 262144\r\n" + LONG[:100])
    second = client.data_to_send()
    assert second.startswith(b"BDAT 262144\r\n")
    assert client.data_to_send() == b""  # two are unanswered
    assert hear(client, "250 ok").startswith(b"BDAT 262144\r\n")
    assert hear(client, "250 ok").startswith(b"BDAT 213568 LAST\r\n")
    hear(client, "250 ok", "250 kept")
    told = report(client)
    assert (told.outcome, told.accepted) == (Outcome.ACCEPTED, ("u@mx.example",))


def test_a_long_message_that_nobody_gets_is_not_sent() -> None:
    client = greeted()
    client.submit(Envelope("a@b.example", ("u@mx.example",), LONG), token=1)
    client.submit(MAIL, token=2)
    client.data_to_send()
    assert hear(client, "250 ok", "550 no") == b"RSET\r\n" + GROUP
    assert report(client).outcome is Outcome.REFUSED


def test_a_refused_chunk_ends_the_message_and_the_rest_is_not_sent() -> None:
    client = greeted()
    client.submit(Envelope("a@b.example", ("u@mx.example",), LONG), token=1)
    client.submit(MAIL, token=2)
    hear(client, "250 ok", "250 ok")
    client.data_to_send()
    assert hear(client, "552 5.3.4 too big") == b"RSET\r\n" + GROUP
    told = report(client)
    assert (told.outcome, told.reply.code) == (Outcome.REFUSED, 552)
    hear(client, "503 second chunk", "250 reset", "250 ok", "250 ok", "250 kept")
    assert report(client).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("is_chunking", [True, False])
@pytest.mark.parametrize("is_source", [True, False])
def test_a_long_message_arrives_as_it_is(is_chunking: bool, is_source: bool) -> None:
    client = Client(domain="client.example")
    envelope = Envelope("a@b.example", ("u@mx.example",), b"" if is_source else LONG)
    client.submit(envelope, 1, pieces(LONG, 777) if is_source else None)
    client.submit(MAIL, 2)
    client.quit()
    _, envelopes = converse(client, server(Extensions(is_chunking=is_chunking)))
    assert [envelope.mail_data for envelope in envelopes] == [LONG, MAIL.mail_data]
    assert client.done


def test_of_a_source_little_is_read_ahead() -> None:
    for is_chunking in (True, False):
        drawn = 0

        def draw() -> Iterator[bytes]:
            nonlocal drawn
            while drawn < 10_000_000:
                drawn += 100_000
                yield (b"x" * 98 + b"\r\n") * 1000

        client = Client(domain="client.example")
        client.submit(Envelope("", ("u@mx.example",), b""), 1, MailSource(draw))
        mx = server(Extensions(is_chunking=is_chunking))
        sent = 0
        while not (question := client.data_to_send()) or sent < 9_000_000:
            sent += len(question)
            assert len(question) < 300_000
            assert drawn - sent < 1_000_000
            mx.receive_data(question)
            client.receive_data(mx.data_to_send())


@pytest.mark.parametrize("is_chunking", [True, False])
@pytest.mark.parametrize("defect", [b"a\nb\r\n", b"no end", b"x" * 2000 + b"\r\n"])
def test_a_source_that_smtp_cannot_carry_delivers_nothing(is_chunking: bool, defect: bytes) -> None:
    for before in (b"", LONG):
        client = Client(domain="client.example")
        client.submit(Envelope("", ("u@mx.example",), b""), 1, pieces(before + defect))
        client.submit(MAIL, 2)
        mx = server(Extensions(is_chunking=is_chunking))
        _, envelopes = converse(client, mx)
        client.receive_eof()
        first, second = reports(client)
        assert (first.token, first.outcome, first.is_local) == (1, Outcome.REFUSED, True)
        assert first.reply.status == "5.6.0"
        # Behind DATA nothing takes back what was sent but the end of the session.
        assert second.outcome is (Outcome.ACCEPTED if is_chunking else Outcome.UNSENT)
        assert envelopes == ([MAIL] if is_chunking else [])


def test_a_source_with_eight_bits_needs_8bitmime() -> None:
    for offered, outcome in (("250 8BITMIME", Outcome.ACCEPTED), ("250 HELP", Outcome.REFUSED)):
        client = greeted("250-mx\r\n" + offered)
        client.submit(Envelope("", ("u@mx.example",), b""), 1, pieces(b"\xfc\r\n"))
        hear(client, "250 ok", "250 ok", "354 go")
        if not client.done:
            hear(client, "250 kept")
        assert report(client).outcome is outcome


def test_a_source_that_is_over_the_servers_limit_is_not_opened() -> None:
    client = greeted("250-mx\r\n250 SIZE 1000")
    client.submit(Envelope("", ("u@mx.example",), b""), 1, MailSource(lambda: [b"x"][:0], 1001))
    assert report(client).reply.status == "5.3.4"


def test_an_empty_source_is_an_empty_message() -> None:
    for is_chunking in (True, False):
        client = Client(domain="client.example")
        client.submit(Envelope("", ("u@mx.example",), b""), 1, MailSource(tuple))
        _, envelopes = converse(client, server(Extensions(is_chunking=is_chunking)))
        assert [envelope.mail_data for envelope in envelopes] == [b""]


TEXTS = st.lists(st.sampled_from([b"\r\n", b".\r\n", b"..x\r\n", b"text\r\n", b"x" * 900 + b"\r\n"]), max_size=600)


@settings(deadline=None, max_examples=40)
@given(TEXTS.map(lambda lines: b"".join(lines) * 3), st.integers(1, 5000), st.booleans())
def test_what_a_source_holds_arrives_whatever_its_pieces(text: bytes, size: int, is_chunking: bool) -> None:
    client = Client(domain="client.example")
    client.submit(Envelope("", ("u@mx.example",), b""), 1, pieces(text, size))
    _, envelopes = converse(client, server(Extensions(is_chunking=is_chunking)))
    assert [envelope.mail_data for envelope in envelopes] == [text]


def test_recipients_are_split_as_the_server_likes_them() -> None:
    paths = tuple(f"u{i}@mx.example" for i in range(7))
    for source in (None, pieces(LONG)):
        client = Client(domain="client.example")
        client.submit(Envelope("a@b.example", paths, b"" if source else b"x\r\n"), 1, source)
        client.quit()
        _, envelopes = converse(client, server(limits=Limits(recipients=3)))
        assert [envelope.forward_paths for envelope in envelopes] == [paths[:3], paths[3:6], paths[6:]]
        told = report(client)
        assert (told.outcome, told.accepted, told.refused) == (Outcome.ACCEPTED, paths, ())


def test_recipients_that_the_server_has_no_room_for_keep_their_notices_in_the_next_transaction() -> None:
    client = greeted("250-mx\r\n250 DSN")
    client.submit(NOTICES, token=1)
    client.quit()
    hear(client, "250 ok", "452 4.5.3 too many", "250 ok", "354 go")
    again = hear(client, "250 kept")
    assert again.startswith(b"MAIL FROM:<a@b.example> RET=HDRS ENVID=a+20b+2Bc\r\n")
    assert hear(client, "250 ok") == b"RCPT TO:<u@mx.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;u+3D1@x\r\n"
    hear(client, "250 ok", "354 go", "250 kept", "221 bye")
    assert report(client).accepted == ("v@mx.example", "u@mx.example")
    assert client.done


@pytest.mark.parametrize("replies", [("452 4.3.1 disk full",) * 2, ("452 4.5.3 too many",) * 2])
def test_where_there_is_room_for_nobody_the_message_is_put_off(replies: tuple[str, ...]) -> None:
    client = greeted("250 mx")
    client.submit(NOTICES, token=1)
    hear(client, "250 ok", *replies)
    assert report(client).outcome is Outcome.DEFERRED


def test_recipients_are_split_by_their_domains_too() -> None:
    client = greeted("250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTDOMAINMAX=1 RCPTMAX=0 MAILMAX=x")
    client.submit(Envelope("", ("a@x", "b@X", "c@y"), b""), token=1)
    assert client.data_to_send() == b"MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@X>\r\nDATA\r\n"


def test_each_part_of_a_message_has_its_own_fate_and_the_best_one_is_the_messages() -> None:
    client = greeted("250-mx\r\n250 LIMITS RCPTMAX=1")
    client.submit(Envelope("", ("a@x", "b@x", "c@x", "d@x"), b"x\r\n"), token=1)
    hear(client, "250 ok", "550 no", "250 reset", "250 ok", "250 ok", "354 go", "250 kept", "451 later")
    client.receive_eof()
    told = report(client)
    assert (told.outcome, told.accepted, told.reply) == (Outcome.ACCEPTED, ("b@x",), Reply(250, ("kept",)))
    assert [(path, reply.code) for path, reply in told.refused] == [("a@x", 550), ("c@x", 451), ("d@x", 451)]


def test_a_session_ends_at_the_servers_limit_of_messages_and_the_rest_is_unsent() -> None:
    client = Client(domain="client.example")
    for token in range(5):
        client.submit(MAIL, token)
    _, envelopes = converse(client, server(limits=Limits(mails=3)))
    *told, end = [event for event in client_events(client) if isinstance(event, DeliveryReport | SessionEnded)]
    outcomes = {event.token: event.outcome for event in told if isinstance(event, DeliveryReport)}
    assert outcomes == {**dict.fromkeys(range(3), Outcome.ACCEPTED), **dict.fromkeys((3, 4), Outcome.UNSENT)}
    assert len(envelopes) == 3
    assert end == SessionEnded("the server takes no more than 3 messages in a session", is_clean=True)


@pytest.mark.parametrize("refusal", ["552 5.3.4 too big", ""])
def test_mail_of_which_a_chunk_was_refused_has_not_arrived_when_the_session_dies(refusal: str) -> None:
    client = greeted()
    client.submit(replace(MAIL, mail_data=LONG[:400_000]), token=1)
    assert hear(client, "250 ok", "250 ok").count(b"BDAT ") == 1
    assert client.data_to_send().startswith(b"BDAT 137856 LAST\r\n")
    hear(client, refusal or "250 more")
    client.receive_eof()
    told = report(client)
    assert told.outcome is (Outcome.REFUSED if refusal else Outcome.UNCONFIRMED)
    assert not refusal or str(told.reply) == refusal


@pytest.mark.parametrize(
    ("answers", "accepted", "codes"),
    [(("250 ok", "250 ok", "250 kept"), ("a@x",), [451]), (("250 ok", "550 no", "554 nobody"), (), [550, 451])],
)
def test_where_only_a_part_of_a_message_is_within_the_limit_each_part_has_its_fate(
    answers: tuple[str, ...], accepted: tuple[str, ...], codes: list[int]
) -> None:
    client = greeted("250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 LIMITS RCPTMAX=1 MAILMAX=1")
    client.submit(Envelope("", ("a@x", "b@x"), b"x\r\n"), token=1)
    assert hear(client, *answers).endswith(b"BDAT 3 LAST\r\nx\r\nRSET\r\nQUIT\r\n")
    told = report(client)
    assert told.accepted == accepted
    assert sorted(reply.code for _, reply in told.refused) == sorted(codes)
    assert dict(told.refused)["b@x"].status == "4.5.3"
    hear(client, "250 reset", "221 bye")
    assert client.done


NOTICES = Envelope(
    "a@b.example",
    ("u@mx.example", "v@mx.example"),
    b"x\r\n",
    ret=Ret.HEADERS,
    envid="a b+c",
    dsn=(RecipientDsn((Notify.SUCCESS, Notify.DELAY), "rfc822;u=1@x"), RecipientDsn((Notify.NEVER,))),
)


def test_notices_are_asked_for_where_they_are_offered() -> None:
    for extensions, limits in ((EVERYTHING, None), (EVERYTHING, Limits(recipients=1))):
        client = Client(domain="client.example")
        client.submit(NOTICES, token=1)
        _, envelopes = converse(client, server(extensions, limits))
        assert [dsn for envelope in envelopes for dsn in envelope.dsn] == list(NOTICES.dsn)
        assert {(envelope.ret, envelope.envid) for envelope in envelopes} == {(Ret.HEADERS, "a b+c")}
    client = Client(domain="client.example")
    client.submit(NOTICES, token=1)
    _, (envelope,) = converse(client, server(Extensions()))
    assert (envelope.dsn, envelope.ret, envelope.envid) == ((), None, "")


def test_addresses_beyond_ascii_go_where_smtputf8_is_offered() -> None:
    envelope = Envelope("jürgen@exämple.de", ("用户@例子.测试",), "Subject: ü\r\n".encode())
    client = Client(domain="client.example")
    client.submit(envelope, token=1)
    _, envelopes = converse(client, server())
    assert envelopes == [replace(envelope, is_smtputf8=True)]


def test_addresses_beyond_ascii_are_refused_here_where_it_is_not() -> None:
    for envelope in (
        Envelope("a@b.example", ("ü@mx.example",), b""),
        Envelope("ü@b.example", ("a@mx.example",), b""),
        Envelope("a@b.example", ("a@mx.example",), b"", is_smtputf8=True),
    ):
        client = Client(domain="client.example")
        client.submit(envelope, token=1)
        converse(client, server(Extensions()))
        told = report(client)
        assert (told.outcome, told.is_local, told.reply.status) == (Outcome.REFUSED, True, "5.6.7")


def test_binary_mail_goes_in_chunks_or_not_at_all() -> None:
    binary = Envelope("a@b.example", ("u@mx.example",), bytes(range(256)) * 2000, body=BodyType.BINARY_MIME)
    client = Client(domain="client.example")
    client.submit(binary, token=1)
    _, envelopes = converse(client, server())
    assert envelopes == [binary]
    assert envelopes[0].body is BodyType.BINARY_MIME
    client = greeted()
    client.submit(binary, token=1)
    assert report(client).reply.status == "5.6.3"
    with pytest.raises(LocalProtocolError):
        client.submit(Envelope("a@b.example", ("u@mx.example",), b"\0"), token=2)


def test_a_key_is_given_where_it_is_understood_and_short_enough() -> None:
    keyed = Envelope("", ("u@mx.example",), b"", idempotency_key="key-1")
    for offered, parameter in (("XIDEMPOTENT 64", b" XIDEMPOTENT=key-1"), ("XIDEMPOTENT 4", b""), ("HELP", b"")):
        client = greeted(f"250-mx\r\n250 {offered}")
        client.submit(keyed, token=1)
        assert client.data_to_send() == b"MAIL FROM:<>" + parameter + b"\r\n"


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope("", ("u@v",), b"", envid="a\r\nb"),
        Envelope("", ("u@v",), b"", envid="x" * 101),
        Envelope("", ("u@v",), b"", idempotency_key="a b"),
        Envelope("", ("u@v",), b"", idempotency_key="a\r\nRSET"),
        Envelope("", ("u@v",), b"", dsn=(RecipientDsn(), RecipientDsn())),
        Envelope("ü\x85@v", ("u@v",), b""),
        Envelope("", ("ü@v\u2028",), b""),
        Envelope("\ud800@v", ("u@v",), b""),
    ],
)
def test_what_no_parameter_can_say_raises_at_the_call(envelope: Envelope) -> None:
    client = greeted()
    with pytest.raises(LocalProtocolError):
        client.submit(envelope, token=1)
    with pytest.raises(LocalProtocolError):
        client.submit(Envelope("", ("u@v",), b"x\r\n"), 1, pieces(b"y\r\n"))
    assert client.data_to_send() == b""


@pytest.mark.parametrize("heard", range(8))
def test_a_stream_that_ends_leaves_what_was_wholly_sent_unconfirmed(heard: int) -> None:
    replies = ("250 ok", "250 ok", "250 kept", "250 reset", "250 ok", "550 no", "554 nobody")
    client = greeted()
    client.submit(MAIL, token=1)
    client.submit(MAIL, token=2)
    client.data_to_send()
    hear(client, *replies[:heard])
    client.receive_eof()
    first = Outcome.UNCONFIRMED if heard < 3 else Outcome.ACCEPTED
    second = Outcome.UNCONFIRMED if heard < 6 else Outcome.REFUSED
    assert [(r.token, r.outcome) for r in reports(client)] == [(1, first), (2, second)]


def test_421_says_that_nothing_behind_it_was_read() -> None:
    client = greeted()
    for token in (1, 2, 3):
        client.submit(MAIL, token)
    client.data_to_send()
    hear(client, "250 ok", "250 ok", "421 4.3.2 shutting down")
    outcomes = [(r.token, r.outcome) for r in reports(client)]
    assert outcomes == [(1, Outcome.DEFERRED), (2, Outcome.UNSENT), (3, Outcome.UNSENT)]


ENVELOPES = st.builds(
    Envelope,
    st.sampled_from(["", "me@client.example"]),
    st.lists(st.sampled_from(["a@mx.example", "no@mx.example", "later@x.example"]), min_size=1, max_size=5).map(tuple),
    st.sampled_from([b"", b".\r\n", b"x" * 900 + b"\r\n", b"\xfc\r\n" * 40_000]),
)


def accepts(forward_path: str) -> Reply | None:
    code = {"no@mx.example": 550, "later@x.example": 450}.get(forward_path)
    return None if code is None else Reply(code, (f"{code // 100}.2.1 not now",))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(ENVELOPES, max_size=6), st.booleans(), st.booleans(), st.integers(1, 4),
    st.lists(st.integers(1, 70_000), min_size=1, max_size=5),
)  # fmt: skip
def test_what_is_accepted_arrives_once_for_each_recipient_whatever_is_offered(
    envelopes: list[Envelope], pipelining: bool, is_chunking: bool, recipients: int, sizes: list[int]
) -> None:
    client = Client(domain="client.example", pipelining=pipelining)
    mx = Server(
        domain="mx.example",
        accepts=accepts,
        extensions=Extensions(is_chunking=is_chunking, is_limits=True),
        limits=Limits(recipients=recipients),
    )
    for token, envelope in enumerate(envelopes):
        client.submit(envelope, token)
    client.quit()
    _, received = converse(client, mx, lambda data: iter(cut(data, sizes)) if data else whole(data))
    told = reports(client)
    assert [event.token for event in told] == list(range(len(envelopes)))
    expected = []
    for event, envelope in zip(told, envelopes, strict=True):
        assert event.accepted == tuple(path for path in envelope.forward_paths if accepts(path) is None)
        expected += [(path, envelope.mail_data) for path in event.accepted]
    assert [(path, envelope.mail_data) for envelope in received for path in envelope.forward_paths] == expected
    assert client.done
    assert mx.done


FLIGHTS = st.lists(
    st.sampled_from(
        [b"250 ok\r\n", b"250 ok\r\n250 ok\r\n250 ok\r\n", b"550 no\r\n", b"451 later\r\n", b"421 bye\r\n",
         b"354 go\r\n",
         b"250 ok\r\n550 no\r\n554 nobody\r\n", b"250-half", b"\r\n", b"2", b"250 reset\r\n", b"503 no\r\n"]
    ),
    max_size=30,
)  # fmt: skip
TWO = Envelope("", ("u@mx.example", "v@mx.example"), b"x" * 998 + b"\r\n")
SUBMITTED = (MAIL, TWO, Envelope("", ("w@x",), LONG), MAIL)


def drive(flights: list[bytes], sizes: list[int], *, pipelining: bool) -> tuple[list[DeliveryReport], bytes]:
    client = Client(domain="client.example", pipelining=pipelining)
    for token, envelope in enumerate(SUBMITTED):
        client.submit(envelope, token)
    client.quit()
    said = b""
    hello = b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 LIMITS RCPTMAX=1\r\n"
    for flight in (b"220 mx\r\n", hello, *flights):
        for chunk in cut(flight, sizes):
            client.receive_data(chunk)
        while data := client.data_to_send():
            said += data
    client.receive_eof()
    return reports(client), said


@settings(deadline=None)
@given(FLIGHTS, st.lists(st.integers(1, 20), min_size=1, max_size=3), st.booleans())
def test_whatever_a_server_says_each_message_is_reported_once_with_each_recipient(
    flights: list[bytes], sizes: list[int], pipelining: bool
) -> None:
    told, said = drive(flights, [1000], pipelining=pipelining)
    assert sorted(event.token for event in told) == [0, 1, 2, 3]
    for event in told:
        paths = SUBMITTED[event.token].forward_paths
        assert sorted([*event.accepted, *(path for path, _ in event.refused)]) == sorted(paths)
        assert bool(event.accepted) == (event.outcome is Outcome.ACCEPTED)
    assert drive(flights, sizes, pipelining=pipelining) == (told, said)
    accepted = sum(len(event.accepted) for event in told)
    assert accepted <= said.count(b" LAST\r\n")
