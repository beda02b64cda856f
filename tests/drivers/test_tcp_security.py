"""Our server against smtplib over TCP on loopback, with TLS and passwords."""

import asyncio
import smtplib
from collections.abc import Callable

import pytest

from rudp_smtp.drivers.sessions import React, Session
from rudp_smtp.drivers.tcp import start_server
from rudp_smtp.mail.mailbox import MemoryMailbox, deliver_received
from rudp_smtp.smtp import Authentication, MemoryCredentials, Server, ServerTls, store_password
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

        async def react() -> None:
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
