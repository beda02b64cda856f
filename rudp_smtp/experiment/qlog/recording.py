"""Recorder: the facts of the two hosts in order, each packet's with the datagram it is about.

The core's facts do not hold what is in a packet; the octets do, and they pass by where a capture would see them
(`drivers.capture.Watcher`). A fact that a packet was sent waits here until its datagram has left, which is at once.
In simulation it is then on its link; on a live path it gets there later, as `enter` is told.
Facts about a rival's packets, and about those of later hops, are passed over.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from rudp_smtp.datagram import Address
from rudp_smtp.drivers.capture import INBOUND, Watched
from rudp_smtp.drivers.pump import Node
from rudp_smtp.experiment.build import CLIENT, HOP
from rudp_smtp.trace import Fact, LinkFate, PacketDropped, PacketReceived, PacketSent
from rudp_smtp.workload import SERVER

HOSTS = (CLIENT, SERVER)
LINKS = {CLIENT: "forward", SERVER: "reverse"}  # a host, and the link that leads away from it

_PEERS = {CLIENT: SERVER, SERVER: CLIENT}
_DIGEST_SIZE = 16


@dataclass(frozen=True, slots=True)
class Seen:
    """A fact and, of one about a datagram, its octets and what its sender told when it sent those octets last."""

    fact: Fact
    data: bytes | None = None
    sent: PacketSent | None = None


class Recorder:
    """A sink for facts and a watcher of datagrams; `tell` is given each host's facts in the order they came."""

    def __init__(self, tell: Callable[[str, Seen], None], *, is_live: bool = False) -> None:
        self._tell = tell
        self._is_live = is_live
        self._waiting: dict[str, deque[Seen]] = {host: deque() for host in HOSTS}  # begins with a PacketSent
        self._arrived: dict[str, bytes] = {}  # the last datagram of each host
        self._sent: dict[tuple[str, bytes], PacketSent] = {}  # by host and digest of the octets
        self._entered: dict[str, list[PacketSent | None]] = {link: [] for link in LINKS.values()}

    def watch(self, address: Address, node: Node) -> Node:
        return Watched(self, address, node)

    def emit(self, fact: Fact) -> None:
        if isinstance(fact, LinkFate):
            entered = self._entered.get(fact.link)  # None: a later hop's
            sent = None if entered is None else entered[fact.index]  # None: of a rival, or of the kernel
            if sent is not None:
                self._append(sent.host, Seen(fact, None, sent))
        elif fact.host not in self._waiting:
            return
        elif isinstance(fact, PacketSent):
            self._waiting[fact.host].append(Seen(fact))
        elif isinstance(fact, PacketReceived | PacketDropped):
            data = self._arrived.get(fact.host)
            sent = None if data is None else self._sent.get((_PEERS[fact.host], _digest(data)))
            self._append(fact.host, Seen(fact, data, sent))
        else:
            self._append(fact.host, Seen(fact))

    def note(self, data: bytes, hosts: tuple[Address, Address], now: int, ecn: int, direction: int) -> None:
        """A datagram that leaves is the next to enter its link: that is how a link's facts are told whose they are."""
        source, target = (str(host) for host in hosts)
        if direction == INBOUND:
            self._arrived[target] = data
            return
        if HOP in source:
            return
        sent = self._take(source, data)
        if not self._is_live:
            self._entered["forward" if source.endswith(CLIENT) else "reverse"].append(sent)

    def enter(self, host: Address, data: bytes | None) -> None:
        """The next packet on the live link that leads away from this host, and the datagram in it, if there is one."""
        name = str(host)
        self._entered[LINKS[name]].append(None if data is None else self._sent.get((name, _digest(data))))

    def finish(self) -> None:
        """Tell what still waits, should a transport have told of more than it sent."""
        for host, waiting in self._waiting.items():
            while waiting:
                self._tell(host, waiting.popleft())

    def _append(self, host: str, seen: Seen) -> None:
        if self._waiting[host]:
            self._waiting[host].append(seen)
        else:
            self._tell(host, seen)

    def _take(self, host: str, data: bytes) -> PacketSent | None:
        """Pair a datagram that leaves with the first fact that it can be."""
        waiting = self._waiting.get(host, deque())
        for place, seen in enumerate(waiting):
            fact = seen.fact
            if isinstance(fact, PacketSent) and seen.data is None and fact.size == len(data):
                waiting[place] = Seen(fact, data, fact)
                self._sent[host, _digest(data)] = fact
                while waiting and not (isinstance(waiting[0].fact, PacketSent) and waiting[0].data is None):
                    self._tell(host, waiting.popleft())
                return fact
        return None


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST_SIZE).digest()
