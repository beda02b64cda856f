"""pcapng in and out: what each host sent and received, at the time it did (draft-ietf-opsawg-pcapng).

As if tcpdump ran on every host: an interface each, so what was lost on the way is on one of them only. Hosts whose
datagrams are captured are 10.0.0.1, 10.0.0.2 and so on in the order they are first watched, all on our default port;
whole packets are as they crossed. Time 0 is the beginning of the run, a live one's too. Nothing else goes in but a
comment, if there is one, so the same simulated run gives the same octets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Protocol

from rudp_smtp.datagram import NOT_ECT, Address, host_and_port
from rudp_smtp.drivers.ipv4 import HEADER_SIZE, UDP_HEADER_SIZE, checksum, payload_place, udp_payload
from rudp_smtp.drivers.pump import Node
from rudp_smtp.errors import DriverError

SECTION, INTERFACE, PACKET = 0x0A0D_0D0A, 1, 6  # block types
INBOUND, OUTBOUND = 1, 2  # epb_flags
LINK_ETHERNET, LINK_RAW = 1, 101  # LINKTYPE_RAW: it begins with the IP header
DATAGRAM_SIZE_MAX = 65_507  # what UDP over IPv4 carries

_MAGIC = 0x1A2B_3C4D
_COMMENT, _IF_NAME, _IF_TSRESOL, _EPB_FLAGS = 1, 2, 9, 2  # option codes
_BLOCK = Struct("<II")
_U32 = Struct("<I")
_OPTION = Struct("<HH")
_SECTION = Struct("<IHHq")
_INTERFACE = Struct("<HHI")
_PACKET = Struct("<IIIII")
_IPV4 = Struct(">BBHHHBBH4s4s")
_UDP = Struct(">HHHH")
_ETHERNET_SIZE = 14
_ETHERTYPE_IPV4 = b"\x08\0"


class CaptureError(DriverError):
    """A file that is not pcapng, or ends too early."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A UDP datagram as a capture file has it."""

    time: int  # ns
    interface: str
    direction: int  # INBOUND, OUTBOUND or 0: not said
    source: tuple[str, int]
    target: tuple[str, int]
    data: bytes


class Watcher(Protocol):
    """Whoever wants to see what the hosts send and receive."""

    def watch(self, address: Address, node: Node) -> Node:
        """The node to use instead of `node`: `Watched`, as a rule."""

    def note(self, data: bytes, hosts: tuple[Address, Address], now: int, ecn: int, direction: int) -> None:
        """A datagram that the source of `hosts` sends (OUTBOUND) to the target, or that the target receives."""


class Tap(Protocol):
    """Whoever wants to see what crosses the ends of a live path's links: all that enters, and all that comes out.

    `hosts` are the source and the target, as the host is told who sees it: the source (OUTBOUND) or the target.
    """

    def cross(self, data: bytes, hosts: tuple[Address, Address], now: int, ecn: int, direction: int) -> None:
        """A datagram."""

    def cross_whole(self, packet: bytes, hosts: tuple[Address, Address], now: int, direction: int) -> None:
        """An IP packet."""


