"""Userspace relay: a UDP port in front of another, with a Link in either direction between them.

All clients cross the same two links, as rivals in simulation do; each has a socket of its own towards the upstream, so
that answers find their way back. The links are those of a simulated run with the same seed: packet n meets the same
fate. ECN codepoints cross too, and a queue's marks with them.
"""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from rudp_smtp.datagram import Address, Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.capture import INBOUND, OUTBOUND, Tap
from rudp_smtp.drivers.clock import Waiter
from rudp_smtp.drivers.crossing import Action, Crossing
from rudp_smtp.drivers.sockets import (
    ANCILLARY_MAX,
    DATAGRAM_MAX,
    Endpoint,
    Marking,
    bound_socket,
    connected_socket,
    ecn_of,
    kernel_drops,
)
from rudp_smtp.drivers.validity import reasons
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.link.match import Reader
from rudp_smtp.trace import Sink
from rudp_smtp.units import MICROSECOND, SECOND

BATCH = 64  # datagrams read from one socket before what is due goes out
IDLE = 60 * SECOND
CLIENTS_MAX = 500
DROPPED, NOT_TAKEN = "datagrams dropped by the kernel", "datagrams not taken by the kernel"
FORMER_MAX = 100  # ports that clients had before and that still send what was under way

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What lies between the two ports: both directions, and the seed of all their draws."""

    forward: LinkConfig  # from the clients to the upstream
    reverse: LinkConfig
    seed: int = 1
    readers: tuple[Reader, Reader] | None = None  # who looks into packets of either direction for match rules


@dataclass(slots=True)
class RelayStats:
    """What happened outside of the links."""

    clients: int = 0  # seen so far
    clients_expired: int = 0
    packets_refused: int = 0  # of clients there was no room for
    packets_unsent: int = 0  # the kernel would not take them
    packets_stray: int = 0  # to a client that was gone, or to a port or an address that it had before
    rebinds_failed: int = 0  # for want of a socket
    moves_failed: int = 0  # changes of address, where there is no other
    kernel_drops: int = 0  # by sockets that are closed: see `Relay.kernel_drops`


class _Way:
    """A client's port towards the upstream. If the client is given another, this one's answers are lost."""

    __slots__ = ("active", "client", "inside", "is_current", "labels", "marking", "outside", "socket")

    def __init__(self, client: Endpoint, upstream: socket.socket, now: int) -> None:
        self.client = client
        self.socket = upstream
        self.inside: tuple[Address, Address] = client, upstream.getpeername()[:2]  # the ends, as the client has them
        self.outside: tuple[Address, Address] = upstream.getsockname()[:2], self.inside[1]  # as the upstream has them
        self.marking = Marking(upstream)
        self.active = now
        self.is_current = True
        # By ECN codepoint. We are the target, so that what has crossed a link needs no look-up.
        self.labels = tuple(Label(client, self, ecn) for ecn in range(4))

    def __str__(self) -> str:
        return str(self.client)  # a queue's hash of flows is of it


class Relay:
    """Owns the sockets and the two links. Whoever moves the waiter moves the relay: `run`, or a driver."""

    def __init__(
        self,
        listen: Endpoint,
        upstream: Endpoint,
        path: Path,
        *,
        waiter: Waiter,
        sink: Sink | None = None,
        tap: Tap | None = None,
        clients_max: int = CLIENTS_MAX,
        idle: int = IDLE,
    ) -> None:
        draws = DrawKey(path.seed).derive("link")
        there, back = path.readers or (None, None)
        self.forward = Link(path.forward, name="forward", draws=draws, sink=sink, reader=there)
        self.reverse = Link(path.reverse, name="reverse", draws=draws, sink=sink, reader=back)
        self.stats = RelayStats()
        self._crossing = Crossing(self.forward, self.reverse, waiter)
        self.lateness = self._crossing.lateness
        self._waiter = waiter
        self._tap = tap
        self._upstream = upstream
        self._own_host = ""  # clients are seen at; empty: where the kernel says
        self._moves = 0
        self._ways: dict[Endpoint, _Way] = {}  # the current ones, by client
        self._former: list[_Way] = []
        self._behind: dict[Address, Endpoint] = {}  # client by the address at which the upstream sees it
        self._clients_max = clients_max
        self._idle = idle
        self._is_stopped = False
        self._look_again = idle  # when clients are next looked at for silence
        self._listener = bound_socket(listen)
        self._marking = Marking(self._listener)
        waiter.add(self._listener, self._receive)

    @property
    def address(self) -> Endpoint:
        """Where clients send to."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    @property
    def kernel_drops(self) -> int:
        """What the kernel dropped before we saw it, so far: a loss that nobody asked for."""
        sockets = [self._listener, *(way.socket for way in [*self._ways.values(), *self._former])]
        return self.stats.kernel_drops + sum(map(kernel_drops, sockets))

    @property
    def invalid(self) -> str:
        """Why what crossed so far must not be believed; empty where it may be."""
        return reasons(self.unasked, self.lateness)

    @property
    def unasked(self) -> dict[str, int]:
        """What no link decided, and how often, so far."""
        return {
            DROPPED: self.kernel_drops,
            NOT_TAKEN: self.stats.packets_unsent,
            "rebindings for which there was no socket": self.stats.rebinds_failed,
            "changes of address for which there was none (only 127.0.0.0/8 has more)": self.stats.moves_failed,
        }

    def schedule(self, moments: Iterable[tuple[int, Action]]) -> None:
        """Have these done at these times after the first packet."""
        self._crossing.schedule(moments)

    def rebind(self, now: int) -> None:
        """Let every client be seen from another port from now on, as a NAT that forgot does."""
        self.stats.rebinds_failed += self._give_others(self._own_host)

    def change_address(self, now: int) -> None:
        """Let every client be seen at another address from now on: before an upstream on this machine, that is
        127.0.0.2 and so on."""
        self._moves += 1
        own_host = str(ip_address(_LOOPBACK) + self._moves)
        if not self._upstream[0].startswith("127."):
            self.stats.moves_failed += 1
            return
        self.stats.moves_failed += self._give_others(own_host)
        self._own_host = own_host

    def _give_others(self, own_host: str) -> int:
        """Give every client another socket. What is on its way to the old one, or sent there later, arrives nowhere.

        How many keep what they have, because there is no socket left.
        """
        failed = 0
        for client, way in list(self._ways.items()):
            try:
                upstream = connected_socket(self._upstream, own_host)
            except OSError:
                failed += 1
                continue
            way.is_current = False
            self._former.append(way)
            self._open(client, upstream, way.active)
        while len(self._former) > FORMER_MAX:
            self._close(self._former.pop(0))
        return failed

    def client_behind(self, outside: Endpoint) -> Endpoint | None:
        """Whom the upstream sees at this address of ours. May be asked from another thread."""
        return self._behind.get(outside)

    def run(self) -> None:
        """Until `stop`."""
        while not self._is_stopped:
            self._waiter.wait(self.next_timeout())
            self.handle_timeout()

    def stop(self) -> None:
        """May be called from another thread, or from a signal's handler."""
        self._is_stopped = True
        self._waiter.wake()

    def close(self) -> None:
        for way in [*self._ways.values(), *self._former]:
            self._close(way)
        self._ways.clear()
        self._former.clear()
        self.stats.kernel_drops += kernel_drops(self._listener)
        self._waiter.remove(self._listener)
        self._listener.close()

    def next_timeout(self) -> int | None:
        """When something is due."""
        due = self._crossing.next_timeout()
        if self._ways and (due is None or self._look_again < due):
            return self._look_again
        return due

    def handle_timeout(self) -> None:
        """Send what is due, and forget who has been silent."""
        self._crossing.carry(self._to_upstream, self._to_client)
        now = self._waiter.now()
        if now >= self._look_again:
            self._expire(now)

    # An error says that nobody listens, or that there is no room: what a network does with such a datagram, and told.

    def _to_upstream(self, data: bytes, label: Label) -> None:
        way = label.target
        assert isinstance(way, _Way)
        if self._tap is not None:
            self._tap.cross(data, way.outside, self._waiter.now(), label.ecn, INBOUND)
        try:
            if label.ecn != way.marking.ecn:
                way.marking.set(label.ecn)
            way.socket.send(data)
        except OSError:
            self.stats.packets_unsent += 1

    def _to_client(self, data: bytes, label: Label) -> None:
        way = label.target
        assert isinstance(way, _Way)
        if not way.is_current:
            self.stats.packets_stray += 1
            return
        if self._tap is not None:
            self._tap.cross(data, way.inside[::-1], self._waiter.now(), label.ecn, INBOUND)
        try:
            if label.ecn != self._marking.ecn:
                self._marking.set(label.ecn)
            self._listener.sendto(data, way.client)
        except OSError:
            self.stats.packets_unsent += 1

    # What arrives.

    def _receive(self) -> None:
        receive, clock, ways, push = self._listener.recvmsg, self._waiter.now, self._ways, self.forward.push
        tap = self._tap
        for _ in range(BATCH):
            try:
                data, ancillary, _flags, address = receive(DATAGRAM_MAX, ANCILLARY_MAX)
            except BlockingIOError:
                return
            except OSError:  # an ICMP message about something we sent
                continue
            now = clock()
            way = ways.get(address[:2]) or self._admit(address[:2], now)
            if way is None:
                self.stats.packets_refused += 1
                continue
            way.active = now
            ecn = ecn_of(ancillary)
            if tap is not None:
                tap.cross(data, way.inside, now, ecn, OUTBOUND)
            push(data, now, way.labels[ecn])

    def _admit(self, client: Endpoint, now: int) -> _Way | None:
        if len(self._ways) >= self._clients_max:
            self._expire(now)
        if len(self._ways) >= self._clients_max:
            return None
        try:
            upstream = connected_socket(self._upstream, self._own_host)
        except OSError:
            return None
        self.stats.clients += 1
        return self._open(client, upstream, now)

    def _open(self, client: Endpoint, upstream: socket.socket, now: int) -> _Way:
        way = self._ways[client] = _Way(client, upstream, now)
        self._behind[way.outside[0]] = client
        self._waiter.add(upstream, lambda: self._receive_answers(way))
        return way

    def _receive_answers(self, way: _Way) -> None:
        receive, clock, push, labels = way.socket.recvmsg, self._waiter.now, self.reverse.push, way.labels
        tap = self._tap
        for _ in range(BATCH):
            try:
                data, ancillary, _flags, _address = receive(DATAGRAM_MAX, ANCILLARY_MAX)
            except BlockingIOError:
                return
            except OSError:
                continue
            way.active = now = clock()
            ecn = ecn_of(ancillary)
            if tap is not None:
                tap.cross(data, way.outside[::-1], now, ecn, OUTBOUND)
            push(data, now, labels[ecn])

    def _expire(self, now: int) -> None:
        for way in [way for way in self._ways.values() if now - way.active >= self._idle]:
            del self._ways[way.client]
            self._close(way)
            self.stats.clients_expired += 1
        for way in [way for way in self._former if now - way.active >= self._idle]:
            self._former.remove(way)
            self._close(way)
        self._look_again = now + self._idle // 4

    def _close(self, way: _Way) -> None:
        way.is_current = False
        self.stats.kernel_drops += kernel_drops(way.socket)
        self._behind.pop(way.outside[0], None)
        self._waiter.remove(way.socket)
        way.socket.close()


