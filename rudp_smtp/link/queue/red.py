"""Random early detection (Floyd and Jacobson 1993, figure 2), in whole octets, with keyed draws.

The average of the queue follows it by a share of 2**-`weight_shift` with each arrival. While it is between `min` and
`max`, arrivals are dropped with a chance that rises to `probability`, spaced evenly; above, all are.
"""

from collections import deque
from dataclasses import dataclass, field

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.queue import QUEUE_DISCIPLINES, QueueDiscipline, QueuedPacket
from rudp_smtp.units import MICROSECOND, PROBABILITY_ONE, Duration, Probability, Size

LIMIT_DEFAULT = 100_000
MIN_DEFAULT = 10_000
MAX_DEFAULT = 30_000  # at least twice the minimum (section VI)
PROBABILITY_DEFAULT = PROBABILITY_ONE // 50  # section VII: no more than a tenth
WEIGHT_SHIFT_DEFAULT = 9  # 1/512, the paper's 0.002
PACKET_TIME_DEFAULT = 600 * MICROSECOND  # 1500 octets at 20 Mbit/s

_DECAY_BITS = 62


@QUEUE_DISCIPLINES.register
@dataclass(slots=True, kw_only=True)
class RandomEarlyDetection(QueueDiscipline):
    """Owns the queue and its average, which an idle time shrinks as so many `packet_time`s of an empty queue would.

    With `ecn` what is ECN-capable is marked where it would be dropped early, but not above `max` (RFC 3168 section 7).
    """

    limit: Size = LIMIT_DEFAULT
    min: Size = MIN_DEFAULT
    max: Size = MAX_DEFAULT
    probability: Probability = PROBABILITY_DEFAULT
    weight_shift: int = WEIGHT_SHIFT_DEFAULT
    packet_time: Duration = PACKET_TIME_DEFAULT
    ecn: bool = False
    octets: int = field(init=False, default=0)
    _waiting: deque[QueuedPacket] = field(init=False, default_factory=deque)
    _average: int = field(init=False, default=0)  # in 2**-weight_shift octets
    _since_mark: int = field(init=False, default=-1)  # packets; the paper's `count`
    _idle_since: int | None = field(init=False, default=None)

    @staticmethod
    def check(**given: int) -> None:
        low, high = given.get("min", MIN_DEFAULT), given.get("max", MAX_DEFAULT)
        if high <= low:
            raise ConfigError(f"{high}B is not above `min`, {low}B; expected twice as much or more", key="max")
        if given.get("limit", LIMIT_DEFAULT) <= high:
            text = f"no more than `max`, {high}B: the queue is full before; expected more"
            raise ConfigError(text, key="limit")
        if not 0 <= given.get("weight_shift", WEIGHT_SHIFT_DEFAULT) <= 30:
            raise ConfigError("expected a number of bits from 0 to 30", key="weight_shift")
        if given.get("packet_time", PACKET_TIME_DEFAULT) < 1:
            raise ConfigError("a packet takes some time; expected such as 600us", key="packet_time")

    @property
    def average(self) -> int:
        """The average of the queue in octets, as the last arrival left it."""
        return self._average >> self.weight_shift

    def enqueue(self, packet: QueuedPacket, now: int, dropped: list[QueuedPacket]) -> None:
        self._follow(now)
        low, high = self.min << self.weight_shift, self.max << self.weight_shift
        is_early = is_forced = False
        if self._average >= high:
            is_forced = True
            self._since_mark = 0
        elif self._average >= low:
            self._since_mark += 1
            if self._is_chosen(packet, low, high):
                is_early = True
                self._since_mark = 0
        else:
            self._since_mark = -1
        if is_early and self.ecn and packet.label.ecn != NOT_ECT:
            packet.label = packet.label.marked()
            is_early = False
        if is_early or is_forced or self.octets + packet.size > self.limit:
            dropped.append(packet)
            return
        self.octets += packet.size
        self._waiting.append(packet)

    def dequeue(self, now: int, dropped: list[QueuedPacket]) -> QueuedPacket | None:
        if not self._waiting:
            return None
        packet = self._waiting.popleft()
        self.octets -= packet.size
        if not self._waiting:
            self._idle_since = now
        return packet

    def __len__(self) -> int:
        return len(self._waiting)

    def _follow(self, now: int) -> None:
        """Move the average: (1 - w) average + w queue, or for an idle time (1 - w) ** (idle / packet_time)."""
        if self._waiting or self._idle_since is None:
            self._average += self.octets - (self._average >> self.weight_shift)
            return
        one = 1 << _DECAY_BITS
        power, factor = (now - self._idle_since) // self.packet_time, one - (one >> self.weight_shift)
        self._idle_since = now
        decay = one
        while power:
            if power & 1:
                decay = decay * factor >> _DECAY_BITS
            factor = factor * factor >> _DECAY_BITS
            power >>= 1
        self._average = self._average * decay >> _DECAY_BITS

    def _is_chosen(self, packet: QueuedPacket, low: int, high: int) -> bool:
        """With chance pb / (1 - count pb), which makes the gaps between two chosen ones even (section IV)."""
        chance = self.probability * (self._average - low) // (high - low)
        rest = PROBABILITY_ONE - self._since_mark * chance
        certain = rest <= chance
        return self.draws.happens(
            packet.index, PROBABILITY_ONE if certain else chance * PROBABILITY_ONE // rest, packet.copy
        )
