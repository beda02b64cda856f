"""Queue disciplines before a rate limit: which packet is let in, and which leaves next (tc(8))."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from rudp_smtp.datagram import UNLABELLED, Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.registry import Registry

UNKEYED = DrawKey(0, "queue")


@dataclass(slots=True)
class QueuedPacket:
    """A datagram inside a link. Left alone after it is built."""

    index: int  # its number at the link's entrance
    copy: int  # 0, or 1 for a duplicate: part of every later draw's key
    data: bytes
    size: int  # octets on the wire, network headers included
    enqueued: int  # time of entrance, ns
    is_lost: bool = False  # decided at the entrance, carried out after the bandwidth is spent (`where: egress`)
    label: Label = UNLABELLED  # a discipline that marks puts `label.marked()` here
    held: int = 0  # by a match rule: ns beyond its delay
    is_displaced: bool = False  # decided at the entrance: the reorder stage sends it early or holds it back


class QueueDiscipline(ABC):
    """Owns the waiting packets. The packet being serialised has left the queue (as in a real transmit ring).

    `dropped` is the link's list: a discipline appends whatever it gives up, the newcomer included, and forgets it.
    """

    draws: DrawKey = UNKEYED  # for those that decide by chance; the link puts its own here before the first packet
    octets: int  # the sum of the waiting packets' sizes: read for every packet, so it is kept and not computed

    @abstractmethod
    def enqueue(self, packet: QueuedPacket, now: int, dropped: list[QueuedPacket]) -> None:
        """Take the packet or drop it; others may have to go instead."""

    @abstractmethod
    def dequeue(self, now: int, dropped: list[QueuedPacket]) -> QueuedPacket | None:
        """The next packet to serialise, at the very time the transmitter is free; None only if none is left."""

    @abstractmethod
    def __len__(self) -> int: ...


QUEUE_DISCIPLINES: Registry[QueueDiscipline] = Registry("queue discipline", __name__, selector="discipline")
