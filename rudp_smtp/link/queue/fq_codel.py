"""FlowQueue-CoDel (RFC 8290): a controlled queue for each flow, served in turn, those that are new or idle first.

A flow is a pair of source and destination, which on real sockets have their ports in them; flows that share one of the
`flows` queues by accident of the keyed hash share their fate, as section 4.1.1 has it.
"""

from collections import deque
from dataclasses import dataclass, field

from rudp_smtp.datagram import Address
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.queue import QUEUE_DISCIPLINES, QueueDiscipline, QueuedPacket
from rudp_smtp.link.queue.codel import INTERVAL, TARGET, ControlledQueue, check_control
from rudp_smtp.units import Duration, Size

# RFC 8290 section 5.2, tc-fq_codel(8)
FLOWS_DEFAULT = 1024
QUANTUM_DEFAULT = 1514
PACKETS_DEFAULT = 10240
DROP_BATCH = 64  # packets of the fattest flow that go at once, but no more than half of it (section 4.1.3)


class _Flow:
    """One queue and its credit for this round."""

    __slots__ = ("credits", "is_listed", "queue")

    def __init__(self, queue: ControlledQueue) -> None:
        self.queue = queue
        self.credits = 0
        self.is_listed = False  # on the list of new or of old flows


@QUEUE_DISCIPLINES.register
@dataclass(slots=True, kw_only=True)
class FqCoDel(QueueDiscipline):
    """Owns the flows. `packets` limits all of them together."""

    target: Duration = TARGET
    interval: Duration = INTERVAL
    packets: int = PACKETS_DEFAULT
    flows: int = FLOWS_DEFAULT
    quantum: Size = QUANTUM_DEFAULT
    ecn: bool = True  # RFC 8290 section 5.2.9
    octets: int = field(init=False, default=0)
    _count: int = field(init=False, default=0)
    _buckets: dict[int, _Flow] = field(init=False, default_factory=dict)
    _places: dict[tuple[Address, Address], int] = field(init=False, default_factory=dict)
    _new: deque[_Flow] = field(init=False, default_factory=deque)
    _old: deque[_Flow] = field(init=False, default_factory=deque)

    @staticmethod
    def check(**given: int) -> None:
        check_control(given.get("target", TARGET), given.get("interval", INTERVAL))
        for key in ("packets", "flows", "quantum"):
            if given.get(key, 1) < 1:
                raise ConfigError(f"{given[key]} lets nothing through; expected at least 1", key=key)

    def enqueue(self, packet: QueuedPacket, now: int, dropped: list[QueuedPacket]) -> None:
        flow = self._flow(packet)
        flow.queue.append(packet)
        self.octets += packet.size
        self._count += 1
        if not flow.is_listed:
            flow.is_listed = True
            flow.credits = self.quantum
            self._new.append(flow)
        if self._count > self.packets:
            self._drop_from_the_fattest(dropped)

    def dequeue(self, now: int, dropped: list[QueuedPacket]) -> QueuedPacket | None:
        while self._new or self._old:
            flows = self._new or self._old
            flow = flows[0]
            if flow.credits <= 0:
                flow.credits += self.quantum
                flows.popleft()
                self._old.append(flow)
                continue
            before, octets = len(flow.queue.waiting), flow.queue.octets
            packet = flow.queue.dequeue(now, dropped)
            self._count -= before - len(flow.queue.waiting)
            self.octets -= octets - flow.queue.octets
            if packet is not None:
                flow.credits -= packet.size
                return packet
            flows.popleft()
            if flows is self._new and self._old:  # or a flow with little to send would keep its precedence
                self._old.append(flow)
            else:
                flow.is_listed = False
        return None

    def __len__(self) -> int:
        return self._count

    def _flow(self, packet: QueuedPacket) -> _Flow:
        label = packet.label
        pair = (label.source, label.target)
        place = self._places.get(pair)
        if place is None:
            place = self._places[pair] = self.draws.derive(str(pair[0]), str(pair[1])).below(0, self.flows)
        flow = self._buckets.get(place)
        if flow is None:
            flow = self._buckets[place] = _Flow(ControlledQueue(self.target, self.interval, ecn=self.ecn))
        return flow

    def _drop_from_the_fattest(self, dropped: list[QueuedPacket]) -> None:
        """From its head, so that the sender learns of it soon."""
        queue = max(self._buckets.values(), key=_octets).queue
        threshold = queue.octets // 2
        for _ in range(DROP_BATCH):
            packet = queue.pop_head()
            self.octets -= packet.size
            self._count -= 1
            dropped.append(packet)
            if queue.octets <= threshold:
                break


def _octets(flow: _Flow) -> int:
    return flow.queue.octets
