"""asyncio's four calls over RUDP, on loopback: what asyncio promises of TCP, and programs that were written for it."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import TypeVar

import aiosmtplib
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from rudp_smtp.drivers import aio
from rudp_smtp.drivers.aio.loop import EventLoop
from rudp_smtp.drivers.background import BackgroundRelay
from rudp_smtp.drivers.certificate import server_context, write_self_signed
from rudp_smtp.drivers.proxy import Path as RelayPath
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.registry import Spec
from rudp_smtp.transport import TRANSPORTS, TransportStats

HOST = "127.0.0.1"
MEGABYTE = bytes(range(256)) * 4096
T = TypeVar("T")
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(dialogue: Coroutine[None, None, T]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(50):
            try:
                return await dialogue
            finally:
                await aio.shutdown()

    return asyncio.run(limited())


def port_of(server: aio.Server) -> int:
    port = server.sockets[0].getsockname()[1]
    assert isinstance(port, int)
    return port


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def with_server(serve: Talk, talk: Talk) -> None:
    server = await aio.start_server(serve, HOST, 0)
    reader, writer = await aio.open_connection(HOST, port_of(server))
    await talk(reader, writer)
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


def test_a_megabyte_comes_back_and_both_ends_end() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(MEGABYTE)
        writer.write_eof()
        assert await reader.read() == MEGABYTE

    run(with_server(echo, talk))


def test_the_transport_is_what_asyncio_promises() -> None:
    async def answer_behind_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = await reader.read()
        writer.write(heard.upper())
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        host, port = writer.get_extra_info("peername")[:2]
        assert (host, writer.get_extra_info("sockname")[0]) == (HOST, HOST)
        assert port > 0
        assert isinstance(writer.get_extra_info("rudp_stats"), TransportStats)
        assert writer.get_extra_info("no such thing", "default") == "default"
        transport.set_write_buffer_limits(high=4000)
        assert transport.get_write_buffer_limits() == (1000, 4000)
        with pytest.raises(ValueError, match="high"):
            transport.set_write_buffer_limits(high=1, low=2)
        assert transport.can_write_eof()
        transport.writelines([b"half ", b"closed"])
        transport.write_eof()
        with pytest.raises(RuntimeError):
            transport.write(b"more")
        assert await reader.read() == b"HALF CLOSED"

    run(with_server(answer_behind_the_end, talk))


def test_a_server_may_speak_first() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        assert await reader.read() == b""
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"220 hello\r\n"

    run(with_server(greet, talk))


def test_what_was_written_arrives_though_the_writer_closes_at_once() -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read())
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(MEGABYTE)

    run(with_server(listen, talk))
    assert heard == MEGABYTE


def test_a_server_that_closes_first_has_its_last_word_heard() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(MEGABYTE)
        writer.close()
        await writer.wait_closed()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == MEGABYTE

    run(with_server(speak, talk))


def test_a_writer_waits_for_a_reader_that_does_not_read() -> None:
    """Whoever writes is held back before there is more on the way than the windows allow."""
    written = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        while written < 64 << 20:
            writer.write(bytes(65_536))
            written += 65_536
            await writer.drain()
        writer.close()

    async def dialogue() -> None:
        server = await aio.start_server(pour, HOST, 0)
        reader, writer = await aio.open_connection(HOST, port_of(server))
        await asyncio.sleep(1)
        assert written < 4 << 20
        taken = 0
        while taken < 4 << 20:
            taken += len(await reader.read(65_536))
        writer.transport.abort()
        server.abort()

    run(dialogue())


def test_an_abort_is_a_reset_to_the_peer() -> None:
    seen: list[type[BaseException]] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except OSError as error:
            seen.append(type(error))

    async def dialogue() -> None:
        server = await aio.start_server(listen, HOST, 0)
        _, writer = await aio.open_connection(HOST, port_of(server))
        writer.write(b"half a wo")
        writer.transport.abort()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)

    run(dialogue())
    assert seen == [ConnectionResetError]


def test_where_nobody_listens_the_connection_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        run(aio.open_connection(HOST, port))


def test_a_peer_that_vanishes_is_given_up_after_the_idle_timeout() -> None:
    impatient = TRANSPORTS.build(Spec("rudp", (("max_idle_timeout", 300_000_000),)))

    async def dialogue() -> None:
        server = await aio.start_server(echo, HOST, 0)
        reader, writer = await aio.open_connection(HOST, port_of(server), transport=impatient)
        server.abort()
        with pytest.raises(TimeoutError):
            await reader.read()
        writer.close()

    run(dialogue())


def test_a_transport_without_flow_control_is_refused_by_name() -> None:
    with pytest.raises(Exception, match="use rudp"):
        run(aio.open_connection(HOST, 9, transport=TRANSPORTS.build(Spec("go_back_n"))))


def test_a_protocol_that_raises_loses_its_connection_and_nothing_else() -> None:
    reports: list[dict[str, object]] = []

    class Faulty(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise ValueError("no")

    async def dialogue() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, report: reports.append(report))
        server = await aio.create_server(Faulty, HOST, 0)
        for _ in range(2):
            reader, writer = await aio.open_connection(HOST, port_of(server))
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
        server.abort()

    run(dialogue())
    assert [type(report["exception"]) for report in reports] == [ValueError, ValueError]


def test_a_hundred_connections_at_once() -> None:
    async def dialogue() -> None:
        server = await aio.start_server(echo, HOST, 0)

        async def one(number: int) -> None:
            reader, writer = await aio.open_connection(HOST, port_of(server))
            said = b"%d" % number * 1000
            writer.write(said)
            writer.write_eof()
            assert await reader.read() == said
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(one(number) for number in range(100)))
        server.close()
        await server.wait_closed()

    run(dialogue())


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context, and a client's that believes it."""
    certificate, key = write_self_signed(tmp_path_factory.mktemp("tls"), ["localhost", HOST])
    return server_context(certificate, key), ssl.create_default_context(cafile=str(certificate))


