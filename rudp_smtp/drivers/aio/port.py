"""Port: a UDP socket, the endpoint behind it, and the event loop that moves both."""

import asyncio
import socket
from collections.abc import Callable
from typing import assert_never
from weakref import WeakSet

from rudp_smtp.datagram import Address, Label
from rudp_smtp.drivers.aio.stream import ABORTED, StreamTransport
from rudp_smtp.drivers.pump import drain, expire, take
from rudp_smtp.errors import ConfigError, ErrorCode
from rudp_smtp.transport import (
    Closed,
    Endpoint,
    Established,
    Event,
    PausableTransport,
    StreamData,
    StreamOpened,
    StreamReset,
    StreamStopped,
    StreamWritable,
    Transport,
)
from rudp_smtp.units import SECOND

DATAGRAM_MAX = 65_535
DATAGRAMS_PER_TURN = 64  # read before the loop's other work has its turn
# RFC 9000 section 13.2.1: what waits may be processed together before it is acknowledged. A call of the system for each
# acknowledgement would cost more than all the rest.
DATAGRAMS_PER_ANSWER = 16
SOCKET_BUFFER = 4 << 20  # a window's worth may arrive while the loop is busy; the kernel grants what it will

OPEN_PORTS: WeakSet["Port"] = WeakSet()  # of all loops, for `shutdown`

Opened = Callable[["Port", PausableTransport, int], None]  # a peer has opened this stream


class _Host:
    """The endpoint as a node of the pump: one that is never done."""

    done = False

    def __init__(self, endpoint: Endpoint) -> None:
        self.receive_datagram = endpoint.receive_datagram
        self.handle_timeout = endpoint.handle_timeout
        self.next_datagram = endpoint.next_datagram
        self.next_timeout = endpoint.next_timeout


