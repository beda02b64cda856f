"""Our server against smtplib and our client against aiosmtpd, over TCP on loopback, with TLS and passwords."""

import asyncio
import smtplib
from collections.abc import Callable

import pytest
from aiosmtpd import smtp as peer_smtp

from rudp_smtp.drivers.sessions import React, Session
from rudp_smtp.drivers.tcp import deliver, start_server
from rudp_smtp.mail.mailbox import MemoryMailbox, deliver_received
from rudp_smtp.smtp import (
    Authentication,
    Client,
    ClientTls,
    DeliveryReport,
    Envelope,
    Login,
    MailSource,
    MemoryCredentials,
    Outcome,
    Server,
    ServerTls,
    store_password,
)
from tests.smtp.certificates import client_context, server_context

HOST = "localhost"
MESSAGE = b"Subject: secret\r\n\r\n.a dot\r\n" + b"x" * 70 + b"\r\n"
LONG = MESSAGE + b"many a line\r\n" * 100_000


def entropy(octets: int) -> bytes:
    return bytes(range(octets))


CREDENTIALS = MemoryCredentials({"tim": store_password("correct horse", entropy)})


def submitting(mailbox: MemoryMailbox, *, is_implicit: bool) -> Callable[[], tuple[Session, React]]:
    tls = ServerTls(context=server_context(), is_implicit=is_implicit, is_required=True)
    authentication = Authentication(credentials=CREDENTIALS, entropy=entropy, is_required=True)

    def answer() -> tuple[Session, React]:
        server = Server(domain="mx.example", tls=tls, authentication=authentication)

        def react() -> None:
            deliver_received(server, mailbox, now=0)

        return server, react

    return answer


def served(dialogue: Callable[[int], None], *, is_implicit: bool = False) -> MemoryMailbox:
    mailbox = MemoryMailbox()

    async def serve() -> None:
        listener = await start_server(submitting(mailbox, is_implicit=is_implicit), HOST, 0)
        async with listener:
            await asyncio.to_thread(dialogue, listener.sockets[0].getsockname()[1])

    asyncio.run(serve())
    return mailbox


@pytest.mark.parametrize("message", [MESSAGE, LONG], ids=["short", "long"])
def test_smtplib_says_ehlo_starttls_ehlo_login_sendmail(message: bytes) -> None:
    def talk(port: int) -> None:
        with smtplib.SMTP(HOST, port, local_hostname="client.example", timeout=30) as peer:
            peer.ehlo()
            with pytest.raises(smtplib.SMTPException):
                peer.login("tim", "correct horse")
            with pytest.raises(smtplib.SMTPSenderRefused):
                peer.sendmail("a@b.example", ["u@mx.example"], message)
            peer.starttls(context=client_context())
            peer.ehlo()
            with pytest.raises(smtplib.SMTPAuthenticationError):
                peer.login("tim", "wrong")
            peer.login("tim", "correct horse")
            peer.sendmail("a@b.example", ["u@mx.example"], message)

    (mail,) = served(talk).messages
    assert mail.envelope.mail_data == message
    assert (mail.envelope.authenticated_as, mail.envelope.is_encrypted) == ("tim", True)


def test_smtplib_encrypts_from_the_first_octet_and_logs_in_either_way() -> None:
    def talk(port: int) -> None:
        for method in ("auth_plain", "auth_login"):
            with smtplib.SMTP_SSL(HOST, port, context=client_context(), timeout=30) as peer:
                peer.ehlo()
                peer.user, peer.password = "tim", "correct horse"
                peer.auth(method.removeprefix("auth_").upper(), getattr(peer, method))
                peer.sendmail("a@b.example", ["u@mx.example"], MESSAGE)

    assert len(served(talk, is_implicit=True).messages) == 2


def test_smtplib_does_not_believe_a_server_that_it_has_no_reason_to_trust() -> None:
    def talk(port: int) -> None:
        with smtplib.SMTP(HOST, port, local_hostname="client.example", timeout=30) as peer:
            peer.ehlo()
            with pytest.raises(OSError, match="certificate"):
                peer.starttls(context=client_context(is_trusting=False))
            peer.close()

    assert served(talk).messages == []


class PeerMailbox:
    """What aiosmtpd calls when a message came."""

    def __init__(self) -> None:
        self.received: list[tuple[bool, object, bytes | str | None]] = []

    async def handle_DATA(  # noqa: N802
        self, server: peer_smtp.SMTP, session: peer_smtp.Session, envelope: peer_smtp.Envelope
    ) -> str:
        self.received.append((session.ssl is not None, session.auth_data, envelope.content))
        return "250 2.0.0 kept"


def check_password(
    server: peer_smtp.SMTP, session: peer_smtp.Session, envelope: peer_smtp.Envelope, mechanism: str, data: object
) -> peer_smtp.AuthResult:
    is_right = isinstance(data, peer_smtp.LoginPassword) and data.password == b"correct horse"
    return peer_smtp.AuthResult(success=is_right, handled=False, auth_data=mechanism)


def nothing() -> None:
    """The application of a client that reads its events when the session is over."""


async def deliver_to_peer(client: Client, peer: PeerMailbox) -> None:
    loop = asyncio.get_running_loop()

    def answer() -> peer_smtp.SMTP:
        return peer_smtp.SMTP(
            peer, hostname="peer.example", tls_context=server_context(), require_starttls=True, auth_required=True,
            authenticator=check_password, loop=loop,
        )  # fmt: skip

    listener = await loop.create_server(answer, "127.0.0.1", 0)
    async with listener:
        await deliver(client, nothing, "127.0.0.1", listener.sockets[0].getsockname()[1])


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("password", ["correct horse", "wrong"])
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_aiosmtpd_receives_what_our_client_encrypts_if_the_password_is_right(mechanism: str, password: str) -> None:
    client = Client(
        domain="client.example",
        tls=ClientTls(context=client_context(), server_name=HOST),
        login=Login(name="tim", password=password, entropy=entropy, mechanisms=(mechanism,)),
    )
    client.submit(Envelope("a@b.example", ("u@mx.example",), b""), 1, MailSource(lambda: [MESSAGE, LONG], None))
    client.quit()
    peer = PeerMailbox()
    asyncio.run(deliver_to_peer(client, peer))
    reports = []
    while (event := client.next_event()) is not None:
        if isinstance(event, DeliveryReport):
            reports.append(event)
    if password == "wrong":
        assert [(report.outcome, report.reply.code) for report in reports] == [(Outcome.UNSENT, 535)]
        assert peer.received == []
    else:
        assert [report.outcome for report in reports] == [Outcome.ACCEPTED]
        assert peer.received == [(True, mechanism, MESSAGE + LONG)]
