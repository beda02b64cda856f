"""Queue disciplines before a rate limit: which packet is let in, and which leaves next (tc(8))."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from rudp_smtp.registry import Registry


@dataclass(slots=True)
class QueuedPacket:
    """A datagram inside a link. Left alone after it is built."""

    index: int  # its number at the link's entrance
    copy: int  # 0, or 1 for a duplicate: part of every later draw's key
    data: bytes
    size: int  # octets on the wire, network headers included
    enqueued: int  # time of entrance, ns


class QueueDiscipline(ABC):
    """Owns the waiting packets. The packet being serialised has left the queue (as in a real transmit ring)."""

    @abstractmethod
    def enqueue(self, packet: QueuedPacket, now: int) -> bool:
        """Take the packet, or refuse it (False: dropped)."""

    @abstractmethod
    def dequeue(self, now: int) -> QueuedPacket | None:
        """The next packet to serialise; a discipline may drop others on the way (see `dropped`)."""

    @abstractmethod
    def __len__(self) -> int: ...


QUEUE_DISCIPLINES: Registry[QueueDiscipline] = Registry("queue discipline", __name__)
