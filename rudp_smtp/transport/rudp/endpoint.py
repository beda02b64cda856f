"""Endpoint: datagram -> connection, by connection ID (RFC 9000 s5.2); opens new ones; knows the next deadline."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.trace import NO_NUMBER, PacketDropped, PacketReceived, PacketSent, Sink, VantagePoint
from rudp_smtp.transport import Address, ConnectionLimits, Event, Transport, TransportStats, add_stats
from rudp_smtp.transport.alarms import Alarms
from rudp_smtp.transport.rudp.accept import Admission, Answer, Doorman, Refusal, Verdict
from rudp_smtp.transport.rudp.config import TransportConfig
from rudp_smtp.transport.rudp.connection import Connection
from rudp_smtp.transport.rudp.flow import WindowBudget
from rudp_smtp.transport.rudp.guests import TOO_MANY, Guests
from rudp_smtp.transport.rudp.handshake import Handshake
from rudp_smtp.transport.rudp.resumption import KnownServers
from rudp_smtp.transport.rudp.state import CLOSED
from rudp_smtp.transport.rudp.tokens import FirstFlight
from rudp_smtp.wire.frames import HelloFrame
from rudp_smtp.wire.packet import INITIAL, decode_packet, destination_connection_id
from rudp_smtp.wire.stateless import InitialHead, answered_connection_id, read_initial_head

ANSWERS_MAX = 64  # waiting to leave, for clients that have no connection: more at a time are not answered
# How many connections' worth of windows all connections together may grow to: what peers can make us hold is that, and
# their first windows, which count only where clients are limited.
FULL_WINDOWS = 8


class Endpoint:
    """Owns the connections and their common queues. An idle connection costs nothing until its deadline."""

    __slots__ = (
        "_accepts",
        "_alarms",
        "_answers",
        "_awake",
        "_budget",
        "_by_first_flight",
        "_by_id",
        "_config",
        "_doorman",
        "_draw_count",
        "_draws",
        "_events",
        "_first_flights",
        "_guests",
        "_half_open",
        "_host",
        "_known_servers",
        "_ordinal",
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
        self._budget = WindowBudget(FULL_WINDOWS * config.connection_window)
        self._by_first_flight: dict[FirstFlight, Connection] = {}
        self._first_flights: dict[int, FirstFlight] = {}  # by connection ID; accepted connections only
        self._half_open: dict[int, Connection] = {}
        self._doorman = Doorman(config, draws.derive("tokens"))
        self._guests: Guests | None = None  # nobody counts
        self._known_servers = KnownServers()
        self._answers: deque[tuple[bytes, Address]] = deque()
        self._events: deque[tuple[Transport, Event]] = deque()
        self._awake: deque[Connection] = deque()  # those with an input or command since they were last drained
        self._alarms: Alarms[Connection] = Alarms()
        self._past_stats = TransportStats()  # of connections that are gone, and of datagrams that belong to none

    def limit_clients(self, limits: ConnectionLimits, client_of: Callable[[Address], str]) -> None:
        """From the next connection on, each client has so much and no more. Raises ConfigError."""
        self._guests = Guests(self._config, limits, client_of)

    def connect(self, remote: Address, now: int) -> Connection:
        original_id = self._draw_id()
        known = self._known_servers.find(remote) if self._config.resumption else None
        handshake = Handshake(self._config, local_id=self._draw_id(), original_id=original_id, known=known)
        return self._make(self._config, handshake, remote, now, self._budget)

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        if len(data) > self._config.max_datagram_size:  # RFC 9000 section 18.2: more than we said we take
            self._drop(len(data), "datagram_too_large", now)
            return
        connection_id = destination_connection_id(data)
        if connection_id is None:
            self._receive_stateless_answer(data, remote, now)
            return
        connection = self._by_id.get(connection_id)
        if connection is None:
            self._receive_unknown(data, remote, now, ecn)
        elif connection.paths.remote != remote:
            connection.receive_from_elsewhere(data, remote, now, ecn)
        else:
            connection.receive_datagram(data, now, ecn)

    def handle_timeout(self, now: int) -> None:
        while (connection := self._alarms.pop_due(now)) is not None:
            connection.handle_timeout(now)

    def next_datagram(self, now: int) -> tuple[bytes, Address, int] | None:
        """The next datagram of the connections that were touched, in turn."""
        if self._answers:
            return self._next_answer(now)
        awake = self._awake
        while awake:
            connection = awake[0]
            datagram = connection.assembler.next_datagram(now)
            if datagram is not None:
                if len(awake) > 1:
                    awake.rotate(-1)
                return datagram, connection.paths.target, connection.marking.codepoint
            awake.popleft()
            connection.is_awake = False
            self._settle(connection)
        return None

    def next_event(self) -> tuple[Transport, Event] | None:
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> int | None:
        for connection in self._awake:
            self._settle(connection)
        return self._alarms.next_time()

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

    def _receive_unknown(self, data: bytes, remote: Address, now: int, ecn: int) -> None:
        if not self._accepts or data[0] != INITIAL:
            self._drop(len(data), "unknown_connection_id", now)
            return
        size = len(data)
        try:
            head = read_initial_head(data)
            client = (remote, head.destination_connection_id, head.source_connection_id)
            connection = self._by_first_flight.get(client)
            if connection is not None:
                connection.receive_packet(decode_packet(data), size, now, ecn)
                return
            verdict = self._judge(head, size, client, now)
            match verdict:
                case Admission():
                    packet = decode_packet(data)
                    if any(isinstance(frame, HelloFrame) for frame in packet.frames):
                        self._doorman.on_admitted(verdict, now)
                        self._admit(verdict, client, now).receive_packet(packet, size, now, ecn)
                    else:
                        self._drop(size, "no_hello", now)
                case Answer():
                    self._answer(verdict.datagram, size, remote, now)
                case Refusal():
                    self._drop(size, verdict.trigger, now)
                case _:
                    assert_never(verdict)
        except PacketDecodeError as error:
            self._drop(size, error.trigger, now)

    def _judge(self, head: InitialHead, size: int, client: FirstFlight, now: int) -> Verdict:
        refusal, is_proof_due = "", False
        if len(self._by_id) >= self._config.max_connections:
            refusal = TOO_MANY
        elif self._guests is not None:
            guest = self._guests.find(client[0])
            refusal, is_proof_due = self._guests.refusal(guest), self._guests.is_proof_due(guest)
        return self._doorman.judge(
            head, size, client, refusal=refusal, is_proof_due=is_proof_due, half_open=len(self._half_open), now=now
        )

    def _admit(self, admission: Admission, client: FirstFlight, now: int) -> Connection:
        """Open a connection for a client whose first flight has a HELLO."""
        remote, original_id, peer_id = client
        local_id = self._draw_id()
        config, budget = self._config, self._budget
        if self._guests is not None:
            guest = self._guests.find(remote)
            config, budget = self._guests.admit(guest, local_id, is_proven=admission.is_address_proven), guest.budget
            if config is not self._config:  # the ticket promised more room: its holder says its first octets again
                admission = replace(admission, used=None)
        handshake = Handshake(config, local_id=local_id, original_id=original_id, peer_id=peer_id, admission=admission)
        connection = self._make(config, handshake, remote, now, budget)
        self._by_first_flight[client] = connection
        self._first_flights[local_id] = client
        if connection.is_half_open:
            self._half_open[local_id] = connection
        return connection

    # What is said without a connection

    def _answer(self, datagram: bytes, size: int, remote: Address, now: int) -> None:
        """Answer a datagram of `size` octets, and remember nothing of it."""
        assert len(datagram) <= size
        if len(self._answers) >= ANSWERS_MAX:
            self._drop(size, "answer_limit", now)
            return
        self._answers.append((datagram, remote))
        stats = self._past_stats
        stats.packets_received += 1
        stats.bytes_received += size
        if self._sink is not None:
            self._sink.emit(PacketReceived(now, self._host, NO_NUMBER, NO_NUMBER, size))

    def _next_answer(self, now: int) -> tuple[bytes, Address, int]:
        datagram, remote = self._answers.popleft()
        stats, size = self._past_stats, len(datagram)
        stats.packets_sent += 1
        stats.bytes_sent += size
        if self._sink is not None:
            self._sink.emit(PacketSent(now, self._host, NO_NUMBER, NO_NUMBER, size, False, (), False, False))
        return datagram, remote, NOT_ECT

    def _receive_stateless_answer(self, data: bytes, remote: Address, now: int) -> None:
        connection_id = answered_connection_id(data)
        if connection_id is None:
            self._drop(len(data), "header_parse_error", now)
            return
        connection = self._by_id.get(connection_id)
        if connection is None:
            self._drop(len(data), "unknown_connection_id", now)
        elif connection.paths.remote != remote:
            self._drop(len(data), "unknown_path", now)
        else:
            connection.receive_stateless_answer(data, now)

    def _make(
        self, config: TransportConfig, handshake: Handshake, remote: Address, now: int, budget: WindowBudget
    ) -> Connection:
        connection = Connection(
            config,
            handshake,
            remote=remote,
            draws=self._draws.derive("connection", str(self._ordinal)),
            vantage=VantagePoint(self._sink, self._host, self._ordinal),
            events=self._events,
            awake=self._awake,
            budget=budget,
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
        if self._half_open and not connection.is_half_open:
            was_half_open = self._half_open.pop(connection.connection_id, None) is not None
            if was_half_open and self._guests is not None:
                self._guests.on_proven(connection.connection_id)
        if connection.machine.state is CLOSED:
            self._forget(connection)
            return
        self._alarms.settle(connection, connection.next_timeout())

    def _forget(self, connection: Connection) -> None:
        self._alarms.cancel(connection)
        is_proven = self._half_open.pop(connection.connection_id, None) is None
        if self._by_id.pop(connection.connection_id, None) is None:
            return
        if self._guests is None or not self._guests.leave(connection, is_proven=is_proven):
            self._budget.give_back(connection.window_growth)
        add_stats(self._past_stats, connection.stats)
        first_flight = self._first_flights.pop(connection.connection_id, None)
        if first_flight is None:
            return
        del self._by_first_flight[first_flight]
        self._doorman.on_past(first_flight)

    def _drop(self, size: int, trigger: str, now: int) -> None:
        self._past_stats.packets_dropped += 1
        if self._sink is not None:
            self._sink.emit(PacketDropped(now, self._host, size, trigger))
