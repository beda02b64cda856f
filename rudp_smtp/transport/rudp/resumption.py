"""Resumption: what client and server keep of a connection for the next one (RFC 9000 s7.4.1, s8.1.3, RFC 9001 s4.6).

The server hands out a ticket. The client that comes back with it has proven its address, and may send in its first
flight, under the limits it remembers, the octets its application called safe to be taken twice. The server takes them
once per ticket, or ignores them, and its HELLO says which; what it ignored is sent again as if never sent. A ticket is
used once, by a client so that nobody links its connections, by a server so that nobody replays them (RFC 8446 s8.1).
"""

from collections import deque
from dataclasses import dataclass

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.transport import Address, TransportStats
from rudp_smtp.transport.rudp.outbox import Control, Outbox
from rudp_smtp.transport.rudp.schedule import EarlyRange
from rudp_smtp.transport.rudp.streams import Streams
from rudp_smtp.transport.rudp.tokens import TICKET_LIFETIME
from rudp_smtp.wire.frames import Frame, HelloFrame, TokenFrame

SERVERS_KEPT = 256
TICKETS_KEPT = 8  # per server: for as many connections at a time
STRIKES_KEPT = 16_384


class KnownServer:
    """Owns a client's tickets for one server, the limits they come with, and how far it is."""

    __slots__ = ("_tickets", "smoothed_rtt")

    def __init__(self) -> None:
        self._tickets: deque[tuple[bytes, HelloFrame]] = deque(maxlen=TICKETS_KEPT)
        self.smoothed_rtt: int | None = None  # RFC 9002 section 6.2.2: a later connection may begin with it

    def add(self, ticket: bytes, limits: HelloFrame, smoothed_rtt: int) -> None:
        self._tickets.append((ticket, limits))
        self.smoothed_rtt = smoothed_rtt

    def take(self) -> tuple[bytes, HelloFrame] | None:
        """The newest ticket and the limits the server declared on the connection it came by."""
        return self._tickets.pop() if self._tickets else None


class KnownServers:
    """Owns what a client knows of servers, by address; of those it has not called for longest it forgets."""

    __slots__ = ("_by_address",)

    def __init__(self) -> None:
        self._by_address: dict[Address, KnownServer] = {}

    def find(self, remote: Address) -> KnownServer:
        servers = self._by_address
        known = servers.pop(remote, None) or KnownServer()
        servers[remote] = known  # now the last to be forgotten
        if len(servers) > SERVERS_KEPT:
            del servers[next(iter(servers))]
        return known


class StrikeRegister:
    """Owns the serial numbers of used tickets, each for as long as its ticket could be used again."""

    __slots__ = ("_capacity", "_used")

    def __init__(self, capacity: int = STRIKES_KEPT) -> None:
        self._capacity = capacity
        self._used: dict[int, int] = {}  # serial number -> when it was used; oldest first

    def has_room_for(self, serial: int, now: int) -> bool:
        """Whether a ticket may be used: it was not before, and there is room to remember that it was."""
        used = self._used
        while used:
            oldest = next(iter(used))
            if used[oldest] + TICKET_LIFETIME > now:  # issued before it was used, so surely over by then
                break
            del used[oldest]
        return serial not in used and len(used) < self._capacity

    def strike(self, serial: int, now: int) -> bool:
        """Use a ticket, if it may be used."""
        if not self.has_room_for(serial, now):
            return False
        self._used[serial] = now
        return True


class NewToken(Control):
    """The server's ticket for the client's next connection, sent until it arrives."""

    __slots__ = ("_ticket",)

    def __init__(self, outbox: Outbox, ticket: bytes) -> None:
        super().__init__(outbox)
        self._ticket = ticket

    def frame(self) -> Frame | None:
        return TokenFrame(self._ticket)


@dataclass(slots=True)
class Remembered:
    """What a client's connection begins with: tickets to be had, and one to be used, with the limits it brings."""

    server: KnownServer
    ticket: bytes = b""
    limits: HelloFrame | None = None


class EarlyData:
    """Owns what rides in a client's first flight. Chosen when that first leaves: every copy of it says the same, so
    that the server's word is about all of them."""

    __slots__ = ("_pieces", "limits", "ranges")

    def __init__(self, limits: HelloFrame) -> None:
        self.limits = limits
        self.ranges: list[EarlyRange] = []
        self._pieces: list[bytes] | None = None

    def pieces(self, streams: Streams, stats: TransportStats, space: int) -> list[bytes]:
        """The encoded frames, in `space` octets at most, for one copy of the first flight."""
        if self._pieces is None:
            self.ranges = streams.take_early(self.limits, space)
            self._pieces = [sent.encode() for sent in self.ranges]
            return self._pieces
        for sent in self.ranges:
            sent.is_retransmission = True
            stats.stream_bytes_retransmitted += sent.size
        return self._pieces

    def check(self, hello: HelloFrame) -> None:
        """RFC 9000 section 7.4.1: a server that takes early data may not have less room than it promised."""
        kept = self.limits
        if (
            hello.initial_max_data < kept.initial_max_data
            or hello.initial_max_stream_data < kept.initial_max_stream_data
            or hello.initial_max_streams < kept.initial_max_streams
        ):
            raise RemoteProtocolError("limits below those remembered", error_code=ErrorCode.PROTOCOL_VIOLATION)
