"""What passes while a run goes on in real time, kept at the price of an append and looked at afterwards.

Facts, the datagrams that nodes see and what crosses the ends of the links, in the one order they happened in. Nothing
is made of them before the run is over: real packets would be late for it.
"""

from dataclasses import dataclass

from rudp_smtp.datagram import Address
from rudp_smtp.drivers.capture import Watched
from rudp_smtp.drivers.pump import Node
from rudp_smtp.trace import Fact

# Not frozen: made while packets wait.


@dataclass(slots=True)
class _Passed:
    """A datagram, wherever it was seen."""

    data: bytes
    hosts: tuple[Address, Address]
    now: int
    ecn: int
    direction: int


class Noted(_Passed):
    """One that a node gave out or received; as `Watcher.note`."""

    __slots__ = ()


class Crossed(_Passed):
    """One at the end of a link; as `Tap.cross`."""

    __slots__ = ()


@dataclass(slots=True)
class CrossedWhole:
    """An IP packet at the end of a link; as `Tap.cross_whole`."""

    packet: bytes
    hosts: tuple[Address, Address]
    now: int
    direction: int


class Tape:
    """A sink, a watcher and a tap."""

    def __init__(self) -> None:
        self.entries: list[Fact | Noted | Crossed | CrossedWhole] = []

    def emit(self, fact: Fact) -> None:
        self.entries.append(fact)

    def watch(self, address: Address, node: Node) -> Node:
        return Watched(self, address, node)

    def note(self, data: bytes, hosts: tuple[Address, Address], now: int, ecn: int, direction: int) -> None:
        self.entries.append(Noted(data, hosts, now, ecn, direction))

    def cross(self, data: bytes, hosts: tuple[Address, Address], now: int, ecn: int, direction: int) -> None:
        self.entries.append(Crossed(data, hosts, now, ecn, direction))

    def cross_whole(self, packet: bytes, hosts: tuple[Address, Address], now: int, direction: int) -> None:
        self.entries.append(CrossedWhole(packet, hosts, now, direction))
