"""The client's TLS and AUTH: RFC 3207, RFC 8314, RFC 4954, against our server and against a script."""

import base64
from dataclasses import replace

import pytest

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp import (
    Authentication,
    Client,
    ClientTls,
    DeliveryReport,
    Envelope,
    Extensions,
    Login,
    MemoryCredentials,
    Outcome,
    Reply,
    Server,
    ServerTls,
    SessionEnded,
    SessionReady,
    TlsUse,
    store_password,
)
from rudp_smtp.smtp.auth import MECHANISMS
from tests.smtp.certificates import HOST, certificate, client_context, server_context
from tests.smtp.dialogue import client_events, converse, singly

MAIL = Envelope("a@b.example", ("u@mx.example",), b"Subject: x\r\n\r\n.dot\r\n")


def entropy(octets: int) -> bytes:
    return bytes(range(octets))


CREDENTIALS = MemoryCredentials({"tim": store_password("correct horse", entropy)})


def tls(use: TlsUse = TlsUse.REQUIRED, *, is_trusting: bool = True, name: str = HOST) -> ClientTls:
    return ClientTls(context=client_context(is_trusting=is_trusting), server_name=name, use=use)


def login(password: str = "correct horse", mechanisms: tuple[str, ...] = MECHANISMS) -> Login:
    return Login(name="tim", password=password, entropy=entropy, mechanisms=mechanisms)


def server(*, is_implicit: bool = False, has_certificate: bool = True) -> Server:
    return Server(
        domain="mx.example",
        extensions=Extensions(is_chunking=True, is_requiretls=True),
        tls=ServerTls(
            context=server_context(), certificate=certificate()[1] if has_certificate else b"", is_implicit=is_implicit,
            is_required=True,
        ),
        authentication=Authentication(credentials=CREDENTIALS, entropy=entropy, is_required=True),
    )  # fmt: skip


def deliver(client: Client, mx: Server, envelope: Envelope = MAIL) -> tuple[DeliveryReport, list[Envelope]]:
    client.submit(envelope, token=1)
    client.quit()
    _, envelopes = converse(client, mx)
    (report,) = [event for event in client_events(client) if isinstance(event, DeliveryReport)]
    assert client.done
    return report, envelopes


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("is_implicit", [False, True])
def test_mail_is_sent_encrypted_and_authenticated_by_every_mechanism(mechanism: str, is_implicit: bool) -> None:
    use = TlsUse.IMPLICIT if is_implicit else TlsUse.REQUIRED
    client = Client(domain="client.example", tls=tls(use), login=login(mechanisms=(mechanism,)))
    report, (envelope,) = deliver(client, server(is_implicit=is_implicit))
    assert report.outcome is Outcome.ACCEPTED
    assert (envelope, envelope.is_encrypted, envelope.authenticated_as) == (MAIL, True, "tim")


def test_a_secured_session_does_not_depend_on_where_the_stream_is_cut() -> None:
    client = Client(domain="client.example", tls=tls(), login=login())
    client.submit(MAIL, token=1)
    client.quit()
    _, envelopes = converse(client, server(), singly)
    assert envelopes == [MAIL]


def test_the_best_mechanism_is_taken() -> None:
    said: list[bytes] = []
    client = Client(domain="client.example", login=login())
    for lines in (b"220 mx\r\n", b"250-mx\r\n250 AUTH PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-1\r\n"):
        client.receive_data(lines)
        said.append(client.data_to_send())
    assert said[1].startswith(b"AUTH SCRAM-SHA-256 ")


def test_passwords_are_not_shown_in_the_clear() -> None:
    client = Client(domain="client.example", login=login())
    client.submit(MAIL, token=1)
    client.receive_data(b"220 mx\r\n")
    client.data_to_send()
    client.receive_data(b"250-mx\r\n250 AUTH PLAIN LOGIN\r\n")
    assert client.data_to_send() == b"QUIT\r\n"
    (report,) = client_events(client)
    assert isinstance(report, DeliveryReport)
    assert (report.outcome, report.is_local) == (Outcome.UNSENT, True)


@pytest.mark.parametrize("auth", ["", "<>", "e=mc2@example.com"])
def test_who_submitted_a_message_is_told_to_a_server_that_offers_auth(auth: str) -> None:
    envelope = replace(MAIL, auth=auth)
    client = Client(domain="client.example", tls=tls(), login=login())
    assert deliver(client, server(), envelope)[1] == [envelope]
    for offer, is_said in (("250 AUTH PLAIN", auth not in ("", "<>")), ("250 SIZE", False)):
        client = Client(domain="client.example")
        client.submit(envelope, token=1)
        for said in ("220 mx", f"250-mx\r\n{offer}"):
            client.receive_data(said.encode() + b"\r\n")
            mail = client.data_to_send()
        assert (b" AUTH=e+3Dmc2@example.com" in mail) == is_said
        assert (b"AUTH" in mail) == is_said