def report(relay: Relay) -> str:
    """The counters as a person reads them."""
    lines = []
    for link in (relay.forward, relay.reverse):
        stats = link.stats
        lines.append(
            f"{link.name}: received {stats.packets_entered}, forwarded {stats.packets_delivered}, "
            f"lost {stats.packets_lost}, queue full {stats.packets_queue_dropped}, too big {stats.packets_too_big}, "
            f"dropped by rules {stats.packets_matched}, in a black hole {stats.packets_blackholed}, "
            f"duplicated {stats.packets_duplicated}, corrupted {stats.packets_corrupted}, "
            f"reordered {stats.packets_reordered}, under way {link.in_transit}"
        )
    own, late = relay.stats, relay.lateness
    lines.append(
        f"clients {own.clients}, expired {own.clients_expired}; packets refused {own.packets_refused}, "
        f"unsent {own.packets_unsent}, stray {own.packets_stray}, dropped by the kernel {relay.kernel_drops}"
    )
    p50, p99 = (late.quantile(share) / MICROSECOND for share in (0.5, 0.99))
    lines.append(f"lateness: p50 {p50:.0f} us, p99 {p99:.0f} us, maximum {late.maximum / MICROSECOND:.0f} us")
    if relay.invalid:
        lines.append(f"invalid: {relay.invalid}")
    return "\n".join(lines)
