"""PeerEndpoint: whose turn it is among an endpoint's connections, and whose deadline comes next."""

from abc import ABC, abstractmethod
from collections import deque
from heapq import heappop, heappush
from typing import Generic, TypeVar

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.trace import PacketDropped, Sink, VantagePoint
from rudp_smtp.transport import Address, Event, TransportStats, add_stats
from rudp_smtp.transport.peers.connection import PeerConnection

CONNECTIONS_MAX = 10_000
ENDED_MAX = 10_000  # connections remembered after their end, so that late datagrams do not open them again

Kind = TypeVar("Kind", bound=PeerConnection)


class PeerEndpoint(ABC, Generic[Kind]):
    """Owns the connections. Whatever happens to one puts it into `_awake`, until nothing more comes out of it."""

    def __init__(self, *, host: str, sink: Sink | None) -> None:
        self._host = host
        self._sink = sink
        self._ordinal = 0
        self._connections: dict[Kind, None] = {}  # a set that keeps its order
        self._awake: deque[Kind] = deque()
        self._alarms: list[tuple[int, int, Kind]] = []  # a heap; one that is not its connection's is stale
        self._alarm_count = 0  # makes entries of one time keep their order
        self._past_stats = TransportStats()

    @abstractmethod
    def connect(self, remote: Address, now: int) -> Kind: ...

    @abstractmethod
    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None: ...

    @abstractmethod
    def _forget(self, connection: Kind) -> None:
        """The connection is gone: no datagram belongs to it any more."""

    def handle_timeout(self, now: int) -> None:
        alarms = self._alarms
        while alarms and alarms[0][0] <= now:
            time, _, connection = heappop(alarms)
            if connection.alarm != time:
                continue
            connection.alarm = None
            if connection.deadline is not None and connection.deadline <= now:
                connection.handle_timeout(now)
                connection.wake()
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

    def next_event(self) -> tuple[Kind, Event] | None:
        for connection in self._awake:
            if connection.events:
                return connection, connection.events.popleft()
        return None

    def next_timeout(self) -> int | None:
        for connection in self._awake:
            self._settle(connection)
        alarms = self._alarms
        while alarms:
            time, _, first = alarms[0]
            if first.alarm == time and first.deadline == time:
                return time
            heappop(alarms)
            if first.alarm == time:
                first.alarm = None
                self._settle(first)
        return None

    def total_stats(self) -> TransportStats:
        total = TransportStats()
        add_stats(total, self._past_stats)
        for connection in self._connections:
            add_stats(total, connection.stats)
        return total

    def _settle(self, connection: Kind) -> None:
        """Note when a connection wants to be woken, or forget it."""
        if connection.is_gone:
            connection.alarm = connection.deadline = None
            if not connection.events and connection in self._connections:
                del self._connections[connection]
                add_stats(self._past_stats, connection.stats)
                self._forget(connection)
            return
        deadline = connection.deadline = connection.next_timeout()
        if deadline is not None and (connection.alarm is None or deadline < connection.alarm):
            connection.alarm = deadline
            self._alarm_count += 1
            heappush(self._alarms, (deadline, self._alarm_count, connection))

    def _vantage(self) -> VantagePoint:
        """A new connection's."""
        self._ordinal += 1
        return VantagePoint(self._sink, self._host, self._ordinal - 1)

    def _drop(self, size: int, trigger: str, now: int) -> None:
        """Octets that belong to no connection."""
        self._past_stats.packets_dropped += 1
        if self._sink is not None:
            self._sink.emit(PacketDropped(now, self._host, size, trigger))
