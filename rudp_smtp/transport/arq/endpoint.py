"""ArqEndpoint: datagram -> connection, by peer and connection ID; accepts new ones; knows the next deadline."""

from collections import deque
from heapq import heappop, heappush

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.trace import PacketDropped, Sink, VantagePoint
from rudp_smtp.transport import Address, Event, TransportStats, add_stats
from rudp_smtp.transport.arq.connection import ArqConnection
from rudp_smtp.transport.arq.frame import SYN, Frame, decode_frame
from rudp_smtp.transport.arq.parameters import ArqParameters
from rudp_smtp.transport.arq.state import CLOSED

CONNECTIONS_MAX = 10_000
HALF_OPEN_MAX = 256


class ArqEndpoint:
    """Owns the connections. Whatever happens to one puts it into `_awake`, until nothing more comes out of it."""

    __slots__ = (
        "_accepts",
        "_alarm_count",
        "_alarms",
        "_awake",
        "_connections",
        "_draw_count",
        "_draws",
        "_host",
        "_ordinal",
        "_parameters",
        "_past_stats",
        "_sink",
    )

    def __init__(
        self, parameters: ArqParameters, *, host: str, accepts: bool, draws: DrawKey, sink: Sink | None
    ) -> None:
        self._parameters = parameters
        self._host = host
        self._accepts = accepts
        self._draws = draws
        self._draw_count = 0
        self._sink = sink
        self._ordinal = 0
        self._connections: dict[tuple[Address, int], ArqConnection] = {}
        self._awake: deque[ArqConnection] = deque()
        self._alarms: list[tuple[int, int, ArqConnection]] = []  # a heap; one that is not its connection's is stale
        self._alarm_count = 0  # makes entries of one time keep their order
        self._past_stats = TransportStats()  # of connections that are gone, and of datagrams that belong to none

    def connect(self, remote: Address, now: int) -> ArqConnection:
        connection_id = self._draws.draw(self._draw_count)
        self._draw_count += 1
        return self._make(connection_id, remote, now, is_client=True)

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        try:
            frame = decode_frame(data)
        except PacketDecodeError as error:
            self._drop(len(data), error.trigger, now)
            return
        connection = self._connections.get((remote, frame[1]))
        if connection is None:
            refusal = self._refusal(frame)
            if refusal is not None:
                self._drop(len(data), refusal, now)
                return
            connection = self._make(frame[1], remote, now, is_client=False)
        connection.receive(frame, len(data), now)

    def handle_timeout(self, now: int) -> None:
        alarms = self._alarms
        while alarms and alarms[0][0] <= now:
            time, _, connection = heappop(alarms)
            if connection.alarm != time:
                continue
            connection.alarm = None
            if connection.deadline is not None and connection.deadline <= now:
                connection.handle_timeout(now)
            else:
                self._settle(connection)

    def next_datagram(self, now: int) -> tuple[bytes, Address, int] | None:
        """The next datagram of the connections that were touched, in turn."""
        awake = self._awake
        for _ in range(len(awake)):
            connection = awake[0]
            datagram = connection.next_datagram(now)
            if datagram is not None:
                awake.rotate(-1)
                return datagram, connection.remote, NOT_ECT
            if connection.events:  # not yet told
                awake.rotate(-1)
                continue
            awake.popleft()
            connection.is_awake = False
            self._settle(connection)
        return None

    def next_event(self) -> tuple[ArqConnection, Event] | None:
        for connection in self._awake:
            if connection.events:
                return connection, connection.events.popleft()
        return None

    def next_timeout(self) -> int | None:
        for connection in self._awake:
            self._settle(connection)
        alarms = self._alarms
        while alarms:
            time, _, connection = alarms[0]
            if connection.alarm == time and connection.deadline == time:
                return time
            heappop(alarms)
            if connection.alarm == time:
                connection.alarm = None
                self._settle(connection)
        return None

    def total_stats(self) -> TransportStats:
        total = TransportStats()
        add_stats(total, self._past_stats)
        for connection in self._connections.values():
            add_stats(total, connection.stats)
        return total

    @property
    def connection_count(self) -> int:
        """Connections not yet forgotten, lingering ones included."""
        return len(self._connections)

    def _refusal(self, frame: Frame) -> str | None:
        """Why a datagram that belongs to no connection opens none."""
        kind, _, sequence_bits, window, name = frame
        parameters = self._parameters
        if kind != SYN or not self._accepts:
            return "unknown_connection_id"
        if (sequence_bits, window, name) != (
            parameters.sequence_bits,
            parameters.window_frames,
            parameters.name.encode(),
        ):
            return "unsupported_version"
        if len(self._connections) >= CONNECTIONS_MAX:
            return "connection_limit"
        if sum(connection.is_half_open for connection in self._connections.values()) >= HALF_OPEN_MAX:
            return "half_open_limit"
        return None

    def _make(self, connection_id: int, remote: Address, now: int, *, is_client: bool) -> ArqConnection:
        connection = ArqConnection(
            self._parameters,
            connection_id=connection_id,
            remote=remote,
            is_client=is_client,
            vantage=VantagePoint(self._sink, self._host, self._ordinal),
            awake=self._awake,
            now=now,
        )
        self._ordinal += 1
        self._connections[remote, connection_id] = connection
        return connection

    def _settle(self, connection: ArqConnection) -> None:
        """Note when a connection wants to be woken, or forget it."""
        if connection.machine.state is CLOSED:
            connection.alarm = connection.deadline = None
            key = connection.remote, connection.connection_id
            if not connection.events and self._connections.pop(key, None) is not None:
                add_stats(self._past_stats, connection.stats)
            return
        deadline = connection.deadline = connection.next_timeout()
        if deadline is not None and (connection.alarm is None or deadline < connection.alarm):
            connection.alarm = deadline
            self._alarm_count += 1
            heappush(self._alarms, (deadline, self._alarm_count, connection))

    def _drop(self, size: int, trigger: str, now: int) -> None:
        self._past_stats.packets_dropped += 1
        if self._sink is not None:
            self._sink.emit(PacketDropped(now, self._host, size, trigger))
