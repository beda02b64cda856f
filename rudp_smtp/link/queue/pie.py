"""Proportional integral controller enhanced (RFC 8033): arrivals are dropped with a chance that holds the delay.

The delay is measured by time stamps (section 5.3). Section 4's steps and section 5.1's, 5.4's and 5.5's refinements
are in; times are whole nanoseconds, the chance is a whole number out of 2**64, and draws are keyed.
"""

from collections import deque
from dataclasses import dataclass, field

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.queue import QUEUE_DISCIPLINES, QueueDiscipline, QueuedPacket
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND, Duration

TARGET = 15 * MILLISECOND  # QDELAY_REF, section 4.2
T_UPDATE = 15 * MILLISECOND
MAX_BURST = 150 * MILLISECOND
PACKETS_DEFAULT = 1000  # tc-pie(8)
MEAN_PKTSIZE = 1024  # section 4.1
ALPHA_EIGHTHS, BETA_EIGHTHS = 1, 10  # alpha = 0.125, beta = 1.25 for each second of delay
MARK_ECNTH = PROBABILITY_ONE // 10  # section 5.1: above this ECN no longer saves a packet

# Section 4.2: below each chance (a fraction of one in), a change of it is that many times smaller.
_SCALES = ((1_000_000, 2048), (100_000, 512), (10_000, 128), (1_000, 32), (100, 8), (10, 2))
_MAX_STEP = PROBABILITY_ONE // 50  # section 5.5


@QUEUE_DISCIPLINES.register
@dataclass(slots=True, kw_only=True)
class Pie(QueueDiscipline):
    """Owns the queue and the controller, which is moved every `update`, lazily, at the exact times."""

    target: Duration = TARGET
    update: Duration = T_UPDATE
    max_burst: Duration = MAX_BURST
    packets: int = PACKETS_DEFAULT
    ecn: bool = False
    octets: int = field(init=False, default=0)
    _waiting: deque[QueuedPacket] = field(init=False, default_factory=deque)
    _drop_prob: int = field(init=False, default=0)  # out of PROBABILITY_ONE
    _accu_prob: int = field(init=False, default=0)
    _burst_allowance: int = field(init=False)
    _qdelay: int = field(init=False, default=0)  # of the packet that left last
    _qdelay_old: int = field(init=False, default=0)
    _next_update: int | None = field(init=False, default=None)

    @staticmethod
    def check(**given: int) -> None:
        for key in ("target", "update"):
            if given.get(key, 1) < 1:
                raise ConfigError("no time at all; expected a duration such as 15ms", key=key)
        if given.get("packets", 1) < 1:
            raise ConfigError(f"{given['packets']} packets let nothing through; expected at least 1", key="packets")

    def __post_init__(self) -> None:
        self._burst_allowance = self.max_burst

    @property
    def drop_probability(self) -> int:
        """Out of PROBABILITY_ONE."""
        return self._drop_prob

    def enqueue(self, packet: QueuedPacket, now: int, dropped: list[QueuedPacket]) -> None:
        self._catch_up(now)
        if len(self._waiting) >= self.packets:
            dropped.append(packet)
            self._accu_prob = 0
            return
        if self._burst_allowance == 0 and self._is_chosen(packet):
            if not self.ecn or packet.label.ecn == NOT_ECT or self._drop_prob > MARK_ECNTH:
                dropped.append(packet)
                return
            packet.label = packet.label.marked()
        self.octets += packet.size
        self._waiting.append(packet)

    def dequeue(self, now: int, dropped: list[QueuedPacket]) -> QueuedPacket | None:
        self._catch_up(now)
        if not self._waiting:
            return None
        packet = self._waiting.popleft()
        self.octets -= packet.size
        self._qdelay = now - packet.enqueued if self._waiting else 0
        return packet

    def __len__(self) -> int:
        return len(self._waiting)

    def _is_chosen(self, packet: QueuedPacket) -> bool:
        """Section 4.1's drop_early, with the chances added up so that two drops are neither too near nor too far."""
        is_calm = self._qdelay_old < self.target // 2 and self._drop_prob < PROBABILITY_ONE // 5
        if is_calm or self.octets <= 2 * MEAN_PKTSIZE:
            return False
        if self._drop_prob == 0:
            self._accu_prob = 0
        self._accu_prob += self._drop_prob
        if self._accu_prob < PROBABILITY_ONE * 85 // 100:
            return False
        is_due = self._accu_prob >= PROBABILITY_ONE * 85 // 10
        if not is_due and not self.draws.happens(packet.index, self._drop_prob, packet.copy):
            return False
        self._accu_prob = 0
        return True

    def _catch_up(self, now: int) -> None:
        """Move the controller by every update that was due since it was last looked at."""
        if self._next_update is None:
            self._next_update = now + self.update
        while self._next_update <= now:
            if self._drop_prob == 0 and self._qdelay == 0 and self._qdelay_old == 0:  # idle: nothing moves any more
                self._burst_allowance = self.max_burst
                self._next_update += ((now - self._next_update) // self.update + 1) * self.update
                return
            self._calculate()
            self._next_update += self.update

    def _calculate(self) -> None:
        """Section 4.2: one update of the chance."""
        delay, old = self._qdelay, self._qdelay_old
        error = ALPHA_EIGHTHS * (delay - self.target) + BETA_EIGHTHS * (delay - old)
        step = error * PROBABILITY_ONE // (8 * SECOND)
        scale = next((factor for one_in, factor in _SCALES if self._drop_prob * one_in < PROBABILITY_ONE), 1)
        step //= scale
        if self._drop_prob >= PROBABILITY_ONE // 10:
            step = min(step, _MAX_STEP)
        chance = self._drop_prob + step
        if delay == 0 and old == 0:
            chance = chance * 98 // 100
        self._drop_prob = max(0, min(PROBABILITY_ONE, chance))
        self._qdelay_old = delay
        self._burst_allowance = max(0, self._burst_allowance - self.update)
        if self._drop_prob == 0 and delay < self.target // 2 and old < self.target // 2:
            self._burst_allowance = self.max_burst
