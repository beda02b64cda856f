"""Controlled delay (RFC 8289): who has waited more than `target` for a whole `interval` pays for it with its packets.

Sections 5.3 to 5.6 give the code that `ControlledQueue` follows, in whole nanoseconds. With `ecn` what is ECN-capable
is marked in a drop's place (RFC 8289 section 4.4 leaves it to the implementation; so does tc-codel(8)).
"""

from collections import deque
from dataclasses import dataclass, field
from math import isqrt

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.queue import QUEUE_DISCIPLINES, QueueDiscipline, QueuedPacket
from rudp_smtp.units import MILLISECOND, Duration

TARGET = 5 * MILLISECOND  # RFC 8289 section 4.3
INTERVAL = 100 * MILLISECOND  # RFC 8289 section 4.2
PACKETS_DEFAULT = 1000  # tc-codel(8)


class ControlledQueue:
    """A first-in-first-out queue under CoDel's law. Owns its packets and the state of the law."""

    __slots__ = (
        "_count",
        "_drop_next",
        "_ecn",
        "_first_above_time",
        "_interval",
        "_is_dropping",
        "_last_count",
        "_maxpacket",
        "_target",
        "octets",
        "waiting",
    )

    def __init__(self, target: int, interval: int, *, ecn: bool) -> None:
        self.waiting: deque[QueuedPacket] = deque()
        self.octets = 0
        self._target = target
        self._interval = interval
        self._ecn = ecn
        self._first_above_time = 0
        self._drop_next = 0
        self._count = 0
        self._last_count = 0
        self._is_dropping = False
        self._maxpacket = 0

    def append(self, packet: QueuedPacket) -> None:
        self.waiting.append(packet)
        self.octets += packet.size
        if packet.size > self._maxpacket:
            self._maxpacket = packet.size

    def pop_head(self) -> QueuedPacket:
        packet = self.waiting.popleft()
        self.octets -= packet.size
        return packet

    def dequeue(self, now: int, dropped: list[QueuedPacket]) -> QueuedPacket | None:
        """The packet that leaves; those that the law takes before it are added to `dropped`."""
        packet, is_ok_to_drop = self._take(now)
        if self._is_dropping:
            if not is_ok_to_drop:
                self._is_dropping = False
            while self._is_dropping and now >= self._drop_next:
                assert packet is not None
                self._count += 1
                is_marked = self._mark(packet)
                if not is_marked:
                    dropped.append(packet)
                    packet, is_ok_to_drop = self._take(now)
                    self._is_dropping = is_ok_to_drop
                if self._is_dropping:
                    self._drop_next = self._control_law(self._drop_next)
                if is_marked:
                    break  # it leaves with its mark; the next one's turn is at `_drop_next`
        elif is_ok_to_drop:
            assert packet is not None
            if not self._mark(packet):
                dropped.append(packet)
                packet, _ = self._take(now)
            self._start_dropping(now)
        return packet

    def _take(self, now: int) -> tuple[QueuedPacket | None, bool]:
        """The head, and whether the queue has been too slow for so long that it may be dropped."""
        if not self.waiting:
            self._first_above_time = 0
            return None, False
        packet = self.pop_head()
        if now - packet.enqueued < self._target or self.octets <= self._maxpacket:
            self._first_above_time = 0
        elif self._first_above_time == 0:
            self._first_above_time = now + self._interval
        elif now >= self._first_above_time:
            return packet, True
        return packet, False

    def _start_dropping(self, now: int) -> None:
        self._is_dropping = True
        # If it was left only a while ago, go on at about the rate that held the queue down then.
        delta = self._count - self._last_count
        was_recent = now - self._drop_next < 16 * self._interval
        self._count = delta if delta > 1 and was_recent else 1
        self._drop_next = self._control_law(now)
        self._last_count = self._count

    def _control_law(self, time: int) -> int:
        """`time` + interval / sqrt(count), rounded down once."""
        return time + isqrt(self._interval * self._interval // self._count)

    def _mark(self, packet: QueuedPacket) -> bool:
        if not self._ecn or packet.label.ecn == NOT_ECT:
            return False
        packet.label = packet.label.marked()
        return True


def check_control(target: int, interval: int) -> None:
    """Refuse what is no control at all."""
    if target < 1:
        raise ConfigError("a target of no time at all drops everything that waits; expected such as 5ms", key="target")
    if interval <= target:
        text = "no longer than the target; expected a round trip's time, such as 100ms"
        raise ConfigError(text, key="interval")


@QUEUE_DISCIPLINES.register
@dataclass(slots=True, kw_only=True)
class CoDel(QueueDiscipline):
    """One controlled queue, and a limit of `packets` that it should never come near."""

    target: Duration = TARGET
    interval: Duration = INTERVAL
    packets: int = PACKETS_DEFAULT
    ecn: bool = False
    octets: int = field(init=False, default=0)
    _queue: ControlledQueue = field(init=False)

    @staticmethod
    def check(
        target: int = TARGET, interval: int = INTERVAL, packets: int = PACKETS_DEFAULT, *, ecn: bool = False
    ) -> None:
        check_control(target, interval)
        if packets < 1:
            raise ConfigError(f"{packets} packets let nothing through; expected at least 1", key="packets")

    def __post_init__(self) -> None:
        self._queue = ControlledQueue(self.target, self.interval, ecn=self.ecn)

    def enqueue(self, packet: QueuedPacket, now: int, dropped: list[QueuedPacket]) -> None:
        if len(self._queue.waiting) >= self.packets:
            dropped.append(packet)
            return
        self._queue.append(packet)
        self.octets += packet.size

    def dequeue(self, now: int, dropped: list[QueuedPacket]) -> QueuedPacket | None:
        packet = self._queue.dequeue(now, dropped)
        self.octets = self._queue.octets
        return packet

    def __len__(self) -> int:
        return len(self._queue.waiting)
