"""TcpConnection and TcpEndpoint: the kernel's TCP behind our commands and events.

A driver hands over sockets (`StreamSockets`), and wakes the host when one of them has something to tell. A connection
carries one stream, which the client opens: it is there as soon as the connection is. There are no datagrams to pull;
the pull is when octets are handed to the kernel. TCP cannot give up one direction alone, so a stream that is reset
takes its connection with it.

What is told is what TCP_INFO tells: segments, octets sent again, round trips, the window. Octets on the wire are not
among it (options have no fixed length): the links count them.
"""

from collections import deque
from collections.abc import Iterable
from errno import ETIMEDOUT
from typing import Protocol

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.trace import Sink, VantagePoint
from rudp_smtp.transport import Address, Closed, Established, TransportStats
from rudp_smtp.transport.peers.connection import PeerConnection
from rudp_smtp.transport.round_robin import RoundRobinEndpoint

STREAM = 0  # the client's first, and the only one there is
UNTOLD = frozenset(
    {
        "packets_acked",
        "packets_lost",
        "packets_spurious",
        "packets_duplicate",
        "packets_dropped",
        "acks_sent",
        "probes_sent",
        "copies_sent",
        "bytes_sent",
        "bytes_received",
        "mtu_probes_sent",
        "black_holes",
    }
)


class StreamFacts(Protocol):
    """What the kernel knows of a connection; times in ns."""

    @property
    def segments_sent(self) -> int: ...
    @property
    def segments_received(self) -> int: ...
    @property
    def bytes_sent(self) -> int: ...
    @property
    def bytes_retransmitted(self) -> int: ...
    @property
    def smoothed_rtt(self) -> int: ...
    @property
    def min_rtt(self) -> int: ...
    @property
    def congestion_window(self) -> int: ...
    @property
    def ecn_marked(self) -> int: ...


class StreamSocket(Protocol):
    """A TCP socket that never blocks. What goes wrong is an OSError, and the end."""

    def finish_connecting(self) -> None:
        """Once it is ready: whether that is because nobody answered."""

    def read(self) -> bytes | None:
        """What has come, b"" at the end of the stream, None for nothing yet."""

    def write(self, data: memoryview) -> int:
        """How many octets the kernel took."""

    def want_room(self, is_wanted: bool) -> None:
        """Whether to be ready, too, when there is room to write."""

    def end(self) -> None:
        """There will be no more from us."""

    def close(self, *, is_reset: bool) -> None: ...

    def facts(self) -> StreamFacts: ...


class StreamSockets(Protocol):
    """Makes a host's sockets, and knows which of them are ready."""

    @property
    def is_ready(self) -> bool: ...

    def listen(self, congestion: str, *, is_eager: bool) -> None: ...

    def connect(self, remote: Address, congestion: str, *, is_eager: bool) -> StreamSocket: ...

    def ready(self) -> Iterable[StreamSocket]:
        """Those with something to tell, accepted ones among them. Asking clears `is_ready`."""


