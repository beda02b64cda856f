"""Pair: two endpoints, a virtual clock, and a path between them that a test programs datagram by datagram."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.draws import DrawKey
from rudp_smtp.trace import Sink
from rudp_smtp.transport import (
    Address,
    Closed,
    Endpoint,
    Established,
    Event,
    StreamData,
    StreamOpened,
    Transport,
    TransportPlugin,
)
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import SECOND, parse_duration, parse_rate

QUIET_TIME = 20 * SECOND  # nothing in flight and no deadline within this: only idle timers are left
STEPS_MAX = 2_000_000


@dataclass(frozen=True, slots=True)
class Fate:
    """What the path does to a datagram: a copy for each extra delay (none: it is lost), one bit flipped or not."""

    delays: tuple[int, ...] = (0,)
    flipped_bit: int | None = None


LOST = Fate(delays=())


class Direction:
    """One way of the path. Datagrams are counted from 0; `sent` keeps what went in, whatever became of it, unless
    the test says otherwise."""

    def __init__(self, delay: int, rate: int | None) -> None:
        self.delay = delay
        self.rate = rate
        self.fates: dict[int, Fate] = {}
        self.loses: Callable[[int, int, int], bool] = lambda index, size, ecn: False  # besides `fates`
        self.remarks: dict[int, int] = {}  # ECN codepoint sent -> what it arrives as
        self.is_cut = False
        self.is_kept = True
        self.count = 0
        self.sent: list[tuple[int, bytes]] = []
        self._free_at = 0

    def drop(self, indexes: Iterable[int]) -> None:
        self.fates |= dict.fromkeys(indexes, LOST)

    def duplicate(self, indexes: Iterable[int], by: str = "1ms") -> None:
        self.fates |= dict.fromkeys(indexes, Fate(delays=(0, parse_duration(by))))

    def hold_back(self, indexes: Iterable[int], by: str) -> None:
        self.fates |= dict.fromkeys(indexes, Fate(delays=(parse_duration(by),)))

    def corrupt(self, indexes: Iterable[int], bit: int = 200) -> None:
        self.fates |= dict.fromkeys(indexes, Fate(flipped_bit=bit))

    def carry(self, data: bytes, now: int, is_lost: bool, ecn: int = NOT_ECT) -> list[tuple[int, bytes]]:
        """When and as what a datagram arrives."""
        is_lost = is_lost or self.is_cut or self.loses(self.count, len(data), ecn)
        fate = LOST if is_lost else self.fates.get(self.count, Fate())
        self.count += 1
        if self.is_kept:
            self.sent.append((now, data))
        if self.rate is not None:
            self._free_at = max(self._free_at, now) + len(data) * 8 * SECOND // self.rate
            now = self._free_at
        if fate.flipped_bit is not None:
            octets = bytearray(data)
            octets[fate.flipped_bit // 8 % len(data)] ^= 1 << fate.flipped_bit % 8
            data = bytes(octets)
        return [(now + self.delay + extra, data) for extra in fate.delays]


class Side:
    """A host: its endpoint, the connection the test speaks through, and all its application was told."""

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self.name = name
        self.endpoint = endpoint
        self.transports: list[Transport] = []
        self.events: list[tuple[Transport, Event]] = []
        self.streams: list[int] = []  # of the first connection, in the order they were opened
        self.octets: dict[int, bytearray] = {}
        self.finished: set[int] = set()
        self.application: Callable[[Transport, Event], None] | None = None

    @property
    def transport(self) -> Transport:
        return self.transports[0]

    @property
    def is_established(self) -> bool:
        return any(isinstance(event, Established) for _, event in self.events)

    @property
    def closed(self) -> Closed | None:
        """How the first connection ended, if it did."""
        ends = [event for transport, event in self.events if transport is self.transport and isinstance(event, Closed)]
        return ends[0] if ends else None

    def told(self, kind: type[Event]) -> list[Event]:
        """The events of one kind."""
        return [event for _, event in self.events if isinstance(event, kind)]

    def open_stream(self) -> int:
        self.streams.append(self.transport.open_stream())
        return self.streams[-1]

    def send(self, data: bytes, fin: bool = False, stream_id: int | None = None) -> None:
        """Send on a stream: the first there is, opened if there is none."""
        if stream_id is None:
            stream_id = self.streams[0] if self.streams else self.open_stream()
        self.transport.send(stream_id, data, fin)

    def received(self, stream_id: int | None = None) -> bytes:
        if stream_id is None:
            return bytes(next(iter(self.octets.values()), b""))
        return bytes(self.octets.get(stream_id, b""))

    def take(self, transport: Transport, event: Event) -> None:
        """Note an event, and let the application act on it."""
        if transport not in self.transports:
            self.transports.append(transport)
        self.events.append((transport, event))
        if transport is self.transport and isinstance(event, StreamOpened):
            self.streams.append(event.stream_id)
        if transport is self.transport and isinstance(event, StreamData):
            self.octets.setdefault(event.stream_id, bytearray()).extend(event.data)
            if event.is_fin:
                assert event.stream_id not in self.finished
                self.finished.add(event.stream_id)
        if self.application is not None:
            self.application(transport, event)


class Pair:
    """Owns the clock and the datagrams in flight. Commands do nothing until a `run_` method moves the clock."""

    def __init__(self, client: Endpoint, server: Endpoint, *, delay: str = "20ms", rate: str | None = None) -> None:
        self.now = 0
        self.client = Side("client", client)
        self.server = Side("server", server)
        bits = None if rate is None else parse_rate(rate)
        self.forward = Direction(parse_duration(delay), bits)
        self.reverse = Direction(parse_duration(delay), bits)
        self.client_address: Address = "client"  # where it lives now, or its NAT says it does
        self.astray: list[tuple[int, bytes, Address]] = []  # what the server sent to where the client is not
        self._drops_left = 0
        self._flying: list[tuple[int, int, Side, bytes, tuple[Address, int]]] = []
        self._flown = 0

    def connect(self) -> Transport:
        transport = self.client.endpoint.connect("server", self.now)
        self.client.transports.append(transport)
        return transport

    def drop_next(self, count: int) -> None:
        """Lose the next datagrams, whichever way they go."""
        self._drops_left += count

    def cut(self) -> None:
        self.forward.is_cut = self.reverse.is_cut = True

    def heal(self) -> None:
        """From now on the path does nothing but delay."""
        self.forward.is_cut = self.reverse.is_cut = False
        self.forward.fates.clear()
        self.reverse.fates.clear()
        self._drops_left = 0

    @property
    def server_received(self) -> bytes:
        return self.server.received()

    @property
    def client_received(self) -> bytes:
        return self.client.received()

    @property
    def probes_sent(self) -> int:
        return sum(side.endpoint.total_stats().probes_sent for side in (self.client, self.server))

    def inject(self, side: Side, data: bytes, remote: Address) -> None:
        """Let octets of the test's own making arrive now."""
        side.endpoint.receive_datagram(data, remote, self.now)
        self._drain(side)

    def run_until_idle(self, limit: str = "600s") -> None:
        """Go on until nothing is in flight and only idle timers are left."""
        self._run(self.now + parse_duration(limit), lambda: False, QUIET_TIME)

    def run_for(self, duration: str) -> None:
        end = self.now + parse_duration(duration)
        self._run(end, lambda: False, None)
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit: str = "600s") -> None:
        self._run(self.now + parse_duration(limit), condition, None)
        assert condition(), f"still not so after {limit}"

    def _run(self, end: int, condition: Callable[[], bool], quiet: int | None) -> None:
        for side in (self.client, self.server):
            self._drain(side)
        for _ in range(STEPS_MAX):
            moment = self._next_moment()
            if condition() or moment is None or moment > end:
                return
            if quiet is not None and not self._flying and moment > self.now + quiet:
                return
            self.now = max(self.now, moment)
            self._step()
        raise AssertionError(f"no end after {STEPS_MAX} steps")

    def _next_moment(self) -> int | None:
        moments = [side.endpoint.next_timeout() for side in (self.client, self.server)]
        if self._flying:
            moments.append(self._flying[0][0])
        return min((moment for moment in moments if moment is not None), default=None)

    def _step(self) -> None:
        """Deliver what arrives now, then let the deadlines of now pass."""
        if self._flying and self._flying[0][0] <= self.now:
            _, _, side, data, (remote, ecn) = heappop(self._flying)
            side.endpoint.receive_datagram(data, remote, self.now, ecn)
            self._drain(side)
            return
        for side in (self.client, self.server):
            deadline = side.endpoint.next_timeout()
            if deadline is not None and deadline <= self.now:
                side.endpoint.handle_timeout(self.now)
                self._drain(side)

    def _drain(self, side: Side) -> None:
        """Pull outputs until there are none: what the application answers to events goes into the next datagram."""
        is_busy = True
        while is_busy:
            while (told := side.endpoint.next_event()) is not None:
                side.take(*told)
            is_busy = False
            while (outgoing := side.endpoint.next_datagram(self.now)) is not None:
                self._send(side, *outgoing)
                is_busy = True

    def _send(self, side: Side, data: bytes, target: Address, ecn: int) -> None:
        if side is self.server and target != self.client_address:
            self.astray.append((self.now, data, target))
            return
        is_lost = self._drops_left > 0
        self._drops_left -= is_lost
        way, receiver = (self.forward, self.server) if side is self.client else (self.reverse, self.client)
        source = self.client_address if side is self.client else side.name
        for time, octets in way.carry(data, self.now, is_lost, ecn):
            self._flown += 1
            arrival = (source, way.remarks.get(ecn, ecn))
            heappush(self._flying, (time, self._flown, receiver, octets, arrival))


def make_pair(
    *,
    delay: str = "20ms",
    rate: str | None = None,
    seed: int = 1,
    client: TransportPlugin | None = None,
    server: TransportPlugin | None = None,
    sink: Sink | None = None,
) -> Pair:
    """Two endpoints that have not met. The server obeys the client's parameters unless it has its own."""
    client = client or Rudp()
    server = server or client
    return Pair(
        client.endpoint(host="client", accepts=False, draws=DrawKey(seed, "client"), sink=sink),
        server.endpoint(host="server", accepts=True, draws=DrawKey(seed, "server"), sink=sink),
        delay=delay,
        rate=rate,
    )


def connected_pair(
    *,
    delay: str = "20ms",
    rate: str | None = None,
    seed: int = 1,
    client: TransportPlugin | None = None,
    server: TransportPlugin | None = None,
    sink: Sink | None = None,
) -> Pair:
    """A pair whose handshake is done and acknowledged, with nothing in flight."""
    pair = make_pair(delay=delay, rate=rate, seed=seed, client=client, server=server, sink=sink)
    pair.connect()
    pair.run_until_idle()
    assert pair.client.is_established
    assert pair.server.is_established
    return pair
