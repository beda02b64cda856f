"""The examples that RFCs give of their extensions, with our server's own words where theirs are free.

Other files have those of RFC 5321 appendix D, 2033, 2920, 3030, 3207, 3461, 4954 section 4.1, 4013 and 7677; RFC 6531,
8689 and 9422 have no dialogue, so here is the least one that uses all of what they define.
"""

import pytest

from rudp_smtp.smtp import (
    Authentication,
    BodyType,
    Client,
    ClientTls,
    DeliveryReport,
    Envelope,
    Extensions,
    Limits,
    MemoryCredentials,
    Outcome,
    Reply,
    Server,
    ServerTls,
    SessionReady,
    store_password,
)
from tests.smtp.certificates import HOST, client_context, server_context
from tests.smtp.dialogue import client_events, converse, play

TEXT = b"Subject: x\r\n\r\nhello\r\n"


def entropy(octets: int) -> bytes:
    return bytes(range(octets))


def answering(replies: dict[str, Reply], domain: str, extensions: Extensions | None = None) -> Server:
    """A server that knows what to say to some recipients, and takes the others."""
    return Server(domain=domain, accepts=replies.get, extensions=extensions, limits=Limits(message_octets=1_000_000))


def act(transcript: str, *messages: Envelope) -> list[DeliveryReport]:
    """Our client in the part of `C:`, line by line; the server's lines as they stand."""
    client = Client(domain="ymir.claremont.edu")
    for token, message in enumerate(messages):
        client.submit(message, token)
    client.quit()
    said = b""
    for row in transcript.strip().splitlines():
        side, _, text = row.strip().partition(": ")
        if side == "S":
            client.receive_data(text.encode() + b"\r\n")
            said += client.data_to_send()
        else:
            line, _, said = said.partition(b"\r\n")
            assert line == text.encode()
    assert not said
    assert client.done
    return [event for event in client_events(client) if isinstance(event, DeliveryReport)]


def test_the_example_of_rfc_1870_section_8() -> None:
    refused = {
        "ned@ymir.claremont.edu": Reply(552, ("5.3.4 Channel size limit exceeded: ned@YMIR.CLAREMONT.EDU",)),
        "ned@hmcvax.claremont.edu": Reply(452, ("4.3.1 Insufficient channel storage: ned@hmcvax.CLAREMONT.EDU",)),
    }
    (envelope,) = play(
        answering(refused, "sigurd.innosoft.com"),
        """
        S: 220 sigurd.innosoft.com
        C: EHLO ymir.claremont.edu
        S: 250 sigurd.innosoft.com / PIPELINING / SIZE 1000000
        C: MAIL FROM:<ned@thor.innosoft.com> SIZE=500000
        S: 250
        C: RCPT TO:<ned@innosoft.com>
        S: 250
        C: RCPT TO:<ned@ymir.claremont.edu>
        S: 552
        C: RCPT TO:<ned@hmcvax.claremont.edu>
        S: 452
        C: DATA
        S: 354
        C: .
        S: 250
        C: QUIT
        S: 221
        """,
    )
    assert envelope.forward_paths == ("ned@innosoft.com",)
    assert envelope.parameters == (("SIZE", "500000"),)


def test_the_example_of_rfc_1870_section_8_from_the_clients_side() -> None:
    paths = ("ned@innosoft.com", "ned@ymir.claremont.edu", "ned@hmcvax.claremont.edu")
    text = b"x" * 70 + b"\r\n"
    message = Envelope("ned@thor.innosoft.com", paths, text * 7000)
    client = Client(domain="ymir.claremont.edu")
    client.submit(message, 1)
    client.quit()
    said = []
    for line in (
        "220 sigurd.innosoft.com -- Server SMTP (PMDF V4.2-6 #1992)",
        "250-sigurd.innosoft.com\r\n250-EXPN\r\n250-HELP\r\n250 SIZE 1000000",
        "250 Address Ok.",
        "250 ned@innosoft.com OK; can accomodate 500000 byte message",
        "552 Channel size limit exceeded: ned@YMIR.CLAREMONT.EDU",
        "452 Insufficient channel storage: ned@hmcvax.CLAREMONT.EDU",
        "354 Send message, ending in CRLF.CRLF.",
        "250 Some recipients OK",
        "250 Address Ok.",  # a bare 452 may mean one too many (RFC 5321 section 4.5.3.1.10): it is asked once more
        "452 Insufficient channel storage: ned@hmcvax.CLAREMONT.EDU",
        "221 Goodbye",
    ):
        client.receive_data(line.encode() + b"\r\n")
        said.append(client.data_to_send())
    assert said[1] == b"MAIL FROM:<ned@thor.innosoft.com> SIZE=504000\r\n"
    assert said[6] == message.mail_data + b".\r\n"
    assert said[8:] == [b"RCPT TO:<ned@hmcvax.claremont.edu>\r\n", b"QUIT\r\n", b""]
    (report,) = (event for event in client_events(client) if isinstance(event, DeliveryReport))
    assert (report.outcome, report.accepted) == (Outcome.ACCEPTED, paths[:1])
    assert [(path, reply.code) for path, reply in report.refused] == [(paths[1], 552), (paths[2], 452)]