class Capture:
    """Collects a file's blocks."""

    def __init__(self, comment: str = "") -> None:
        section = _SECTION.pack(_MAGIC, 1, 0, -1)
        if comment:
            section += _option(_COMMENT, comment.encode()) + _OPTION.pack(0, 0)
        self._blocks = [_block(SECTION, section)]
        self._numbers: dict[Address, int] = {}
        self._endpoints: dict[Address, tuple[int, int]] = {}  # number and port, by name

    def watch(self, address: Address, node: Node) -> Node:
        """The node, seen through: its datagrams are noted, and go on unchanged."""
        self.add_interface(address)
        return Watched(self, address, node)

    def add_interface(self, address: Address, link: int = LINK_ETHERNET) -> None:
        """Have one for this host; LINK_RAW for whole packets. All come before the first packet."""
        self._numbers[address] = len(self._numbers)
        options = _option(_IF_NAME, str(address).encode()) + _option(_IF_TSRESOL, b"\x09") + _OPTION.pack(0, 0)
        self._blocks.append(_block(INTERFACE, _INTERFACE.pack(link, 0, 0) + options))

    def note(self, data: bytes, hosts: tuple[Address, Address], now: int, ecn: int, direction: int) -> None:
        """A host that a NAT rebound is at another port there; one that changed its address is numbered anew."""
        source, target = (self._endpoints.get(host) or self._meet(host) for host in hosts)
        seen_at = (source if direction == OUTBOUND else target)[0] - 1
        self._add_frame(_frame(data, source, target, ecn), seen_at, now, direction)

    def _meet(self, name: Address) -> tuple[int, int]:
        host, port = host_and_port(name)
        number = self._numbers.setdefault(host, len(self._numbers)) + 1
        endpoint = self._endpoints[name] = number, port
        return endpoint

    def note_whole(self, packet: bytes, hosts: tuple[Address, Address], now: int, direction: int) -> None:
        """An IP packet as it is, which need not be intact."""
        source, target = hosts
        self._add_frame(packet, self._numbers[source if direction == OUTBOUND else target], now, direction)

    def _add_frame(self, frame: bytes, seen_at: int, now: int, direction: int) -> None:
        header = _PACKET.pack(seen_at, now >> 32, now & 0xFFFF_FFFF, len(frame), len(frame))
        options = _option(_EPB_FLAGS, _U32.pack(direction)) + _OPTION.pack(0, 0)
        self._blocks.append(_block(PACKET, header + _padded(frame) + options))

    def octets(self) -> bytes:
        return b"".join(self._blocks)


