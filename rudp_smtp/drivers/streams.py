"""The kernel's TCP sockets, inside of a host: made there, never blocking, and what TCP_INFO tells of them."""

import select
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from errno import EINPROGRESS, ENOENT, EPERM
from pathlib import Path
from struct import Struct
from typing import Protocol

from rudp_smtp.datagram import Address
from rudp_smtp.drivers.clock import Waiter
from rudp_smtp.drivers.hosts import Host
from rudp_smtp.drivers.pump import Node, expire
from rudp_smtp.errors import DriverError
from rudp_smtp.units import MICROSECOND

READ_OCTETS = 256 * 1024
BACKLOG = 1024
PORT = 2525

_INFO = Struct("=8B24I4Q6I4Q2I2Q")  # struct tcp_info as far as tcpi_bytes_retrans, linux/tcp.h: since Linux 4.19
_SND_MSS, _RTT, _CWND, _SEGMENTS_OUT, _SEGMENTS_IN, _MIN_RTT = 10, 23, 26, 36, 37, 39
_DELIVERED_CE, _BYTES_SENT, _BYTES_RETRANS = 47, 48, 49
_RESET_ON_CLOSE = Struct("ii").pack(1, 0)  # struct linger: for no time at all


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What the kernel knows of a connection; times in ns."""

    segments_sent: int
    segments_received: int
    bytes_sent: int  # of the stream, each time
    bytes_retransmitted: int
    smoothed_rtt: int
    min_rtt: int
    congestion_window: int
    ecn_marked: int


class Stream:
    """One connection's socket, and what it waits for."""

    def __init__(self, own: socket.socket, poll: select.epoll, *, wants_room: bool) -> None:
        self._socket = own
        self._poll = poll
        self._wants_room = wants_room
        self._has_peer_ended = False
        self._last: StreamFacts | None = None  # what was known when it was closed
        poll.register(own, self._events())

    def finish_connecting(self) -> None:
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "the server does not answer")

    def read(self) -> bytes | None:
        """What has come, b"" at the end of the stream, None for nothing yet."""
        try:
            data = self._socket.recv(READ_OCTETS)
        except BlockingIOError:
            return None
        if not data:
            self._has_peer_ended = True
            self._poll.modify(self._socket, self._events())
        return data

    def write(self, data: memoryview) -> int:
        """How many octets the kernel took."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def want_room(self, is_wanted: bool) -> None:
        if is_wanted != self._wants_room:
            self._wants_room = is_wanted
            self._poll.modify(self._socket, self._events())

    def end(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self, *, is_reset: bool) -> None:
        if self._last is not None:
            return
        self._last = self.facts()
        if is_reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._poll.unregister(self._socket)
        self._socket.close()

    def facts(self) -> StreamFacts:
        """As of now, or of its end."""
        if self._last is not None:
            return self._last
        told = _INFO.unpack_from(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
        return StreamFacts(
            segments_sent=told[_SEGMENTS_OUT],
            segments_received=told[_SEGMENTS_IN],
            bytes_sent=told[_BYTES_SENT],
            bytes_retransmitted=told[_BYTES_RETRANS],
            smoothed_rtt=told[_RTT] * MICROSECOND,
            min_rtt=told[_MIN_RTT] * MICROSECOND,
            congestion_window=told[_CWND] * told[_SND_MSS],
            ecn_marked=told[_DELIVERED_CE],
        )

    def _events(self) -> int:
        return (0 if self._has_peer_ended else select.EPOLLIN) | (select.EPOLLOUT if self._wants_room else 0)


class Streams:
    """All the TCP sockets of one host. `ready` hands out each that has something to tell."""

    def __init__(self, host: Host, names: Mapping[Address, str]) -> None:
        """`names`: the address behind what a node calls a host."""
        self.is_ready = False
        self._host = host
        self._names = names
        self._poll = select.epoll()
        self._streams: dict[int, Stream] = {}
        self._listener: socket.socket | None = None

    def fileno(self) -> int:
        return self._poll.fileno()

    def listen(self, congestion: str, *, is_eager: bool) -> None:
        self._listener = listener = self._socket(congestion, is_eager=is_eager)  # accepted ones are as it is
        listener.bind((self._host.address, PORT))
        listener.listen(BACKLOG)
        self._poll.register(listener, select.EPOLLIN)

    def connect(self, remote: Address, congestion: str, *, is_eager: bool) -> Stream:
        own = self._socket(congestion, is_eager=is_eager)
        error = own.connect_ex((self._names[remote], PORT))
        if error not in (0, EINPROGRESS):
            own.close()
            raise DriverError(f"cannot connect inside {self._host.namespace}: error {error}")
        return self._keep(own, wants_room=True)

    def ready(self) -> Iterator[Stream]:
        """Those with something to tell, accepted ones among them."""
        self.is_ready = False
        for number, _ in self._poll.poll(0):
            if self._listener is not None and number == self._listener.fileno():
                yield from self._accept(self._listener)
            elif number in self._streams:
                yield self._streams[number]

    def close(self) -> None:
        """Close the listener, and what nobody closed before the run was over."""
        for stream in self._streams.values():
            stream.close(is_reset=False)
        if self._listener is not None:
            self._listener.close()
        self._poll.close()

    def _accept(self, listener: socket.socket) -> Iterator[Stream]:
        while True:
            try:
                own, _ = listener.accept()
            except BlockingIOError:
                return
            own.setblocking(False)
            yield self._keep(own, wants_room=False)

    def _keep(self, own: socket.socket, *, wants_room: bool) -> Stream:
        stream = self._streams[own.fileno()] = Stream(own, self._poll, wants_room=wants_room)
        return stream

    def _socket(self, congestion: str, *, is_eager: bool) -> socket.socket:
        own = self._host.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        own.setblocking(False)
        set_congestion(own, congestion)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, is_eager)
        return own


class StreamUser(Protocol):
    """A node's endpoint that lives on TCP sockets and not on datagrams."""

    def attach(self, sockets: Streams) -> None: ...


class StreamHost:
    """A node and its streams: woken when one is ready, and it handles that as a timeout."""

    def __init__(self, node: Node, streams: Streams, waiter: Waiter) -> None:
        self.node = node
        self.sent = self.inputs = 0
        self.deadline = node.next_timeout()
        self._streams = streams
        self._waiter = waiter
        waiter.add(streams, self._on_ready)

    def send(self, data: bytes, remote: Address, now: int, ecn: int) -> None:
        raise AssertionError("a host of streams sends no datagrams of its own")

    def expire(self, now: int) -> None:
        self.deadline = expire(self.node, now, self)
        self.inputs += 1

    def close(self) -> None:
        self._waiter.remove(self._streams)
        self._streams.close()

    def _on_ready(self) -> None:
        self._streams.is_ready = True
        self.expire(self._waiter.now())


def set_congestion(own: socket.socket, name: str) -> None:
    """Have this socket's connections use it; the kernel loads a module if it must. Raises DriverError, with the remedy.

    Root may choose any that there is, also in a namespace whose default may not be set to it.
    """
    try:
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
    except OSError as error:
        there = ", ".join(Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split())
        remedy = {
            ENOENT: f"load it with: modprobe tcp_{name}",
            EPERM: f"allow it with: sysctl -w net.ipv4.tcp_allowed_congestion_control='... {name}'",
        }.get(error.errno or 0, error.strerror)
        raise DriverError(f"the kernel has TCP congestion control {there}, and refuses {name!r}; {remedy}") from None


def require_congestion(name: str) -> None:
    """Raise DriverError where the kernel has no such congestion control."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as own:
        set_congestion(own, name)