class TcpConnection(PeerConnection):
    def __init__(
        self,
        socket: StreamSocket,
        *,
        remote: Address,
        is_client: bool,
        vantage: VantagePoint,
        awake: "deque[TcpConnection]",
    ) -> None:
        super().__init__(remote=remote, is_client=is_client, vantage=vantage, untold=UNTOLD, awake=awake)
        self.socket = socket
        self._backlog: deque[memoryview] = deque()  # written, and not yet taken by the kernel
        self._taken = 0  # octets
        self._is_established = not is_client
        self._is_last_written = False  # by the application
        self._is_ended = False  # towards the kernel
        self._has_peer_ended = False
        self._is_deaf = False  # the application does not want what comes
        self._is_past = False
        if not is_client:
            self.events.append(Established())
            self.on_opened(STREAM)

    # Commands

    def _open(self, stream_id: int) -> None:
        if stream_id != STREAM:
            raise LocalProtocolError("a TCP connection carries one stream, which its client opens")

    def _write(self, stream_id: int, data: bytes, fin: bool) -> None:
        if data:
            self._backlog.append(memoryview(data))
        self._is_last_written = self._is_last_written or fin

    def _reset_stream(self, stream_id: int, error_code: int) -> None:
        self._reset(error_code, "")
        self.end(Closed("local", error_code, "TCP cannot give up a stream alone"))

    def _stop_sending(self, stream_id: int, error_code: int) -> None:
        self._is_deaf = True  # TCP has no word for it

    def _reset(self, error_code: int, reason: str) -> None:
        self._leave(is_reset=True)

    # Inputs

    def on_ready(self) -> None:
        """The socket has something to tell."""
        if self._is_past:
            return
        try:
            if not self._is_established:
                self.socket.finish_connecting()
                self._is_established = True
                self.socket.want_room(False)
                self.events.append(Established())
            if not self._has_peer_ended:
                self._read()
        except OSError as error:
            self._fail(error)

    def handle_timeout(self, now: int) -> None:
        """The kernel keeps its own time."""

    # Outputs

    def next_datagram(self, now: int) -> None:
        """Hand over what the kernel takes."""
        if self._is_past or not self._is_established:
            return
        try:
            self._flush()
        except OSError as error:
            self._fail(error)

    def next_timeout(self) -> None:
        return None

    @property
    def is_gone(self) -> bool:
        return self._is_past

    def refresh(self) -> None:
        """Write down what the kernel knows by now."""
        if self._is_past:
            return
        facts, stats = self.socket.facts(), self.books.stats
        stats.packets_sent, stats.packets_received = facts.segments_sent, facts.segments_received
        stats.stream_bytes_sent = facts.bytes_sent - facts.bytes_retransmitted
        stats.stream_bytes_retransmitted = facts.bytes_retransmitted
        stats.smoothed_rtt, stats.min_rtt = facts.smoothed_rtt, facts.min_rtt
        stats.congestion_window = facts.congestion_window
        stats.ecn_marked = facts.ecn_marked

    # Inside

    def _read(self) -> None:
        data = self.socket.read()
        if data is None:
            return
        self._has_peer_ended = not data
        if not self._is_deaf and not self._is_left:
            self.on_stream_data(STREAM, data, not data)

    def _flush(self) -> None:
        backlog = self._backlog
        while backlog:
            taken = self.socket.write(backlog[0])
            self.on_range_sent(STREAM, self._taken, self._taken + taken)
            self._taken += taken
            if taken < len(backlog[0]):
                backlog[0] = backlog[0][taken:]
                break
            backlog.popleft()
        self.socket.want_room(bool(backlog))
        if backlog:
            return
        if (self._is_last_written or self._is_left) and not self._is_ended:
            self._is_ended = True
            self.socket.end()
        if self._is_ended and self._has_peer_ended:
            self._leave(is_reset=False)
            self.end(Closed("local" if self._is_left else "peer", 0, ""))

    def _fail(self, error: OSError) -> None:
        self._leave(is_reset=True)
        cause = "idle_timeout" if error.errno == ETIMEDOUT else "peer"
        self.end(Closed(cause, 0, error.strerror or str(error)))

    def _leave(self, *, is_reset: bool) -> None:
        if not self._is_past:
            self.refresh()
            self._is_past = True
            self._backlog.clear()
            self.socket.close(is_reset=is_reset)


class TcpEndpoint(RoundRobinEndpoint[TcpConnection]):
    """Before it can do anything a driver has to `attach` sockets to it."""

    def __init__(self, congestion: str, *, host: str, accepts: bool, is_eager: bool, sink: Sink | None) -> None:
        super().__init__(host=host, sink=sink)
        self._congestion = congestion
        self._accepts = accepts
        self._is_eager = is_eager
        self._sockets: StreamSockets | None = None
        self._by_socket: dict[StreamSocket, TcpConnection] = {}

    def attach(self, sockets: StreamSockets) -> None:
        self._sockets = sockets
        if self._accepts:
            sockets.listen(self._congestion, is_eager=self._is_eager)

    def connect(self, remote: Address, now: int) -> TcpConnection:
        assert self._sockets is not None, "only a driver with a kernel's sockets carries TCP"
        socket = self._sockets.connect(remote, self._congestion, is_eager=self._is_eager)
        return self._make(socket, remote, is_client=True)

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        raise AssertionError("the kernel's TCP receives its segments itself")

    def handle_timeout(self, now: int) -> None:
        assert self._sockets is not None
        for socket in self._sockets.ready():
            connection = self._by_socket.get(socket)
            if connection is None:
                connection = self._make(socket, None, is_client=False)
            connection.on_ready()
            connection.wake()

    def next_timeout(self) -> int | None:
        """At once where a socket is ready, or handing over octets made an event; all other times are the kernel's."""
        super().next_timeout()
        if any(connection.events for connection in self._awake):
            return 0
        return 0 if self._sockets is not None and self._sockets.is_ready else None

    def total_stats(self) -> TransportStats:
        for connection in self._connections:
            connection.refresh()
        total = super().total_stats()
        total.untold = UNTOLD  # also of a host that no connection came to
        return total

    def _make(self, socket: StreamSocket, remote: Address, *, is_client: bool) -> TcpConnection:
        connection = TcpConnection(
            socket, remote=remote, is_client=is_client, vantage=self._vantage(), awake=self._awake
        )
        self._connections[connection] = None
        self._by_socket[socket] = connection
        return connection

    def _forget(self, connection: TcpConnection) -> None:
        del self._by_socket[connection.socket]