def test_the_example_of_rfc_2034_section_6() -> None:
    refused = {
        "nosuchuser@dbc.mtview.ca.us": Reply(550, ('5.1.1 Mailbox "nosuchuser" does not exist',)),
        "remoteuser@isi.edu": Reply(
            551, ("5.7.1 Forwarding to remote hosts disabled", "5.7.1 Select another host to act as your forwarder")
        ),
    }
    (envelope,) = play(
        answering(refused, "dbc.mtview.ca.us"),
        """
        S: 220 dbc.mtview.ca.us
        C: EHLO ymir.claremont.edu
        S: 250 dbc.mtview.ca.us / PIPELINING / SIZE 1000000 / 8BITMIME / ENHANCEDSTATUSCODES
        C: MAIL FROM:<ned@ymir.claremont.edu>
        S: 250 2.1.0
        C: RCPT TO:<mrose@dbc.mtview.ca.us>
        S: 250 2.1.5
        C: RCPT TO:<nosuchuser@dbc.mtview.ca.us>
        S: 550 5.1.1 Mailbox "nosuchuser" does not exist
        C: RCPT TO:<remoteuser@isi.edu>
        S: 551 5.7.1 Forwarding to remote hosts disabled / 5.7.1 Select another host to act as your forwarder
        C: DATA
        S: 354
        C: .
        S: 250 2.0.0
        C: QUIT
        S: 221 2.0.0
        """,
    )
    assert envelope.forward_paths == ("mrose@dbc.mtview.ca.us",)


def test_the_example_of_rfc_2034_section_6_from_the_clients_side() -> None:
    paths = ("mrose@dbc.mtview.ca.us", "nosuchuser@dbc.mtview.ca.us", "remoteuser@isi.edu")
    (report,) = act(
        """
        S: 220 dbc.mtview.ca.us SMTP service ready
        C: EHLO ymir.claremont.edu
        S: 250-dbc.mtview.ca.us says hello
        S: 250 ENHANCEDSTATUSCODES
        C: MAIL FROM:<ned@ymir.claremont.edu>
        S: 250 2.1.0 Originator <ned@ymir.claremont.edu> ok
        C: RCPT TO:<mrose@dbc.mtview.ca.us>
        S: 250 2.1.5 Recipient <mrose@dbc.mtview.ca.us> ok
        C: RCPT TO:<nosuchuser@dbc.mtview.ca.us>
        S: 550 5.1.1 Mailbox "nosuchuser" does not exist
        C: RCPT TO:<remoteuser@isi.edu>
        S: 551-5.7.1 Forwarding to remote hosts disabled
        S: 551 5.7.1 Select another host to act as your forwarder
        C: DATA
        S: 354 Send message, ending in CRLF.CRLF.
        C: .
        S: 250 2.6.0 Message accepted
        C: QUIT
        S: 221 2.0.0 Goodbye
        """,
        Envelope("ned@ymir.claremont.edu", paths, b""),
    )
    assert (report.outcome, report.accepted, report.reply.status) == (Outcome.ACCEPTED, paths[:1], "2.6.0")
    assert [(path, reply.status) for path, reply in report.refused] == [(paths[1], "5.1.1"), (paths[2], "5.7.1")]


EIGHT_BIT_MIME = """
    S: 220 dbc.mtview.ca.us
    C: EHLO ymir.claremont.edu
    S: 250
    C: MAIL FROM:<ned@ymir.claremont.edu> BODY=8BITMIME
    S: 250
    C: RCPT TO:<mrose@dbc.mtview.ca.us>
    S: 250
    C: DATA
    S: 354
    C: .
    S: 250
    C: QUIT
    S: 221
"""


def test_the_example_of_rfc_6152_section_4_from_both_sides() -> None:
    (envelope,) = play(answering({}, "dbc.mtview.ca.us"), EIGHT_BIT_MIME)
    assert envelope.body is BodyType.EIGHT_BIT_MIME
    lines = EIGHT_BIT_MIME.replace("S: 250\n    C: MAIL", "S: 250-dbc says hello\n    S: 250 8BITMIME\n    C: MAIL")
    message = Envelope("ned@ymir.claremont.edu", ("mrose@dbc.mtview.ca.us",), b"", body=BodyType.EIGHT_BIT_MIME)
    (report,) = act(lines, message)
    assert report.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("mail", "auth"),
    [
        ("MAIL FROM:<e=mc2@example.com> AUTH=e+3Dmc2@example.com", "e=mc2@example.com"),
        ("MAIL FROM:<john+@example.org> AUTH=<>", "<>"),
    ],
)
def test_the_examples_of_rfc_4954_section_5_1(mail: str, auth: str) -> None:
    """Also from a client that has not said who it is: "servers that advertise support MUST support the parameter"."""
    credentials = MemoryCredentials({"e=mc2": store_password("1234", entropy)})
    authentication = Authentication(credentials=credentials, entropy=entropy, is_allowed_without_tls=True)
    (envelope,) = play(
        Server(domain="smtp.example.com", authentication=authentication),
        f"""
        S: 220
        C: EHLO client.example.com
        S: 250
        C: {mail}
        S: 250
        C: RCPT TO:<u@smtp.example.com>
        S: 250
        C: DATA
        S: 354
        C: .
        S: 250
        """,
    )
    assert envelope.auth == auth


