"""A NAT before the client that forgets: after each rebinding its flows come from other ports (RFC 4787, RFC 5382).

It is put in at the first rebinding. From then on what comes from outside reaches the client only by a port that
one of its flows has had since the last one; all else arrives nowhere, as in simulation.
"""

from rudp_smtp.drivers.ipv4 import CHECKSUM_PLACES, ICMP, UDP, payload_place, ports_place, updated

PORTS = range(1024, 32768)  # the kernel's own are above (ip_local_port_range)
FLOWS_MAX = 10_000  # of a generation: the oldest is forgotten for one more

_ERRORS = (3, 11, 12)  # ICMP messages that quote a packet (RFC 792)
_QUOTE = 8  # octets before it

Flow = tuple[int, int]  # protocol, port


class Nat:
    """Owns which port stands for which. Whole packets, and bad ones pass as they are."""

    def __init__(self) -> None:
        self._outer: dict[Flow, int] = {}
        self._inner: dict[Flow, int] = {}
        self._next = 0  # never begins anew: a port of before is not given away soon

    def rebind(self) -> None:
        """Forget all flows."""
        self._outer.clear()
        self._inner.clear()

    def outward(self, packet: bytes) -> bytes:
        """The packet as it is seen outside."""
        place = ports_place(packet)
        if place is not None:
            flow = packet[9], _word(packet, place)
            return _replaced(packet, (packet[9], place), place, self._outer.get(flow) or self._admit(flow))
        quoted = _quoted(packet)
        if quoted is None:
            return packet
        message, ports = quoted
        outer = self._outer.get((packet[message + _QUOTE + 9], _word(packet, ports + 2)))
        return packet if outer is None else _replaced(packet, (ICMP, message), ports + 2, outer)

    def inward(self, packet: bytes) -> bytes | None:
        """The packet as the client sees it; None if it is not for any flow."""
        place = ports_place(packet)
        if place is not None:
            inner = self._inner.get((packet[9], _word(packet, place + 2)))
            return None if inner is None else _replaced(packet, (packet[9], place), place + 2, inner)
        quoted = _quoted(packet)
        if quoted is None:
            return packet
        message, ports = quoted
        inner = self._inner.get((packet[message + _QUOTE + 9], _word(packet, ports)))
        return None if inner is None else _replaced(packet, (ICMP, message), ports, inner)

    def _admit(self, flow: Flow) -> int:
        if len(self._outer) >= FLOWS_MAX:
            oldest = next(iter(self._outer))
            del self._inner[oldest[0], self._outer.pop(oldest)]
        while (flow[0], outer := PORTS[self._next % len(PORTS)]) in self._inner:
            self._next += 1
        self._next += 1
        self._outer[flow] = outer
        self._inner[flow[0], outer] = flow[1]
        return outer


def _word(packet: bytes, place: int) -> int:
    return packet[place] << 8 | packet[place + 1]


def _quoted(packet: bytes) -> tuple[int, int] | None:
    """Of an ICMP error: where the message begins, and where the ports of the packet it quotes are."""
    place = payload_place(packet)
    if place is None or packet[9] != ICMP or len(packet) <= place + _QUOTE or packet[place] not in _ERRORS:
        return None
    ports = ports_place(packet, place + _QUOTE)
    return None if ports is None else (place, ports)


def _replaced(packet: bytes, header: tuple[int, int], place: int, port: int) -> bytes:
    """The packet with another port at `place`, and the checksum of the header (protocol, place) put right."""
    protocol, begin = header
    changed = bytearray(packet)
    changed[place : place + 2] = port.to_bytes(2, "big")
    at = begin + CHECKSUM_PLACES[protocol]
    if len(packet) >= at + 2 and (protocol != UDP or _word(packet, at)):  # RFC 768: 0 means there is none
        value = updated(_word(packet, at), _word(packet, place), port)
        changed[at : at + 2] = (value or (0xFFFF if protocol == UDP else 0)).to_bytes(2, "big")
    return bytes(changed)
