"""What goes with a datagram outside of its octets: where it comes from and goes to, and its ECN codepoint."""

from collections.abc import Hashable
from ipaddress import ip_address, ip_network
from typing import Final

Address = Hashable  # opaque to us: a (host, port) on real sockets, a host's name in simulation

DEFAULT_PORT: Final = 2525  # UDP; what a capture file's packets wear and dissectors are bound to

IPV6_PREFIX: Final = 64  # RFC 6177: what a site has at least

# RFC 3168 section 5: the two bits of the IP header.
NOT_ECT: Final = 0
ECT_1: Final = 1
ECT_0: Final = 2
CE: Final = 3


def renamed(name: str, number: int, *, is_moved: bool) -> str:
    """A simulated host's name after its `number`-th change: at another address (client+1), or at another port of the
    same (client~1, client+1~2)."""
    host = name.partition("~")[0]
    return f"{host.partition('+')[0]}+{number}" if is_moved else f"{host}~{number}"


def is_same_host(one: Address, other: Address) -> bool:
    """Whether they are ports of one address; all that is opaque here is of different ones."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return one[:1] == other[:1]
    if isinstance(one, str) and isinstance(other, str):
        return one.partition("~")[0] == other.partition("~")[0]
    return False


def client_name(host: str) -> str:
    """Who is at a host's address: that, or the /64 of an IPv6 address, since who has one of those has them all."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else str(ip_network((address, IPV6_PREFIX), strict=False))


def host_and_port(name: Address) -> tuple[str, int]:
    """Of a simulated host's name: whose address it is, and the port, which each rebinding makes another."""
    host, _, number = str(name).partition("~")
    return host, DEFAULT_PORT + int(number or 0)


class Label:
    """Whence, whither and with which codepoint. A value: left alone after it is built, so that datagrams share it."""

    __slots__ = ("_marked", "ecn", "source", "target")

    def __init__(self, source: Address, target: Address, ecn: int = NOT_ECT) -> None:
        self.source = source
        self.target = target
        self.ecn = ecn
        self._marked: Label | None = self if ecn == CE else None

    def marked(self) -> "Label":
        """The same with CE, as a queue that marks leaves it; only for a datagram that is ECN-capable."""
        assert self.ecn != NOT_ECT
        if self._marked is None:
            self._marked = Label(self.source, self.target, CE)
        return self._marked


UNLABELLED = Label("", "")