@pytest.mark.parametrize("auth", ["tim", "a@b\r\nX", "ü@b.example"])
def test_who_is_no_mailbox_cannot_be_told_of(auth: str) -> None:
    with pytest.raises(LocalProtocolError):
        Client(domain="client.example").submit(replace(MAIL, auth=auth), token=1)


def test_a_challenge_that_cannot_be_decoded_is_cancelled_as_rfc_4954_section_4_says() -> None:
    client = Client(domain="client.example", login=login(mechanisms=("SCRAM-SHA-256",)))
    client.submit(MAIL, token=1)
    for said in ("220 mx", "250-mx\r\n250 AUTH SCRAM-SHA-256", "334 AAA=BBB"):
        client.receive_data(said.encode() + b"\r\n")
        answer = client.data_to_send()
    assert answer == b"*\r\n"
    client.receive_data(b"501 5.7.0 cancelled\r\n")
    assert client.data_to_send() == b"QUIT\r\n"


def test_a_wrong_password_leaves_the_mail_unsent_with_the_servers_word_for_it() -> None:
    for mechanism in MECHANISMS:
        client = Client(domain="client.example", tls=tls(), login=login("wrong", (mechanism,)))
        report, envelopes = deliver(client, server())
        assert (report.outcome, report.reply.code, envelopes) == (Outcome.UNSENT, 535, [])


