"""What a link's match rules may know of packets. Here, because a link must not: it is handed a `Reader`.

Two kinds of packets cross a link: datagrams, whose headers are worked out from where they come from, and whole IPv4
packets. Streams that can be followed are RUDP's, ARQ's and, in whole packets, TCP's.
"""

import re
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, get_args

from rudp_smtp.datagram import Label
from rudp_smtp.drivers.headers import Endpoint, Ends, ip_packet
from rudp_smtp.drivers.ipv4 import HEADER_SIZE, ICMP, TCP, UDP, payload_place
from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.experiment.arq_reading import NAMES as ARQ_NAMES
from rudp_smtp.experiment.arq_reading import ArqFlows
from rudp_smtp.link.config import FieldTest
from rudp_smtp.link.following import Piece
from rudp_smtp.link.match import Contents, Headers, Reader
from rudp_smtp.wire.frames import Frame, StreamFrame
from rudp_smtp.wire.packet import INITIAL, Packet, decode_packet

if TYPE_CHECKING:
    from rudp_smtp.drivers.scapy_fields import Dissected

CONNECTIONS_MAX = 4096  # IDs, or pairs of ends, that are remembered: the oldest is forgotten

_PROTOCOLS = {ICMP: "icmp", TCP: "tcp", UDP: "udp"}
_UDP_HEADER_SIZE, _TCP_HEADER_SIZE = 8, 20
_SYN = 0x02


def _frame_name(cls: type) -> str:
    """StopSendingFrame -> stop_sending."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Frame")).lower()


_NAMES: dict[type, str] = {cls: _frame_name(cls) for cls in get_args(Frame)}
FRAME_NAMES = tuple(sorted({*_NAMES.values(), *ARQ_NAMES}))  # `ack` and `reset_stream` are of both


class Flows:
    """Tells which connection a packet is of, whatever it is called there. Both directions of a path share one."""

    def __init__(self) -> None:
        self.arq = ArqFlows()
        self._connections: dict[int, int] = {}  # an ID of either side, and its connection's first one
        self._segments: dict[Hashable, tuple[int, int]] = {}  # TCP: how many connections, the next octet's offset

    def connection(self, packet: Packet) -> int:
        """An INITIAL packet tells two of a connection's IDs: its sender's own, and what it calls the other side."""
        target = packet.destination_connection_id
        known = self._connections
        if packet.kind != INITIAL:
            return known.get(target, target)
        source = packet.source_connection_id
        connection = known.get(target, known.get(source, source))
        known[target] = known[source] = connection
        while len(known) > CONNECTIONS_MAX:
            del known[next(iter(known))]
        return connection

    def tcp(self, ends: bytes, sequence: int, is_first: bool) -> tuple[int, int]:
        """Which connection between these ends, and the offset of an octet with this number, counted whole."""
        number, upcoming = self._segments.pop(ends, (0, sequence))
        if is_first and (upcoming - sequence) & 0xFFFF_FFFF:
            number, upcoming = number + 1, sequence
        offset = upcoming + (sequence - upcoming + (1 << 31)) % (1 << 32) - (1 << 31)  # the nearest such
        self._segments[ends] = number, max(upcoming, offset)
        while len(self._segments) > CONNECTIONS_MAX:
            del self._segments[next(iter(self._segments))]
        return number, offset


def read_datagrams(ends: Callable[[Label], Ends], flows: Flows) -> Reader:
    """A reader of datagrams, which are at these ends."""
    return lambda data, label: _Datagram(data, label, ends, flows)


def read_packets(flows: Flows) -> Reader:
    """A reader of whole IPv4 packets."""
    return lambda data, label: _WholePacket(data, flows)


def readers_between(one: Endpoint, other: Endpoint) -> tuple[Reader, Reader]:
    """For both directions of a path between two hosts, wherever their real sockets are."""
    flows = Flows()
    return read_datagrams(lambda label: (one, other), flows), read_datagrams(lambda label: (other, one), flows)


def readers_before(upstream: Endpoint) -> tuple[Reader, Reader]:
    """For both directions of a relay's path, whose labels have the client as their source."""
    flows = Flows()

    def forward(label: Label) -> Ends:
        client: Endpoint = label.source  # type: ignore[assignment] # the relay's own labels
        return client, upstream

    def reverse(label: Label) -> Ends:
        client, _ = forward(label)
        return upstream, client

    return read_datagrams(forward, flows), read_datagrams(reverse, flows)


