"""The nodes of a run in two network namespaces, and the middlebox between them: whole IP packets through the kernel.

One process and one thread, whose sockets are made in either namespace. A node of datagrams has a UDP socket there; one
that lives on the kernel's TCP (`StreamUser`) has that. The links decide on whole packets, by the same keyed draws as in
simulation: packet n meets the same fate, and counts the same octets. A bit that a link flips may be one of a header;
the kernel's checksums see it, and so the node does not: the packet is gone either way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from socket import AF_INET, SOCK_DGRAM, SOL_SOCKET, socket

from rudp_smtp.datagram import Address, Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.capture import Tap
from rudp_smtp.drivers.clock import Waiter
from rudp_smtp.drivers.hosts import Host
from rudp_smtp.drivers.middlebox import Middlebox
from rudp_smtp.drivers.proxy import Path
from rudp_smtp.drivers.pump import Node
from rudp_smtp.drivers.sockets import RECEIVE_BUFFER, prepare
from rudp_smtp.drivers.streams import StreamHost, Streams, StreamUser
from rudp_smtp.drivers.udp import LiveHost, LiveRun, NamedTap, UdpHost
from rudp_smtp.link.config import IPV4_UDP_HEADER_BYTES, LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.trace import Sink

PORT = 2525
MTU_MAX = 65_535  # of a host of datagrams: what is too big is for the link to say, and nothing is ever fragmented

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h: beyond net.core.rmem_max
_ROOMLESS = ("Udp RcvbufErrors", "Udp MemErrors", "TcpExt TCPRcvQDrop", "TcpExt TCPBacklogDrop", "TcpExt TCPOFODrop")
_BAD_CHECKSUMS = ("Ip InHdrErrors", "Udp InCsumErrors", "Tcp InCsumErrors")


@dataclass(frozen=True, slots=True)
class Party:
    """One of the two: where it lives, what it is called and does, and the endpoint that wants TCP, if it does."""

    host: Host
    name: Address
    node: Node
    user: StreamUser | None = None


class NetnsRun(LiveRun):
    """Both parties' sockets, and the middlebox between their hosts. Run once."""

    def __init__(
        self, client: Party, server: Party, path: Path, sink: Sink | None = None, tap: Tap | None = None
    ) -> None:
        draws = DrawKey(path.seed).derive("link")
        there, back = path.readers or (None, None)
        forward = Link(_of_packets(path.forward), name="forward", draws=draws, sink=sink, reader=there)
        reverse = Link(_of_packets(path.reverse), name="reverse", draws=draws, sink=sink, reader=back)
        made = [(server, client, _sockets(server, client)), (client, server, _sockets(client, server))]
        waiter = Waiter()
        self._namespaces = (client.host, server.host)
        if tap is not None:
            tap = NamedTap(tap, client.name, {party.host.address: party.name for party in (client, server)})
        self._box = Middlebox(self._namespaces, forward, reverse, waiter=waiter, tap=tap)
        self._udp: list[UdpHost] = []
        hosts = [self._live_host(*each, waiter) for each in made]
        mover = hosts[1]
        if isinstance(mover, UdpHost):  # a socket of TCP's stays where it was, with nobody behind it
            own = client.host
            self._box.on_moved = lambda address: mover.change_socket(own.inside(lambda: _udp_socket(address)))
        super().__init__(waiter, self._box, hosts)

    def _live_host(self, own: Party, other: Party, sockets: socket | Streams, waiter: Waiter) -> LiveHost:
        if isinstance(sockets, Streams):
            return StreamHost(own.node, sockets, waiter)
        udp = UdpHost(own.node, Label(other.name, own.name), waiter, sockets)
        udp.meet((own.host.peer, PORT))
        self._udp.append(udp)
        return udp

    def _unasked(self) -> Mapping[str, int]:
        counters = [host.counters() for host in self._namespaces]
        corrupted = sum(link.stats.packets_corrupted for link in (self._box.forward, self._box.reverse))
        failed = self._box.refused + sum(host[name] for host in counters for name in _BAD_CHECKSUMS)
        dropped = sum(host.get(name, 0) for host in counters for name in _ROOMLESS)
        return {
            "packets dropped by the kernel": dropped + sum(host.dropped() for host in self._namespaces),
            "packets with a wrong checksum that no link corrupted": max(failed - corrupted, 0),
            "datagrams not taken by the kernel": sum(host.unsent for host in self._udp),
        }

    def _can_stall(self) -> bool:
        """Not where the kernel may have timers of its own."""
        return len(self._udp) == len(self._hosts)

    def _packets(self) -> int:
        return self._box.forward.stats.packets_entered + self._box.reverse.stats.packets_entered


def _sockets(own: Party, other: Party) -> socket | Streams:
    if own.user is None:
        return own.host.inside(lambda: _udp_socket(own.host.address))
    streams = Streams(own.host, {other.name: own.host.peer})
    own.user.attach(streams)
    return streams


def _udp_socket(address: str) -> socket:
    bound = socket(AF_INET, SOCK_DGRAM)
    prepare(bound)
    bound.setsockopt(SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    bound.bind((address, PORT))
    return bound


def _of_packets(config: LinkConfig) -> LinkConfig:
    """The same link for whole IP packets, which bring the headers that are added to datagrams elsewhere."""
    return replace(config, header_bytes=config.header_bytes - IPV4_UDP_HEADER_BYTES)
