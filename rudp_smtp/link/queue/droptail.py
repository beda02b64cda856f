"""First in, first out, and whoever finds it full is dropped (tc-pfifo(8), tc-bfifo(8)).

With `mark` it also is the step marking of RFC 8257 section 3.1: what is ECN-capable and finds more than that waiting,
itself included, is marked.
"""

from collections import deque
from dataclasses import dataclass, field

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.queue import QUEUE_DISCIPLINES, QueueDiscipline, QueuedPacket
from rudp_smtp.units import Size

PACKETS_DEFAULT = 1000  # netem's own `limit`, tc-netem(8)


@QUEUE_DISCIPLINES.register
@dataclass(slots=True, kw_only=True)
class DropTail(QueueDiscipline):
    """`limit` in octets (headers included), `packets` in packets; where both are given, both hold. `mark` in octets."""

    limit: Size | None = None
    packets: int | None = None
    mark: Size | None = None
    octets: int = field(init=False, default=0)
    _waiting: deque[QueuedPacket] = field(init=False, default_factory=deque)

    @staticmethod
    def check(limit: Size | None = None, packets: int | None = None, mark: Size | None = None) -> None:
        if limit is not None and limit < 1:
            raise ConfigError("a queue of no octets lets nothing through; expected a limit such as 100kB", key="limit")
        if packets is not None and packets < 1:
            raise ConfigError(f"{packets} packets let nothing through; expected at least 1", key="packets")
        if mark is not None and limit is not None and mark >= limit:
            text = f"marks above {mark}B in a queue of {limit}B: it is full before; expected less than `limit`"
            raise ConfigError(text, key="mark")

    def __post_init__(self) -> None:
        if self.limit is None and self.packets is None:
            self.packets = PACKETS_DEFAULT

    def enqueue(self, packet: QueuedPacket, now: int, dropped: list[QueuedPacket]) -> None:
        octets = self.octets + packet.size
        if (self.limit is not None and octets > self.limit) or (
            self.packets is not None and len(self._waiting) >= self.packets
        ):
            dropped.append(packet)
            return
        self.octets = octets
        self._waiting.append(packet)
        if self.mark is not None and octets > self.mark and packet.label.ecn != NOT_ECT:
            packet.label = packet.label.marked()

    def dequeue(self, now: int, dropped: list[QueuedPacket]) -> QueuedPacket | None:
        if not self._waiting:
            return None
        packet = self._waiting.popleft()
        self.octets -= packet.size
        return packet

    def __len__(self) -> int:
        return len(self._waiting)