class _Datagram:
    """A UDP datagram without its headers."""

    __slots__ = ("_contents", "_data", "_ends", "_flows", "_is_rudp", "_label", "_packet")

    def __init__(self, data: bytes, label: Label, ends: Callable[[Label], Ends], flows: Flows) -> None:
        self._data = data
        self._label = label
        self._ends = ends
        self._flows = flows
        self._contents = _UNREAD
        self._is_rudp = False
        self._packet: Dissected | None = None

    def headers(self) -> Headers:
        (_, source), (_, target) = self._ends(self._label)
        return Headers("udp", source, target)

    def contents(self) -> Contents | None:
        if self._contents is _UNREAD:
            self._contents, self._is_rudp = _read_datagram(self._data, self._flows, self._ends(self._label)[0])
        return self._contents

    def passes(self, tests: tuple[FieldTest, ...]) -> bool:
        from rudp_smtp.drivers import scapy_fields  # takes a second, which only such a rule is worth

        if self._packet is None:
            self.contents()
            datagram = self._data if self._is_rudp else None
            packet = ip_packet(self._data, self._ends(self._label), self._label.ecn)
            self._packet = scapy_fields.dissect(packet, datagram)
        return scapy_fields.passes(self._packet, tests)


class _WholePacket:
    """An IPv4 packet, or what was sent as one."""

    __slots__ = ("_contents", "_data", "_flows", "_is_rudp", "_packet", "_place")

    def __init__(self, data: bytes, flows: Flows) -> None:
        self._data = data
        self._flows = flows
        self._place = payload_place(data)
        self._contents = _UNREAD
        self._is_rudp = False
        self._packet: Dissected | None = None

    def headers(self) -> Headers:
        data, place = self._data, self._place
        protocol = _PROTOCOLS.get(data[9], "") if len(data) >= HEADER_SIZE else ""
        if place is None or protocol not in ("tcp", "udp") or len(data) < place + 4:
            return Headers(protocol, None, None)
        return Headers(
            protocol, int.from_bytes(data[place : place + 2], "big"), int.from_bytes(data[place + 2 : place + 4], "big")
        )

    def contents(self) -> Contents | None:
        if self._contents is _UNREAD:
            self._contents = self._read()
        return self._contents

    def _read(self) -> Contents | None:
        place = self._place
        protocol = None if place is None else _PROTOCOLS.get(self._data[9])
        if place is None or protocol not in ("tcp", "udp"):
            return None
        if protocol == "udp":
            source = self._data[12:16], self._data[place : place + 2]
            contents, self._is_rudp = _read_datagram(self._datagram(), self._flows, source)
            return contents
        return _read_segment(self._data, place, self._flows)

    def _datagram(self) -> bytes:
        assert self._place is not None
        return self._data[self._place + _UDP_HEADER_SIZE :]

    def passes(self, tests: tuple[FieldTest, ...]) -> bool:
        from rudp_smtp.drivers import scapy_fields

        if self._packet is None:
            self.contents()
            self._packet = scapy_fields.dissect(self._data, self._datagram() if self._is_rudp else None)
        return scapy_fields.passes(self._packet, tests)


_UNREAD: Contents | None = Contents(frozenset(), ())


def _read_datagram(data: bytes, flows: Flows, source: Hashable) -> tuple[Contents | None, bool]:
    """What a datagram holds, if it is one of our transports', and undamaged; and whether that is RUDP."""
    try:
        packet = decode_packet(data)
    except PacketDecodeError:
        found = flows.arq.read(data, source)
        return (None if found is None else Contents(*found)), False
    frames, connection = packet.frames, flows.connection(packet)
    pieces = tuple(
        Piece((connection, frame.stream_id), frame.offset, frame.data)
        for frame in frames
        if isinstance(frame, StreamFrame)
    )
    return Contents(frozenset(_NAMES[type(frame)] for frame in frames), pieces), True


def _read_segment(packet: bytes, place: int, flows: Flows) -> Contents | None:
    """What of TCP's stream a packet carries (RFC 9293 section 3.1): a SYN has the number before the first octet's."""
    if len(packet) < place + _TCP_HEADER_SIZE:
        return None
    sequence = int.from_bytes(packet[place + 4 : place + 8], "big")
    is_first = bool(packet[place + 13] & _SYN)
    size = int.from_bytes(packet[2:4], "big")
    start, ends = place + (packet[place + 12] >> 4) * 4, packet[12:20] + packet[place : place + 4]
    number, offset = flows.tcp(ends, (sequence + is_first) & 0xFFFF_FFFF, is_first)
    return Contents(frozenset(), (Piece((ends, number), offset, packet[start:size]),))
