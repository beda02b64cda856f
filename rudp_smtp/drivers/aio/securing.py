"""TLS over a StreamTransport from its first octet, by what asyncio offers to everybody: `loop.start_tls`."""

import asyncio
import ssl
from collections.abc import Callable

from rudp_smtp.drivers.aio.stream import StreamTransport


class _Antechamber(asyncio.Protocol):
    """Keeps what the peer says between the end of the handshake and the application's arrival."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.is_eof = False
        self.is_lost = False
        self.error: Exception | None = None

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def eof_received(self) -> bool:
        self.is_eof = True
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost, self.error = True, error

    def show_in(self, protocol: asyncio.BaseProtocol, transport: asyncio.Transport) -> None:
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        assert isinstance(protocol, asyncio.Protocol)
        if self.heard:
            protocol.data_received(b"".join(self.heard))
        if self.is_eof and not protocol.eof_received():
            transport.close()
        if self.is_lost:
            protocol.connection_lost(self.error)


async def start_tls(
    stream: StreamTransport,
    factory: Callable[[], asyncio.BaseProtocol],
    tls: ssl.SSLContext,
    *,
    server_side: bool,
    server_hostname: str | None = None,
    timeout: float | None = None,
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Shake hands (`timeout` seconds; None: asyncio's minute) and show the application in.

    Raises ssl.SSLError, ConnectionError or TimeoutError; the stream is then of no use any more.
    """
    waiting = _Antechamber()
    stream.start(waiting)
    transport = await asyncio.get_running_loop().start_tls(
        stream,
        waiting,
        tls,
        server_side=server_side,
        server_hostname=server_hostname,
        ssl_handshake_timeout=timeout,
    )
    if transport is None:
        raise ConnectionResetError("the peer hung up during the TLS handshake")
    protocol = factory()
    waiting.show_in(protocol, transport)
    return transport, protocol