class Port:
    """Owns the socket, the clock's origin and the streams. Nothing is sent in the middle of a callback: what the
    application writes in one turn of the loop leaves together at its end."""

    def __init__(
        self, endpoint: Endpoint, bound: socket.socket, opened: Opened | None = None, *, unused_timeout: int = 0
    ) -> None:
        """Of a server: `opened`, and how many ns a peer may keep a connection on which we have no stream."""
        self.loop = asyncio.get_running_loop()
        self.is_single = False  # close with the last connection
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self._socket = bound
        self._endpoint = endpoint
        self._host = _Host(endpoint)
        self._opened = opened
        self._unused_timeout = unused_timeout
        self._unused: dict[Transport, int] = {}  # peers' connections without a stream, and since when: oldest first
        self._name: Address = bound.getsockname()
        self._origin = self.loop.time()
        self._connections: dict[Transport, dict[int, StreamTransport]] = {}
        self._waiting: dict[Transport, asyncio.Future[None]] = {}
        self._watched: set[StreamTransport] = set()
        self._deadline: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_drain_due = False
        self.loop.add_reader(bound, self._receive)
        OPEN_PORTS.add(self)

    def now(self) -> int:
        """Nanoseconds since the port was made, by the loop's clock."""
        return int((self.loop.time() - self._origin) * SECOND)

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    async def connect(self, remote: Address) -> StreamTransport:
        """The one stream of a connection, once that is established."""
        connection = _pausable(self._endpoint.connect(remote, self.now()))
        established = self.loop.create_future()
        self._waiting[connection] = established
        stream = self.stream(connection, connection.open_stream(), is_sole=True)  # data may come with the last flight
        self.schedule()
        is_open = False
        try:
            await established
            is_open = True
        finally:
            self._waiting.pop(connection, None)
            if not is_open:
                self._connections.pop(connection, None)
        return stream

    def stream(self, connection: PausableTransport, stream_id: int, *, is_sole: bool) -> StreamTransport:
        """The stream as a transport of asyncio's."""
        extra = {"socket": self._socket, "sockname": self._socket.getsockname(), "peername": connection.remote}
        stream = StreamTransport(self, connection, stream_id, is_sole=is_sole, extra=extra)
        self._connections.setdefault(connection, {})[stream_id] = stream
        return stream

    def forget(self, connection: Transport, stream_id: int) -> None:
        streams = self._connections.get(connection)
        if streams is not None:
            streams.pop(stream_id, None)
            self._note_use(connection)

    def watch(self, stream: StreamTransport) -> None:
        """Tell the stream whenever something was sent: it waits for room, or to have sent all."""
        self._watched.add(stream)

    def unwatch(self, stream: StreamTransport) -> None:
        self._watched.discard(stream)

    def refuse(self) -> None:
        """Take no more connections."""
        self._opened = None
        self._unused.clear()  # `leave` closes them

    def schedule(self) -> None:
        """The application has given commands: see to them at the end of this turn."""
        if not self._is_drain_due and not self.closed.done():
            self._is_drain_due = True
            self.loop.call_soon(self._drain)

    def leave(self) -> None:
        """Close every connection that has no stream of the application's any more."""
        for connection, streams in self._connections.items():
            if not streams:
                connection.close(self.now())
        self.schedule()

    def close(self) -> None:
        if self.closed.done():
            return
        self.closed.set_result(None)
        OPEN_PORTS.discard(self)
        self.loop.remove_reader(self._socket)
        if self._timer is not None:
            self._timer.cancel()
        for streams in list(self._connections.values()):
            for stream in list(streams.values()):
                stream.on_over(ConnectionAbortedError("the port was closed"))
        self._connections.clear()
        self._socket.close()

    # The pump's network

    def send(self, data: bytes, remote: Address, now: int, ecn: int) -> None:
        """What the kernel does not take is as good as lost, and repaired like that."""
        try:
            assert isinstance(remote, tuple)
            self._socket.sendto(data, remote)
        except ConnectionRefusedError as error:
            self._on_refused(error)
        except OSError:
            return

    # What happens

    def _receive(self) -> None:
        for number in range(1, DATAGRAMS_PER_TURN + 1):
            try:
                data, source = self._socket.recvfrom(DATAGRAM_MAX)
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionRefusedError as error:
                self._on_refused(error)
                break
            except OSError:
                break
            now = self.now()
            take(self._host, data, Label(source, self._name), now)
            if number % DATAGRAMS_PER_ANSWER == 0:
                drain(self._host, now, self)
        self._settle()

    def _expire(self) -> None:
        self._timer = None
        now = self.now()
        if self._deadline is not None and self._deadline <= now:
            self._deadline = expire(self._host, now, self)
        while (due := self._unused_deadline()) is not None and due <= now:
            connection = next(iter(self._unused))
            del self._unused[connection]
            connection.reset(0, "unused", now)
        self._settle()

    def _drain(self) -> None:
        self._is_drain_due = False
        if not self.closed.done():
            self._settle()

    def _settle(self) -> None:
        """Tell the streams what happened, send what comes of it, and wait for what is next."""
        while (happened := self._endpoint.next_event()) is not None:
            self._on_event(happened[0], happened[1])
        self._deadline = drain(self._host, self.now(), self)
        if self._watched:
            for stream in list(self._watched):
                stream.on_drained()
        if self.is_single and not self._connections and not self._waiting:
            self.close()
            return
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline, unused_deadline = self._deadline, self._unused_deadline()
        if deadline is None or (unused_deadline is not None and unused_deadline < deadline):
            deadline = unused_deadline
        if deadline is not None:
            self._timer = self.loop.call_at(self._origin + deadline / SECOND, self._expire)

    def _unused_deadline(self) -> int | None:
        for since in self._unused.values():
            return since + self._unused_timeout
        return None

    def _note_use(self, connection: Transport) -> None:
        """Note whether we have a stream on a peer's connection. PINGs keep one for ever, and cost little."""
        if self._opened is None:
            return
        if self._connections[connection]:
            self._unused.pop(connection, None)
        else:
            self._unused.setdefault(connection, self.now())

    def _on_event(self, connection: Transport, event: Event) -> None:
        streams = self._connections.get(connection, {})
        match event:
            case Established():
                self._on_established(connection)
            case StreamOpened(stream_id):
                self._on_opened(connection, stream_id)
            case StreamData(stream_id, data, is_fin):
                if stream_id in streams:
                    streams[stream_id].on_data(data, is_fin)
            case StreamWritable():
                pass  # on_drained looks
            case StreamStopped(stream_id):
                if stream_id in streams:
                    streams[stream_id].on_stopped()
            case StreamReset(stream_id, error_code):
                if stream_id in streams:
                    streams[stream_id].on_reset(ConnectionResetError(f"the peer gave up, error {error_code}"))
            case Closed():
                self._on_closed(connection, event)
            case _:
                assert_never(event)

    def _on_established(self, connection: Transport) -> None:
        established = self._waiting.get(connection)
        if established is not None and not established.done():
            established.set_result(None)
        elif self._opened is not None:
            self._connections.setdefault(connection, {})
            self._note_use(connection)

    def _on_opened(self, connection: Transport, stream_id: int) -> None:
        if self._opened is None:
            connection.reset(ABORTED, "not accepting", self.now())
        else:
            self._connections.setdefault(connection, {})
            self._opened(self, _pausable(connection), stream_id)
            self._note_use(connection)

    def _on_closed(self, connection: Transport, event: Closed) -> None:
        error = _error(event)
        self._unused.pop(connection, None)
        established = self._waiting.get(connection)
        if established is not None and not established.done():
            if event.cause == "peer" and event.error_code == ErrorCode.CONNECTION_REFUSED:
                error = ConnectionRefusedError(event.reason)
            established.set_exception(error or ConnectionResetError("closed during the handshake"))
        for stream in list(self._connections.pop(connection, {}).values()):
            stream.on_over(error)

    def _on_refused(self, error: ConnectionRefusedError) -> None:
        """Nobody listens there, says ICMP: believed before a connection stands, as TCP does (RFC 1122 s4.2.3.9)."""
        for established in self._waiting.values():
            if not established.done():
                established.set_exception(error)


def _pausable(connection: Transport) -> PausableTransport:
    if not isinstance(connection, PausableTransport):
        raise ConfigError("this transport cannot be read slowly: nothing would bound the memory; use rudp")
    return connection


def _error(event: Closed) -> Exception | None:
    """The end as asyncio tells of it; None where it was orderly."""
    if event.cause == "idle_timeout":
        return TimeoutError("the peer fell silent")
    if event.cause in ("local", "peer") and event.error_code == 0:
        return None
    return ConnectionResetError(f"{event.cause}: {event.reason or f'error {event.error_code}'}")