@pytest.mark.parametrize("final", ["235 2.7.0 welcome", "334 " + base64.b64encode(b"v=" + bytes(44)).decode()])
def test_a_server_that_does_not_know_the_password_gets_no_mail(final: str) -> None:
    client = Client(domain="client.example", login=login())
    client.submit(MAIL, token=1)
    nonce = base64.b64encode(entropy(18)).decode()
    first = base64.b64encode(f"r={nonce}more,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode()).decode()
    said = b""
    for line in ("220 mx", "250-mx\r\n250 AUTH SCRAM-SHA-256", f"334 {first}", final, "501 cancelled", "221 bye"):
        client.receive_data(line.encode() + b"\r\n")
        said += client.data_to_send()
    assert b"MAIL" not in said
    assert client.done
    (report, _) = client_events(client)
    assert isinstance(report, DeliveryReport)
    assert report.outcome is Outcome.UNSENT


@pytest.mark.parametrize(("is_trusting", "name"), [(False, HOST), (True, "other.example")])
def test_a_server_that_cannot_prove_who_it_is_gets_no_mail(is_trusting: bool, name: str) -> None:
    client = Client(domain="client.example", tls=tls(is_trusting=is_trusting, name=name), login=login())
    client.submit(MAIL, token=1)
    _, envelopes = converse(client, server())
    *_, report, end = client_events(client)
    assert isinstance(report, DeliveryReport)
    assert (report.outcome, envelopes) == (Outcome.UNSENT, [])
    assert str(report.reply).startswith("451 4.7.10 TLS: certificate verify failed")
    assert isinstance(end, SessionEnded)
    assert end.reason.startswith("TLS: certificate verify failed")


@pytest.mark.parametrize("ehlo", ["250 mx", "250-mx\r\n250 SIZE", "500 no"])
def test_where_tls_is_required_and_not_offered_no_mail_is_sent(ehlo: str) -> None:
    client = Client(domain="client.example", tls=tls())
    client.submit(MAIL, token=1)
    said = b""
    for line in ("220 mx", ehlo, "250 mx", "221 bye", "221 bye"):
        if not client.done:
            client.receive_data(line.encode() + b"\r\n")
            said += client.data_to_send()
    assert b"MAIL" not in said
    report = client_events(client)[0]
    assert isinstance(report, DeliveryReport)
    assert report.outcome is Outcome.UNSENT


def test_opportunistic_tls_is_used_where_it_is_offered_and_done_without_where_not() -> None:
    for mx, is_encrypted in (
        (Server(domain="mx.example", tls=ServerTls(context=server_context())), True),
        (Server(domain="mx.example"), False),
    ):
        client = Client(domain="client.example", tls=tls(TlsUse.OPPORTUNISTIC))
        report, (envelope,) = deliver(client, mx)
        assert report.outcome is Outcome.ACCEPTED
        assert envelope.is_encrypted == is_encrypted
    client = Client(domain="client.example", tls=tls(TlsUse.OPPORTUNISTIC))
    for line in (b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"454 4.7.0 TLS is out of order\r\n"):
        client.receive_data(line)
        client.data_to_send()
    assert [type(event) for event in client_events(client)] == [SessionReady]


def test_a_refused_starttls_leaves_the_mail_unsent() -> None:
    client = Client(domain="client.example", tls=tls())
    client.submit(MAIL, token=1)
    for line in (b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"454 4.7.0 out of order\r\n"):
        client.receive_data(line)
        said = client.data_to_send()
    assert said == b"QUIT\r\n"
    report = client_events(client)[0]
    assert isinstance(report, DeliveryReport)
    assert report.reply == Reply(454, ("4.7.10 The server refused TLS: 454 4.7.0 out of order",))
    assert report.lacks_tls


def test_replies_that_came_in_the_clear_behind_220_are_not_believed() -> None:
    mx = server()
    client = Client(domain="client.example", tls=tls(), login=login())
    client.submit(MAIL, token=1)
    client.quit()
    for _ in range(2):
        client.receive_data(mx.data_to_send())
        mx.receive_data(client.data_to_send())
    injected = b"250-evil.example\r\n250 AUTH PLAIN\r\n235 welcome\r\n"
    client.receive_data(mx.data_to_send() + injected)
    _, envelopes = converse(client, mx)
    assert envelopes == [MAIL]
    assert [event.domain for event in client_events(client) if isinstance(event, SessionReady)] == ["mx.example"]


def test_what_was_offered_before_tls_is_forgotten() -> None:
    mx = server()
    client = Client(domain="client.example", tls=tls(), login=login())
    converse(client, mx)
    (ready,) = client_events(client)
    assert isinstance(ready, SessionReady)
    assert "STARTTLS" not in ready.extensions
    assert ready.extensions["AUTH"].startswith("SCRAM-SHA-256-PLUS ")
    assert client.is_encrypted


def test_without_a_certificate_to_bind_to_scram_goes_without_plus() -> None:
    report, _ = deliver(Client(domain="client.example", tls=tls(), login=login()), server(has_certificate=False))
    assert report.outcome is Outcome.ACCEPTED


SECRET = Envelope("a@b.example", ("u@mx.example",), b"x\r\n", requires_tls=True)


def test_a_message_that_requires_tls_says_so_and_goes_nowhere_without() -> None:
    report, (envelope,) = deliver(Client(domain="client.example", tls=tls(), login=login()), server())
    assert (report.outcome, envelope.requires_tls) == (Outcome.ACCEPTED, False)
    report, (envelope,) = deliver(Client(domain="client.example", tls=tls(), login=login()), server(), SECRET)
    assert (report.outcome, envelope.requires_tls) == (Outcome.ACCEPTED, True)
    plain = Server(domain="mx.example", extensions=Extensions(is_requiretls=True))
    encrypted = Server(domain="mx.example", tls=ServerTls(context=server_context()))
    for mx, security in ((plain, None), (encrypted, tls())):
        report, envelopes = deliver(Client(domain="client.example", tls=security), mx, SECRET)
        assert (report.outcome, report.is_local, report.reply.status) == (Outcome.REFUSED, True, "5.7.30")
        assert envelopes == []


def test_a_notice_that_requires_tls_goes_on_without_rather_than_be_lost() -> None:
    """RFC 8689 section 5."""
    notice = replace(SECRET, reverse_path="")
    encrypted = Server(domain="mx.example", tls=ServerTls(context=server_context()))
    report, (envelope,) = deliver(Client(domain="client.example", tls=tls()), encrypted, notice)
    assert (report.outcome, envelope.requires_tls) == (Outcome.ACCEPTED, False)
    report, (envelope,) = deliver(Client(domain="client.example", tls=tls(), login=login()), server(), notice)
    assert (report.outcome, envelope.requires_tls) == (Outcome.ACCEPTED, True)


def test_a_handshake_that_is_cut_off_leaves_the_mail_unsent() -> None:
    client = Client(domain="client.example", tls=tls(TlsUse.IMPLICIT))
    client.submit(MAIL, token=1)
    assert client.data_to_send().startswith(b"\x16\x03")
    client.receive_data(b"220 mx.example in the clear\r\n")
    report, end = client_events(client)
    assert isinstance(report, DeliveryReport)
    assert report.outcome is Outcome.UNSENT
    assert isinstance(end, SessionEnded)
    assert client.done