def test_what_rfc_6531_adds_arrives_and_the_received_field_says_so() -> None:
    message = Envelope("jürgen@exämple.de", ("用户@例子.测试",), "Subject: ü\r\n\r\nÄ\r\n".encode())
    mx = answering({}, "mx.example", Extensions(is_smtputf8=True))
    client = Client(domain="client.example")
    client.submit(message, 1)
    said = b""
    for _ in range(4):
        client.receive_data(mx.data_to_send())
        heard = client.data_to_send()
        said += heard
        mx.receive_data(heard)
    # Section 3.4: SMTPUTF8 with the addresses; section 3.6: 8-bit mail data is declared as such beside it.
    assert (
        f"MAIL FROM:<{message.reverse_path}> SIZE={len(message.mail_data)} BODY=8BITMIME SMTPUTF8\r\n".encode() in said
    )
    assert f"RCPT TO:<{message.forward_paths[0]}>\r\n".encode() in said
    event = mx.next_event()
    assert event is not None
    envelope = getattr(event, "envelope", None)
    assert isinstance(envelope, Envelope)
    assert envelope.protocol == "UTF8SMTP"  # section 4.3


def test_what_rfc_8689_adds_is_said_under_tls_and_only_there() -> None:
    mx = Server(
        domain=HOST, extensions=Extensions(is_requiretls=True), tls=ServerTls(context=server_context()),
        accepts=lambda path: None,
    )  # fmt: skip
    client = Client(domain="client.example", tls=ClientTls(context=client_context(), server_name=HOST))
    client.submit(Envelope("roger@example.org", ("editor@example.net",), TEXT, requires_tls=True), 1)
    client.quit()
    _, (envelope,) = converse(client, mx)
    ready, report, _ = client_events(client)
    assert isinstance(ready, SessionReady)
    assert "REQUIRETLS" in ready.extensions
    assert isinstance(report, DeliveryReport)
    assert report.outcome is Outcome.ACCEPTED
    assert envelope.requires_tls
    assert dict(envelope.parameters)["REQUIRETLS"] == ""


def test_what_rfc_9422_adds_is_announced_held_to_and_kept_to() -> None:
    """Section 3: names and values behind LIMITS, where unknown ones are passed over; section 4: what each means."""
    paths = ("a@one.example", "b@one.example", "c@two.example")
    act_of_three = """
        S: 220 mx
        C: EHLO ymir.claremont.edu
        S: 250-mx
        S: 250 LIMITS MAILMAX=3 RCPTMAX=5 RCPTDOMAINMAX=1 FUTURE=7 RCPTMAXIMUM=x
        C: MAIL FROM:<s@z.example>
        S: 250 ok
        C: RCPT TO:<a@one.example>
        S: 250 ok
        C: RCPT TO:<b@one.example>
        S: 250 ok
        C: DATA
        S: 354 go
        C: .
        S: 250 ok
        C: MAIL FROM:<s@z.example>
        S: 250 ok
        C: RCPT TO:<c@two.example>
        S: 250 ok
        C: DATA
        S: 354 go
        C: .
        S: 250 ok
        C: MAIL FROM:<s@z.example>
        S: 250 ok
        C: RCPT TO:<c@two.example>
        S: 250 ok
        C: DATA
        S: 354 go
        C: .
        S: 250 ok
        C: QUIT
        S: 221 bye
    """
    reports = act(act_of_three, *(Envelope("s@z.example", chosen, b"") for chosen in (paths, paths[2:], paths[:1])))
    assert [report.outcome for report in sorted(reports, key=lambda report: report.token)] == [
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
        Outcome.UNSENT,  # the fourth transaction is for another session
    ]
    announced = Server(domain="mx", extensions=Extensions(is_limits=True), limits=Limits(recipients=2, mails=1))
    play(
        announced,
        """
        S: 220
        C: EHLO c
        S: 250 mx / PIPELINING / SIZE 33554432 / 8BITMIME / ENHANCEDSTATUSCODES / LIMITS RCPTMAX=2 MAILMAX=1
        C: MAIL FROM:<s@z.example>
        S: 250
        C: RCPT TO:<a@mx>
        S: 250
        C: RCPT TO:<b@mx>
        S: 250
        C: RCPT TO:<c@mx>
        S: 452 4.5.3
        C: DATA
        S: 354
        C: .
        S: 250
        C: MAIL FROM:<s@z.example>
        S: 452 4.5.3
        """,
    )