Certificates = tuple[ssl.SSLContext, ssl.SSLContext]


def test_tls_from_the_first_octet(certificates: Certificates) -> None:
    async def dialogue() -> None:
        server = await aio.start_server(echo, HOST, 0, ssl=certificates[0])
        reader, writer = await aio.open_connection(HOST, port_of(server), ssl=certificates[1])
        assert writer.get_extra_info("cipher") is not None
        writer.write(MEGABYTE)
        taken = await reader.readexactly(len(MEGABYTE))
        assert taken == MEGABYTE
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(dialogue())


def test_a_certificate_nobody_vouches_for_is_not_believed(certificates: Certificates) -> None:
    async def dialogue() -> None:
        server = await aio.start_server(echo, HOST, 0, ssl=certificates[0])
        with pytest.raises(ssl.SSLCertVerificationError):
            await aio.open_connection(HOST, port_of(server), ssl=True)
        server.abort()

    run(dialogue())


# Programs written for asyncio's TCP, as they come


class Inbox:
    """aiosmtpd's handler: keeps what came."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        assert isinstance(envelope.original_content, bytes)
        self.mails.append(envelope.original_content)
        return "250 taken"


def letter(size: int) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", "over RUDP"
    message.set_content("x" * 70 + "\n" * 1)
    body = message.get_content() * (size // 71 + 1)
    message.set_content(body)
    return message


@contextmanager
def lossy(port: int, *, is_lossy: bool) -> Iterator[int]:
    """The port to call: behind a path that loses a tenth of the packets each way, or the server's own."""
    if not is_lossy:
        yield port
        return
    link = LinkConfig(loss=Spec("random", (("p", (1 << 64) // 10),)))
    with BackgroundRelay((HOST, port), RelayPath(forward=link, reverse=link)) as relay:
        yield relay.address[1]


@pytest.mark.parametrize("is_lossy", [False, True], ids=["clean", "10% loss"])
@pytest.mark.parametrize("size", [1_000, 1_000_000])
@pytest.mark.parametrize("kind", ["plain", "starttls and auth", "implicit tls"])
def test_aiosmtplib_sends_to_aiosmtpd(kind: str, size: int, is_lossy: bool, certificates: Certificates) -> None:
    inbox = Inbox()

    def session() -> SMTP:
        if kind == "starttls and auth":

            def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
                return AuthResult(success=getattr(data, "password", b"") == b"secret")

            return SMTP(inbox, tls_context=certificates[0], auth_required=True, authenticator=check, hostname="mx")
        return SMTP(inbox, hostname="mx")

    async def dialogue() -> None:
        tls = certificates[0] if kind == "implicit tls" else None
        server = await asyncio.get_running_loop().create_server(session, HOST, 0, ssl=tls)
        assert isinstance(server, aio.Server)
        with lossy(port_of(server), is_lossy=is_lossy) as port:
            client_tls = certificates[1] if tls is not None else None
            async with aiosmtplib.SMTP(
                hostname=HOST, port=port, use_tls=tls is not None, start_tls=False, tls_context=client_tls
            ) as client:
                if kind == "starttls and auth":
                    await client.starttls(tls_context=certificates[1], server_hostname="localhost")
                    await client.login("user", "secret")
                await client.send_message(letter(size))
            server.abort()

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(asyncio.wait_for(dialogue(), 50))
    assert len(inbox.mails) == 1
    assert len(inbox.mails[0]) >= size
    assert b"Subject: over RUDP" in inbox.mails[0]


def test_giving_up_a_stream_that_is_over_ends_it_behind_what_nobody_has_read() -> None:
    class Full(asyncio.Protocol):
        def __init__(self) -> None:
            self.lost = asyncio.Event()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.pause_reading()

        def connection_lost(self, error: Exception | None) -> None:
            self.lost.set()

    async def talk() -> None:
        protocols: list[Full] = []

        def factory() -> Full:
            protocols.append(Full())
            return protocols[-1]

        server = await aio.create_server(factory, HOST, 0)
        client, _ = await aio.create_connection(asyncio.Protocol, HOST, port_of(server))
        for _ in range(2):
            client.write(b"x" * 100)
            await asyncio.sleep(0.1)
        client.close()
        await asyncio.sleep(0.5)
        (full,) = protocols
        assert not full.lost.is_set()
        full.transport.abort()
        await asyncio.wait_for(full.lost.wait(), 2)
        server.close()
        await aio.shutdown()

    run(talk())
