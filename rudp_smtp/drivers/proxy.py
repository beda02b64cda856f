"""Userspace relay: a UDP port in front of another, with a Link in either direction between them.

All clients cross the same two links, as rivals in simulation do; each has a socket of its own towards the upstream, so
that answers find their way back. The links are those of a simulated run with the same seed: packet n meets the same
fate. ECN codepoints do not cross the relay.
"""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from rudp_smtp.datagram import Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.clock import Lateness, Waiter
from rudp_smtp.errors import DriverError
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.link.match import Reader
from rudp_smtp.trace import Sink
from rudp_smtp.units import MICROSECOND, SECOND

Endpoint = tuple[str, int]

BATCH = 64  # datagrams read from one socket before what is due goes out
DATAGRAM_MAX = 65_535
RECEIVE_BUFFER = 4 << 20  # asked for; the kernel gives what net.core.rmem_max allows
IDLE = 60 * SECOND
CLIENTS_MAX = 500

_SO_MEMINFO = 55  # asm-generic/socket.h: since Linux 4.12
_MEMINFO_DROPS = 8  # SK_MEMINFO_DROPS, linux/sock_diag.h


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
    packets_unsent: int = 0  # the kernel would not take them, or the client was gone
    kernel_drops: int = 0  # by sockets that are closed: see `Relay.kernel_drops`


def resolve(address: Endpoint) -> Endpoint:
    """The numbers behind a name, because answers are known by them. Raises DriverError."""
    try:
        (_, _, _, _, found), *_ = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise DriverError(f"{address[0]!r} is no host: {error}") from error
    return str(found[0]), int(found[1])


def bound_socket(address: Endpoint) -> socket.socket:
    """A datagram socket that never blocks. Raises DriverError."""
    try:
        bound = socket.socket(_family(address), socket.SOCK_DGRAM)
    except OSError as error:
        raise DriverError(f"no socket for {address[0]} port {address[1]}: {error.strerror or error}") from error
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        bound.close()
        raise DriverError(f"cannot listen on {address[0]} port {address[1]}: {error}") from error
    return bound


def kernel_drops(source: socket.socket) -> int:
    """Datagrams the kernel dropped because the socket's buffer was full."""
    octets = source.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
    return int(struct.unpack("=9I", octets)[_MEMINFO_DROPS]) if len(octets) >= 36 else 0


def _family(address: Endpoint) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


