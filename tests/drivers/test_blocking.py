"""smtplib and bare sockets over RUDP: programs that block, in a process of their own or here."""

import asyncio
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from rudp_smtp.drivers import aio, blocking
from rudp_smtp.drivers.background import BackgroundRelay
from rudp_smtp.drivers.certificate import self_signed_context
from rudp_smtp.drivers.proxy import Path
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.registry import Spec

HOST = "127.0.0.1"
Factory = Callable[[], asyncio.BaseProtocol]
MESSAGE = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: hello\r\n\r\nover RUDP\r\n"


class Inbox:
    """aiosmtpd's handler: keeps what came."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        assert isinstance(envelope.original_content, bytes)
        self.mails.append(envelope.original_content)
        return "250 taken"


@contextmanager
def serving(factory: Factory, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server over RUDP in a thread; its port."""
    ports: list[int] = []
    is_up, is_over = threading.Event(), threading.Event()

    async def serve() -> None:
        server = await aio.create_server(factory, HOST, 0, ssl=tls)
        ports.append(server.sockets[0].getsockname()[1])
        is_up.set()
        while not is_over.is_set():
            await asyncio.sleep(0.01)
        server.abort()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    is_up.wait()
    try:
        yield ports[0]
    finally:
        is_over.set()
        thread.join()


def accepting(inbox: Inbox) -> Factory:
    tls = self_signed_context(["localhost"])

    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        return AuthResult(success=isinstance(data, LoginPassword) and data.password == b"secret", handled=False)

    return lambda: SMTP(inbox, tls_context=tls, auth_required=True, authenticator=check, hostname="mx")


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize("loss", [0, 10])
def test_the_script_of_the_networking_lab(loss: int) -> None:
    """ehlo, starttls, ehlo, login, sendmail: as every tutorial has it."""
    inbox = Inbox()
    link = LinkConfig(loss=Spec("random", (("p", (1 << 64) * loss // 100),)))
    with (
        serving(accepting(inbox)) as port,
        BackgroundRelay((HOST, port), Path(forward=link, reverse=link)) as relay,
        blocking.SMTP(HOST, relay.address[1], timeout=20) as client,
    ):
        client.ehlo()
        client.starttls(context=unverified())
        client.ehlo()
        client.login("user", "secret")
        assert client.sendmail("a@example.org", ["b@example.org"], MESSAGE) == {}
    assert inbox.mails == [MESSAGE]


def test_a_wrong_password_is_smtplibs_own_error() -> None:
    with serving(accepting(Inbox())) as port, blocking.SMTP(HOST, port, timeout=10) as client:
        client.starttls(context=unverified())
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("user", "guess")


def test_tls_from_the_first_octet() -> None:
    inbox = Inbox()
    with (
        serving(lambda: SMTP(inbox, hostname="mx"), self_signed_context(["localhost"])) as port,
        blocking.SMTP_SSL(HOST, port, timeout=10, context=unverified()) as client,
    ):
        client.sendmail("a@example.org", ["b@example.org"], MESSAGE)
    assert inbox.mails == [MESSAGE]


class Shout(asyncio.Protocol):
    """Answers in capitals, and ends when the peer does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())


def test_a_socket_like_any_other() -> None:
    with serving(Shout) as port, blocking.create_connection((HOST, port), timeout=10) as connected:
        connected.sendall(b"a" * 300_000)
        connected.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while octets := connected.recv(65_536):
            answer += octets
    assert answer == b"A" * 300_000


def test_where_nobody_listens_the_connection_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        blocking.create_connection((HOST, port), timeout=10)


def test_where_nobody_answers_the_timeout_ends_it() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((HOST, 0))
        with pytest.raises(TimeoutError):
            blocking.create_connection(silent.getsockname(), timeout=0.3)


def test_a_program_may_end_right_after_its_last_word() -> None:
    """What was sent before the interpreter's exit arrives."""
    inbox = Inbox()
    text = (
        "import sys; from rudp_smtp.drivers.blocking import SMTP\n"
        "client = SMTP('127.0.0.1', int(sys.argv[1]), timeout=10)\n"
        "client.sendmail('a@example.org', ['b@example.org'], 'Subject: hi\\r\\n\\r\\nthere\\r\\n')\n"
    )
    with serving(lambda: SMTP(inbox, hostname="mx")) as port:
        subprocess.run([sys.executable, "-c", text, str(port)], check=True, timeout=30)
    assert len(inbox.mails) == 1
