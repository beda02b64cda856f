"""Server: what `create_server` returns, with asyncio's own methods."""

import asyncio
import socket
import ssl
from collections.abc import Callable

from rudp_smtp.drivers.aio.port import Port
from rudp_smtp.drivers.aio.securing import start_tls
from rudp_smtp.drivers.aio.stream import StreamTransport
from rudp_smtp.transport import PausableTransport

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class Server(asyncio.AbstractServer):
    """Owns its ports. Each stream that a client opens is a connection to whoever serves it."""

    def __init__(
        self, factory: ProtocolFactory, tls: ssl.SSLContext | None, handshake_timeout: float | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._factory = factory
        self._tls = tls
        self._handshake_timeout = handshake_timeout
        self._ports: list[Port] = []
        self._sockets: list[socket.socket] = []
        self._handshakes: set[asyncio.Task[None]] = set()  # the loop itself keeps no tasks alive
        self._is_serving = True
        self._forever: asyncio.Future[None] | None = None

    def add(self, port: Port, bound: socket.socket) -> None:
        self._ports.append(port)
        self._sockets.append(bound)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return tuple(self._sockets) if self._is_serving else ()

    @property
    def ports(self) -> tuple[Port, ...]:
        return tuple(self._ports)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._is_serving

    async def start_serving(self) -> None:
        """It does from the beginning."""

    async def serve_forever(self) -> None:
        if not self._is_serving:
            raise RuntimeError("server is closed")
        self._forever = self._loop.create_future()
        try:
            await self._forever
        finally:
            self._forever = None
            self.close()
            await self.wait_closed()

    def close(self) -> None:
        """Take no more connections; those that stand go on."""
        if not self._is_serving:
            return
        self._is_serving = False
        for port in self._ports:
            port.refuse()
            port.is_single = True
            port.leave()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()

    async def wait_closed(self) -> None:
        """Until the last connection is over; a peer that vanished is given up by its idle timeout."""
        for port in self._ports:
            await asyncio.shield(port.closed)

    def abort(self) -> None:
        """Close, and drop the connections that stand."""
        self.close()
        for port in self._ports:
            port.close()

    def on_opened(self, port: Port, connection: PausableTransport, stream_id: int) -> None:
        """A client has opened a stream."""
        stream = port.stream(connection, stream_id, is_sole=False)
        if self._tls is None:
            protocol = self._factory()
            stream.introduce(protocol)
            return
        task = self._loop.create_task(self._secure(stream, self._tls))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _secure(self, stream: StreamTransport, tls: ssl.SSLContext) -> None:
        try:
            await start_tls(stream, self._factory, tls, server_side=True, timeout=self._handshake_timeout)
        except OSError:  # ssl.SSLError and TimeoutError are such; the client hears of it by the stream's end
            stream.abort()
