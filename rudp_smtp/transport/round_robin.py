"""RoundRobinEndpoint: connections take turns to send, and each is woken when it wants to be.

What the textbooks' and other people's transports share, whatever tells their datagrams apart.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Hashable
from typing import Generic, Self, TypeVar

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.errors import ErrorCode, LocalProtocolError
from rudp_smtp.trace import PacketDropped, Sink, VantagePoint
from rudp_smtp.transport import Address, Event, TransportStats, add_stats
from rudp_smtp.transport.alarms import Alarms

CONNECTIONS_MAX = 10_000
ENDED_MAX = 10_000  # connections remembered after their end, so that late datagrams do not open them again


class RoundRobinConnection(ABC):
    """Owns the events its application is still to hear; `awake` is the endpoint's queue of connections to drain."""

    __slots__ = ("_awake", "_is_left", "alarm", "deadline", "events", "is_awake", "remote", "vantage")

    def __init__(self, *, remote: Address, vantage: VantagePoint, awake: "deque[Self]") -> None:
        self.remote = remote
        self.vantage = vantage
        self.is_awake = False  # these three are the endpoint's
        self.deadline: int | None = None
        self.alarm: int | None = None
        self.events: deque[Event] = deque()
        self._awake = awake
        self._is_left = False  # by our application: close or reset

    @property
    @abstractmethod
    def stats(self) -> TransportStats: ...

    @property
    @abstractmethod
    def is_gone(self) -> bool:
        """It needs no datagram and no time any more."""

    @abstractmethod
    def handle_timeout(self, now: int) -> None: ...

    @abstractmethod
    def next_datagram(self, now: int) -> bytes | None: ...

    @abstractmethod
    def next_timeout(self) -> int | None: ...

    def wake(self: Self) -> None:
        if not self.is_awake:
            self.is_awake = True
            self._awake.append(self)

    def _require_not_left(self) -> None:
        if self._is_left:
            raise LocalProtocolError("the connection was closed", error_code=ErrorCode.NO_ERROR)


Kind = TypeVar("Kind", bound=RoundRobinConnection)


class RoundRobinEndpoint(ABC, Generic[Kind]):
    """Owns the connections. Whatever happens to one puts it into `_awake`, until nothing more comes out of it."""

    def __init__(self, *, host: str, sink: Sink | None) -> None:
        self._host = host
        self._sink = sink
        self._ordinal = 0
        self._connections: dict[Kind, None] = {}  # a set that keeps its order
        self._awake: deque[Kind] = deque()
        self._alarms: Alarms[Kind] = Alarms()
        self._past_stats = TransportStats()  # of connections that are gone, and of datagrams that belong to none
        self._ended: dict[Hashable, None] = {}  # what the latest of those that are gone went by

    @abstractmethod
    def connect(self, remote: Address, now: int) -> Kind: ...

    @abstractmethod
    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None: ...

    @abstractmethod
    def _forget(self, connection: Kind) -> None:
        """The connection is gone: no datagram belongs to it any more."""

    def handle_timeout(self, now: int) -> None:
        while (connection := self._alarms.pop_due(now)) is not None:
            connection.handle_timeout(now)
            connection.wake()

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
        return self._alarms.next_time()

    def total_stats(self) -> TransportStats:
        total = TransportStats()
        add_stats(total, self._past_stats)
        for connection in self._connections:
            add_stats(total, connection.stats)
        return total

    @property
    def connection_count(self) -> int:
        """Connections not yet forgotten, lingering ones included."""
        return len(self._connections)

    def _settle(self, connection: Kind) -> None:
        """Note when a connection wants to be woken, or forget it."""
        if not connection.is_gone:
            self._alarms.settle(connection, connection.next_timeout())
            return
        self._alarms.cancel(connection)
        if not connection.events and connection in self._connections:
            del self._connections[connection]
            add_stats(self._past_stats, connection.stats)
            self._forget(connection)

    def _remember(self, name: Hashable) -> None:
        """What a connection that is gone went by."""
        self._ended[name] = None
        if len(self._ended) > ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _vantage(self) -> VantagePoint:
        """A new connection's."""
        self._ordinal += 1
        return VantagePoint(self._sink, self._host, self._ordinal - 1)

    def _drop(self, size: int, trigger: str, now: int) -> None:
        """Octets that belong to no connection."""
        self._past_stats.packets_dropped += 1
        if self._sink is not None:
            self._sink.emit(PacketDropped(now, self._host, size, trigger))
