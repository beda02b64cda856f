"""Endpoint: datagram -> connection, by connection ID (RFC 9000 s5.2); accepts new ones; knows the next deadline."""

from collections import deque
from dataclasses import fields
from heapq import heapify, heappop, heappush, heapreplace

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.trace import PacketDropped, Sink, VantagePoint
from rudp_smtp.transport import Address, Event, Transport, TransportStats
from rudp_smtp.transport.rudp.config import TransportConfig
from rudp_smtp.transport.rudp.connection import Connection
from rudp_smtp.transport.rudp.handshake import Handshake
from rudp_smtp.transport.rudp.state import CLOSED
from rudp_smtp.wire.frames import HelloFrame
from rudp_smtp.wire.hello import MIN_DATAGRAM_SIZE
from rudp_smtp.wire.packet import INITIAL, Packet, decode_packet, destination_connection_id

FirstFlight = tuple[Address, int, int]  # whence, and both connection IDs: what makes two INITIAL packets one client's
ALARMS_SPARE = 64
PAST_KEPT = 4096  # first flights of past connections remembered, so that a late copy opens nothing

_LAST_KNOWN = ("smoothed_rtt", "min_rtt", "congestion_window")
_COUNTERS = tuple(field.name for field in fields(TransportStats) if field.name not in _LAST_KNOWN)


