"""IPv4 packets as octets: where what is in them, and checksums (RFC 1071) put right after a change (RFC 1624)."""

from rudp_smtp.datagram import CE

HEADER_SIZE = 20  # without options
UDP_HEADER_SIZE = 8
ICMP, TCP, UDP = 1, 6, 17
CHECKSUM_PLACES = {ICMP: 2, TCP: 16, UDP: 6}  # in their headers

_OFFSET = 0x1FFF  # of a fragment


def checksum(data: bytes) -> int:
    """RFC 1071. A one's complement sum of 16-bit words is the number they spell, modulo 0xffff."""
    value = int.from_bytes(data + bytes(len(data) % 2), "big")
    return 0xFFFF - (value % 0xFFFF or (0xFFFF if value else 0))


def updated(before: int, old: int, new: int) -> int:
    """The checksum once a 16-bit word that it covers is another (RFC 1624, equation 3)."""
    total = (~before & 0xFFFF) + (~old & 0xFFFF) + new
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def with_ce(packet: bytes) -> bytes:
    """The packet with CE in its header (RFC 3168 section 5)."""
    changed = bytearray(packet)
    changed[1] |= CE
    words = (int.from_bytes(octets, "big") for octets in (packet[10:12], packet[:2], changed[:2]))
    changed[10:12] = updated(*words).to_bytes(2, "big")
    return bytes(changed)


def payload_place(packet: bytes, at: int = 0) -> int | None:
    """Where what the packet that begins `at` carries begins; None if that is not there, or not its beginning."""
    if len(packet) < at + HEADER_SIZE or packet[at] >> 4 != 4 or (packet[at + 6] << 8 | packet[at + 7]) & _OFFSET:
        return None
    place = at + (packet[at] & 15) * 4
    return place if at + HEADER_SIZE <= place <= len(packet) else None


def udp_payload(packet: bytes) -> bytes | None:
    """The datagram in a packet; None if it has none, or not its beginning."""
    place = payload_place(packet)
    if place is None or packet[9] != UDP or len(packet) < place + UDP_HEADER_SIZE:
        return None
    return packet[place + UDP_HEADER_SIZE : place + (packet[place + 4] << 8 | packet[place + 5])]


def ports_place(packet: bytes, at: int = 0) -> int | None:
    """Where its ports are, of a TCP or UDP packet; None of all others."""
    place = payload_place(packet, at)
    if place is None or packet[at + 9] not in (TCP, UDP) or len(packet) < place + 8:
        return None
    return place