class _Client:
    """One client's way to the upstream and back."""

    __slots__ = ("active", "address", "label", "upstream")

    def __init__(self, address: Endpoint, upstream: socket.socket, now: int) -> None:
        self.address = address
        self.upstream = upstream
        self.label = Label(address, address)
        self.active = now


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
        clients_max: int = CLIENTS_MAX,
        idle: int = IDLE,
    ) -> None:
        draws = DrawKey(path.seed).derive("link")
        there, back = path.readers or (None, None)
        self.forward = Link(path.forward, name="forward", draws=draws, sink=sink, reader=there)
        self.reverse = Link(path.reverse, name="reverse", draws=draws, sink=sink, reader=back)
        self.stats = RelayStats()
        self.lateness = Lateness()
        self._waiter = waiter
        self._upstream = upstream
        self._clients: dict[Endpoint, _Client] = {}
        self._clients_max = clients_max
        self._idle = idle
        self._is_stopped = False
        self._look_again = idle  # when clients are next looked at for silence
        self._listener = bound_socket(listen)
        waiter.add(self._listener, self._receive)

    @property
    def address(self) -> Endpoint:
        """Where clients send to."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    @property
    def kernel_drops(self) -> int:
        """What the kernel dropped before we saw it, so far: a loss that nobody asked for."""
        sockets = [self._listener, *(client.upstream for client in self._clients.values())]
        return self.stats.kernel_drops + sum(map(kernel_drops, sockets))

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
        for client in list(self._clients.values()):
            self._forget(client)
        self.stats.kernel_drops += kernel_drops(self._listener)
        self._waiter.remove(self._listener)
        self._listener.close()

    def next_timeout(self) -> int | None:
        """When something is due."""
        due = self.forward.next_timeout()
        other = self.reverse.next_timeout()
        if due is None or (other is not None and other < due):
            due = other
        if self._clients and (due is None or self._look_again < due):
            return self._look_again
        return due

    def handle_timeout(self) -> None:
        """Send what is due, and forget who has been silent."""
        self._send_due(self.forward, self._to_upstream)
        self._send_due(self.reverse, self._to_client)
        now = self._waiter.now()
        if now >= self._look_again:
            self._expire(now)

    def _send_due(self, link: Link, send: Callable[[bytes, _Client], object]) -> None:
        now = self._waiter.now()
        due = link.next_timeout()
        while due is not None and due <= now:
            arrived = link.next_datagram(now)
            if arrived is None:
                return
            assert link.stats.delivered_last is not None
            self._emit(arrived, send)
            now = self._waiter.now()
            self.lateness.add(now - link.stats.delivered_last)
            due = link.next_timeout()

    def _emit(self, arrived: tuple[bytes, Label], send: Callable[[bytes, _Client], object]) -> None:
        client = self._clients.get(arrived[1].target)  # type: ignore[call-overload] # our own labels: Endpoints
        try:
            if client is None:
                self.stats.packets_unsent += 1
            else:
                send(arrived[0], client)
        except OSError:  # nobody listens, or no room: what a network does with such a datagram, and not silently
            self.stats.packets_unsent += 1

    def _to_upstream(self, data: bytes, client: _Client) -> None:
        client.upstream.send(data)

    def _to_client(self, data: bytes, client: _Client) -> None:
        self._listener.sendto(data, client.address)

    # What arrives.

    def _receive(self) -> None:
        for _ in range(BATCH):
            try:
                data, address = self._listener.recvfrom(DATAGRAM_MAX)
            except BlockingIOError:
                return
            except OSError:  # an ICMP message about something we sent
                continue
            now = self._waiter.now()
            client = self._clients.get(address[:2]) or self._admit(address[:2], now)
            if client is None:
                self.stats.packets_refused += 1
                continue
            client.active = now
            self.forward.push(data, now, client.label)

    def _admit(self, address: Endpoint, now: int) -> _Client | None:
        if len(self._clients) >= self._clients_max:
            self._expire(now)
        if len(self._clients) >= self._clients_max:
            return None
        upstream = socket.socket(_family(self._upstream), socket.SOCK_DGRAM)
        try:
            upstream.setblocking(False)
            upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            upstream.connect(self._upstream)
        except OSError:
            upstream.close()
            return None
        client = self._clients[address] = _Client(address, upstream, now)
        self._waiter.add(upstream, lambda: self._receive_answers(client))
        self.stats.clients += 1
        return client

    def _receive_answers(self, client: _Client) -> None:
        for _ in range(BATCH):
            try:
                data = client.upstream.recv(DATAGRAM_MAX)
            except BlockingIOError:
                return
            except OSError:
                continue
            client.active = now = self._waiter.now()
            self.reverse.push(data, now, client.label)

    def _expire(self, now: int) -> None:
        for client in [client for client in self._clients.values() if now - client.active >= self._idle]:
            self._forget(client)
            self.stats.clients_expired += 1
        self._look_again = now + self._idle // 4

    def _forget(self, client: _Client) -> None:
        del self._clients[client.address]
        self.stats.kernel_drops += kernel_drops(client.upstream)
        self._waiter.remove(client.upstream)
        client.upstream.close()


def report(relay: Relay) -> str:
    """The counters as a person reads them."""
    lines = []
    for link in (relay.forward, relay.reverse):
        stats = link.stats
        lines.append(
            f"{link.name}: received {stats.packets_entered}, forwarded {stats.packets_delivered}, "
            f"lost {stats.packets_lost}, queue full {stats.packets_queue_dropped}, too big {stats.packets_too_big}, "
            f"duplicated {stats.packets_duplicated}, corrupted {stats.packets_corrupted}, "
            f"reordered {stats.packets_reordered}, under way {link.in_transit}"
        )
    own, late = relay.stats, relay.lateness
    lines.append(
        f"clients {own.clients}, expired {own.clients_expired}; packets refused {own.packets_refused}, "
        f"unsent {own.packets_unsent}, dropped by the kernel {relay.kernel_drops}"
    )
    p50, p99 = (late.quantile(share) / MICROSECOND for share in (0.5, 0.99))
    lines.append(f"lateness: p50 {p50:.0f} us, p99 {p99:.0f} us, maximum {late.maximum / MICROSECOND:.0f} us")
    return "\n".join(lines)