class Endpoint:
    """Owns the connections and their common queues. An idle connection costs nothing until its deadline."""

    __slots__ = (
        "_accepts",
        "_alarm_count",
        "_alarms",
        "_awake",
        "_by_first_flight",
        "_by_id",
        "_config",
        "_draw_count",
        "_draws",
        "_events",
        "_first_flights",
        "_half_open",
        "_host",
        "_ordinal",
        "_past_flights",
        "_past_stats",
        "_sink",
    )

    def __init__(self, config: TransportConfig, *, host: str, accepts: bool, draws: DrawKey, sink: Sink | None) -> None:
        self._config = config
        self._host = host
        self._accepts = accepts
        self._draws = draws
        self._draw_count = 0
        self._sink = sink
        self._ordinal = 0
        self._by_id: dict[int, Connection] = {}
        self._by_first_flight: dict[FirstFlight, Connection] = {}
        self._first_flights: dict[int, FirstFlight] = {}  # by connection ID; accepted connections only
        self._past_flights: dict[FirstFlight, None] = {}  # oldest first
        self._half_open: list[Connection] = []  # and some that no longer are
        self._events: deque[tuple[Transport, Event]] = deque()
        self._awake: deque[Connection] = deque()  # those with an input or command since they were last drained
        self._alarms: list[
            tuple[int, int, Connection]
        ] = []  # a heap; an entry counts if it is its connection's `alarm`
        self._alarm_count = 0  # makes entries of one time keep their order
        self._past_stats = TransportStats()  # of connections that are gone, and of datagrams that belong to none

    def connect(self, remote: Address, now: int) -> Connection:
        original_id = self._draw_id()
        handshake = Handshake(
            self._config, is_client=True, local_id=self._draw_id(), original_id=original_id, peer_id=None
        )
        return self._make(handshake, remote, now)

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        connection_id = destination_connection_id(data)
        if connection_id is None:
            self._drop(len(data), "header_parse_error", now)
            return
        connection = self._by_id.get(connection_id)
        if connection is None:
            self._receive_unknown(data, remote, now)
        elif connection.remote != remote:
            self._drop(len(data), "unknown_path", now)  # RFC 9000 section 9: we do not offer migration yet
        else:
            connection.receive_datagram(data, now)

    def handle_timeout(self, now: int) -> None:
        alarms = self._alarms
        while alarms and alarms[0][0] <= now:
            time, _, connection = heappop(alarms)
            if connection.alarm != time:
                continue
            connection.alarm = None
            deadline = connection.deadline
            if deadline is None:
                continue
            if deadline <= now:
                connection.handle_timeout(now)
            else:
                self._set_alarm(connection, deadline)

    def next_datagram(self, now: int) -> tuple[bytes, Address, int] | None:
        """The next datagram of the connections that were touched, in turn."""
        awake = self._awake
        while awake:
            connection = awake[0]
            datagram = connection.assembler.next_datagram(now)
            if datagram is not None:
                if len(awake) > 1:
                    awake.rotate(-1)
                return datagram, connection.remote, NOT_ECT
            awake.popleft()
            connection.is_awake = False
            self._settle(connection)
        return None

    def next_event(self) -> tuple[Transport, Event] | None:
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> int | None:
        for connection in self._awake:
            self._settle(connection)
        alarms = self._alarms
        while alarms:
            time, _, connection = alarms[0]
            deadline = connection.deadline
            if connection.alarm != time:
                heappop(alarms)
            elif deadline == time:
                return time
            elif deadline is None:
                heappop(alarms)
                connection.alarm = None
            else:
                self._alarm_count += 1
                connection.alarm = deadline
                heapreplace(alarms, (deadline, self._alarm_count, connection))
        return None

    def total_stats(self) -> TransportStats:
        total = TransportStats()
        add_stats(total, self._past_stats)
        for connection in self._by_id.values():
            add_stats(total, connection.stats)
        return total

    @property
    def connection_count(self) -> int:
        """Connections not yet forgotten, those that only answer late packets included."""
        return len(self._by_id)

    # Accepting

    def _receive_unknown(self, data: bytes, remote: Address, now: int) -> None:
        if not self._accepts or data[0] != INITIAL:
            self._drop(len(data), "unknown_connection_id", now)
            return
        try:
            packet = decode_packet(data)
        except PacketDecodeError as error:
            self._drop(len(data), error.trigger, now)
            return
        first_flight = (remote, packet.destination_connection_id, packet.source_connection_id)
        connection = self._by_first_flight.get(first_flight)
        if connection is not None:
            connection.receive_packet(packet, len(data), now)
            return
        refusal = self._refusal(packet, len(data), first_flight)
        if refusal is not None:
            self._drop(len(data), refusal, now)
            return
        self._accept(packet, first_flight, now).receive_packet(packet, len(data), now)

    def _refusal(self, packet: Packet, size: int, first_flight: FirstFlight) -> str | None:
        """Why a first flight opens no connection; nothing is answered, so nothing can be amplified."""
        if first_flight in self._past_flights:
            return "duplicate"
        if size < MIN_DATAGRAM_SIZE:  # RFC 9000 section 14.1
            return "first_flight_too_small"
        if not any(isinstance(frame, HelloFrame) for frame in packet.frames):
            return "no_hello"
        if len(self._by_id) >= self._config.max_connections:
            return "connection_limit"
        if len(self._half_open) >= self._config.max_half_open:
            self._half_open = [connection for connection in self._half_open if connection.is_half_open]
            if len(self._half_open) >= self._config.max_half_open:
                return "half_open_limit"
        return None

    def _accept(self, packet: Packet, first_flight: FirstFlight, now: int) -> Connection:
        remote, original_id, peer_id = first_flight
        local_id = self._draw_id()
        handshake = Handshake(
            self._config, is_client=False, local_id=local_id, original_id=original_id, peer_id=peer_id
        )
        connection = self._make(handshake, remote, now)
        self._by_first_flight[first_flight] = connection
        self._first_flights[local_id] = first_flight
        self._half_open.append(connection)
        return connection

    def _make(self, handshake: Handshake, remote: Address, now: int) -> Connection:
        connection = Connection(
            self._config,
            handshake,
            remote=remote,
            vantage=VantagePoint(self._sink, self._host, self._ordinal),
            events=self._events,
            awake=self._awake,
        )
        self._ordinal += 1
        self._by_id[handshake.local_id] = connection
        connection.start(now)
        return connection

    def _draw_id(self) -> int:
        """A random connection ID that is not in use here."""
        while True:
            connection_id = self._draws.draw(self._draw_count)
            self._draw_count += 1
            if connection_id not in self._by_id:
                return connection_id

    # Keeping

    def _settle(self, connection: Connection) -> None:
        """Note when a drained connection wants to be woken, or forget it."""
        if connection.machine.state is CLOSED:
            self._forget(connection)
            return
        deadline = connection.next_timeout()
        connection.deadline = deadline
        if deadline is not None and (connection.alarm is None or deadline < connection.alarm):
            self._set_alarm(connection, deadline)

    def _set_alarm(self, connection: Connection, deadline: int) -> None:
        connection.alarm = deadline
        self._alarm_count += 1
        alarms = self._alarms
        heappush(alarms, (deadline, self._alarm_count, connection))
        if len(alarms) > ALARMS_SPARE + 2 * len(self._by_id):  # mostly entries that no longer count
            alarms[:] = [alarm for alarm in alarms if alarm[2].alarm == alarm[0]]
            heapify(alarms)

    def _forget(self, connection: Connection) -> None:
        connection.alarm = connection.deadline = None
        if self._by_id.pop(connection.connection_id, None) is None:
            return
        add_stats(self._past_stats, connection.stats)
        first_flight = self._first_flights.pop(connection.connection_id, None)
        if first_flight is None:
            return
        del self._by_first_flight[first_flight]
        self._past_flights[first_flight] = None
        if len(self._past_flights) > PAST_KEPT:
            del self._past_flights[next(iter(self._past_flights))]

    def _drop(self, size: int, trigger: str, now: int) -> None:
        self._past_stats.packets_dropped += 1
        if self._sink is not None:
            self._sink.emit(PacketDropped(now, self._host, size, trigger))


def add_stats(total: TransportStats, stats: TransportStats) -> None:
    """Add counters; of what is only last known, keep the latest."""
    for name in _COUNTERS:
        setattr(total, name, getattr(total, name) + getattr(stats, name))
    for name in _LAST_KNOWN:
        setattr(total, name, getattr(stats, name) or getattr(total, name))
