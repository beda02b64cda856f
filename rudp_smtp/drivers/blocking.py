"""The blocking door: a real socket that leads over RUDP, for programs that know nothing but sockets.

    with SMTP("127.0.0.1", 2525) as server:         # smtplib.SMTP, over RUDP
        server.ehlo(); server.starttls(); server.ehlo(); server.login(user, password)
        server.sendmail(sender, [recipient], message)

`create_connection` is `socket.create_connection`. What it returns is one end of a socket pair; a thread moves what goes
in and out of the other to the peer. Closing it sends what was written; the interpreter waits a moment for that at exit.
"""

import asyncio
import atexit
import smtplib
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import TypeVar

from rudp_smtp.drivers import aio
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TransportPlugin

PIECE = 65_536
PATIENCE = 2.0  # seconds at exit, for what was written and not yet acknowledged

T = TypeVar("T")


class _Background:
    """Owns a loop in a thread of its own: one for the whole process, from the first connection on."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.bridges: dict[asyncio.Task[None], socket.socket] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="rudp", daemon=True)
        self._thread.start()
        atexit.register(self._leave)

    def call(self, work: Coroutine[None, None, T], timeout: float | None) -> T:
        """Done in the thread; its exceptions are raised here, TimeoutError if it takes longer than that."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def _leave(self) -> None:
        self.call(self._finish(), PATIENCE * 2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        for local in self.bridges.values():
            local.shutdown(socket.SHUT_RD)  # nobody is left to write: what is in there is the last
        if self.bridges:
            await asyncio.wait(self.bridges, timeout=PATIENCE)
        for bridge in list(self.bridges):
            bridge.cancel()
        await aio.shutdown(PATIENCE / 2)


_lock = threading.Lock()
_background: list[_Background] = []


def create_connection(
    address: tuple[str, int],
    timeout: float | None = None,
    source_address: tuple[str, int] | None = None,
    *,
    transport: TransportPlugin | None = None,
    sink: Sink | None = None,
) -> socket.socket:
    """A connected socket, as `socket.create_connection` gives one over TCP, with its errors; `timeout` in seconds."""
    with _lock:
        if not _background:
            _background.append(_Background())
    background = _background[0]
    connected = background.call(_connect(background, address, source_address, transport, sink), timeout)
    connected.settimeout(timeout)
    return connected


class SMTP(smtplib.SMTP):
    """smtplib's client over RUDP: the same calls, the same answers."""

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        if timeout is not None and not timeout:
            raise ValueError("Non-blocking socket (timeout=0) is not supported")
        return create_connection((host, port), _seconds(timeout), _source(self.source_address))


class SMTP_SSL(smtplib.SMTP_SSL):  # noqa: N801 - smtplib's own name
    """The same with TLS from the first octet."""

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        if timeout is not None and not timeout:
            raise ValueError("Non-blocking socket (timeout=0) is not supported")
        plain = create_connection((host, port), _seconds(timeout), _source(self.source_address))
        return self.context.wrap_socket(plain, server_hostname=host)


def _seconds(timeout: object) -> float | None:
    """smtplib's default is an object of the socket module's that stands for the global timeout."""
    return timeout if isinstance(timeout, int | float) else socket.getdefaulttimeout()


def _source(address: object) -> tuple[str, int] | None:
    return address if isinstance(address, tuple) else None


async def _connect(
    background: _Background,
    address: tuple[str, int],
    source: tuple[str, int] | None,
    transport: TransportPlugin | None,
    sink: Sink | None,
) -> socket.socket:
    reader, writer = await aio.open_connection(*address, local_addr=source, transport=transport, sink=sink)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    bridge = asyncio.get_running_loop().create_task(_bridge(ours, reader, writer))
    background.bridges[bridge] = ours
    bridge.add_done_callback(background.bridges.pop)
    return theirs


async def _bridge(local: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until both directions have ended, or either has failed."""
    loop = asyncio.get_running_loop()

    async def outwards() -> None:
        while octets := await loop.sock_recv(local, PIECE):
            writer.write(octets)
            await writer.drain()
        writer.write_eof()

    async def inwards() -> None:
        while octets := await reader.read(PIECE):
            await loop.sock_sendall(local, octets)
        local.shutdown(socket.SHUT_WR)

    directions = [loop.create_task(outwards()), loop.create_task(inwards())]
    try:
        await asyncio.gather(*directions)
        writer.close()
        await writer.wait_closed()
    except OSError:  # one side is gone: the other hears of it by the end of its own
        writer.transport.abort()
    finally:
        for direction in directions:
            direction.cancel()
        local.close()
