"""IP and UDP headers around datagrams that have none, and what whole packets say in theirs."""

from collections.abc import Iterable
from ipaddress import ip_address
from struct import Struct

from rudp_smtp.datagram import Address, Label, host_and_port
from rudp_smtp.drivers.ipv4 import UDP, checksum

Endpoint = tuple[str, int]
Ends = tuple[Endpoint, Endpoint]  # the source and the target

TTL = 64
_IPV4 = Struct(">BBHHHBBH4s4s")
_IPV6 = Struct(">IHBB16s16s")
_UDP = Struct(">HHHH")
_DO_NOT_FRAGMENT = 0x4000


class SimulatedHosts:
    """Where simulated hosts would be: 10.0.0.1, 10.0.0.2 and so on as a capture has them, all on our default port.

    After a rebinding a host is at another port; whoever changed its address is numbered anew. As in a capture.
    """

    def __init__(self, names: Iterable[Address]) -> None:
        self._endpoints: dict[Address, Endpoint] = {}
        self._numbers: dict[str, int] = {}
        for name in names:
            self._endpoint(name)

    def __call__(self, label: Label) -> Ends:
        return self._endpoint(label.source), self._endpoint(label.target)

    def _endpoint(self, name: Address) -> Endpoint:
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            host, port = host_and_port(name)
            number = self._numbers.setdefault(host, len(self._numbers) + 1)
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            endpoint = self._endpoints[name] = (address, port)
        return endpoint


def ip_packet(data: bytes, ends: Ends, ecn: int) -> bytes:
    """The datagram as it would be on the wire; IPv6 between hosts that have such addresses."""
    (source, source_port), (target, target_port) = ends
    origin, goal = ip_address(source).packed, ip_address(target).packed
    size = _UDP.size + len(data)
    pseudo = origin + goal + size.to_bytes(4, "big") + UDP.to_bytes(4, "big")  # RFC 8200 s8.1; the same sum
    bare = _UDP.pack(source_port, target_port, size & 0xFFFF, 0)
    udp = bare[:6] + (checksum(pseudo + bare + data) or 0xFFFF).to_bytes(2, "big")  # RFC 768: 0 means there is none
    if len(origin) == 16:
        return _IPV6.pack(6 << 28 | ecn << 20, size & 0xFFFF, UDP, TTL, origin, goal) + udp + data
    whole = (_IPV4.size + size) & 0xFFFF
    ip = _IPV4.pack(0x45, ecn, whole, 0, _DO_NOT_FRAGMENT, TTL, UDP, 0, origin, goal)
    return ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:] + udp + data