class Watched:
    """A node, seen through: a datagram is noted before the node receives it, and after the node gave it out."""

    def __init__(self, watcher: Watcher, address: Address, node: Node) -> None:
        self._watcher = watcher
        self._address = address
        self._node = node

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        self._watcher.note(data, (remote, self._address), now, ecn, INBOUND)
        self._node.receive_datagram(data, remote, now, ecn)

    def handle_timeout(self, now: int) -> None:
        self._node.handle_timeout(now)

    def next_datagram(self, now: int) -> tuple[bytes, Address, int] | None:
        outgoing = self._node.next_datagram(now)
        if outgoing is not None:
            self._watcher.note(outgoing[0], (self._address, outgoing[1]), now, outgoing[2], OUTBOUND)
        return outgoing

    def next_timeout(self) -> int | None:
        return self._node.next_timeout()

    @property
    def done(self) -> bool:
        return self._node.done


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return _OPTION.pack(code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return _BLOCK.pack(kind, size) + body + _U32.pack(size)


def _frame(data: bytes, source: tuple[int, int], target: tuple[int, int], ecn: int) -> bytes:
    """Ethernet, IPv4 and UDP around a datagram between these hosts' numbers and ports."""
    if len(data) > DATAGRAM_SIZE_MAX:
        raise DriverError(f"a datagram of {len(data)} octets does not fit IPv4, so it cannot be captured")
    origin, goal = ((0x0A00_0000 + host).to_bytes(4, "big") for host, _ in (source, target))
    size = UDP_HEADER_SIZE + len(data)
    pseudo = origin + goal + b"\0\x11" + size.to_bytes(2, "big")
    udp = _UDP.pack(source[1], target[1], size, 0)
    udp = udp[:6] + (checksum(pseudo + udp + data) or 0xFFFF).to_bytes(2, "big")  # RFC 768: 0 means there is none
    ip = _IPV4.pack(0x45, ecn, HEADER_SIZE + size, 0, 0x4000, 64, 17, 0, origin, goal)
    ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
    ethernet = b"\x02\0" + goal + b"\x02\0" + origin + _ETHERTYPE_IPV4  # locally administered
    return ethernet + ip + udp + data


def read_capture(octets: bytes) -> Iterator[Captured]:
    """Every UDP datagram over IPv4, with or without Ethernet around it; what is else in the file is passed over.

    Little-endian sections only, which is what everything writes on today's machines. CaptureError comes after what
    could be read was given.
    """
    if len(octets) < 12 or octets[:4] != _U32.pack(SECTION) or octets[8:12] != _U32.pack(_MAGIC):
        raise CaptureError("not a little-endian pcapng file")
    interfaces: list[tuple[str, int, int]] = []
    offset = 0
    while offset < len(octets):
        kind, body, offset = _next_block(octets, offset)
        if kind == SECTION:
            interfaces = []
        elif kind == INTERFACE:
            interfaces.append(_interface(body, len(interfaces)))
        elif kind == PACKET and (captured := _captured(body, interfaces)) is not None:
            yield captured


def _next_block(octets: bytes, offset: int) -> tuple[int, bytes, int]:
    if offset + 12 > len(octets):
        raise CaptureError(f"truncated: {len(octets) - offset} octets at {offset} are no block")
    kind, size = _BLOCK.unpack_from(octets, offset)
    end = offset + size
    if size < 12 or size % 4 or (end <= len(octets) and octets[end - 4 : end] != _U32.pack(size)):
        raise CaptureError(f"damaged: the block at octet {offset} says it has {size} octets")
    if end > len(octets):
        raise CaptureError(
            f"truncated: the block at octet {offset} has {size} octets, {len(octets) - offset} are there"
        )
    return kind, octets[offset + 8 : end - 4], end


def _interface(body: bytes, number: int) -> tuple[str, int, int]:
    """Its name, what kind of frames it has, and how many ticks a second has."""
    if len(body) < _INTERFACE.size:
        raise CaptureError(f"damaged: interface {number} has no description")
    options = _options(body, _INTERFACE.size)
    name = options.get(_IF_NAME, b"").decode(errors="replace") or f"if{number}"
    resolution = options.get(_IF_TSRESOL, b"\x06")[0:1] or b"\x06"
    ticks = 1 << (resolution[0] & 0x7F) if resolution[0] & 0x80 else 10 ** resolution[0]
    return name, _INTERFACE.unpack_from(body)[0], ticks


def _options(body: bytes, offset: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while offset + _OPTION.size <= len(body):
        code, size = _OPTION.unpack_from(body, offset)
        if not code:
            break
        offset += _OPTION.size
        found[code] = body[offset : offset + size]
        offset += size + -size % 4
    return found


def _captured(body: bytes, interfaces: list[tuple[str, int, int]]) -> Captured | None:
    if len(body) < _PACKET.size:
        raise CaptureError("damaged: a packet block without its header")
    number, high, low, size, _ = _PACKET.unpack_from(body)
    if number >= len(interfaces) or _PACKET.size + size > len(body):
        raise CaptureError(f"damaged: a packet of {size} octets on interface {number}")
    name, link, ticks = interfaces[number]
    frame = body[_PACKET.size : _PACKET.size + size]
    packet = _packet(frame, link)
    place, data = payload_place(packet), udp_payload(packet)
    if place is None or data is None:
        return None
    source_port, target_port, _, _ = _UDP.unpack_from(packet, place)
    source, target = (".".join(map(str, packet[start : start + 4])) for start in (12, 16))
    flags = _options(body, _PACKET.size + size + -size % 4).get(_EPB_FLAGS, b"\0")
    return Captured(
        time=(high << 32 | low) * 10**9 // ticks,
        interface=name,
        direction=flags[0] & 3 if flags else 0,
        source=(source, source_port),
        target=(target, target_port),
        data=data,
    )


def _packet(frame: bytes, link: int) -> bytes:
    """The IP packet in a frame; b"" if there is none that we know of."""
    if link == LINK_RAW:
        return frame
    return frame[_ETHERNET_SIZE:] if link == LINK_ETHERNET and frame[12:14] == _ETHERTYPE_IPV4 else b""
