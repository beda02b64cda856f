"""Round: what has come of the packets of one packet-timed round trip (draft-ietf-ccwg-bbr section 5.5.1)."""

from dataclasses import dataclass

from rudp_smtp.recovery.delivery_rate import DeliveryRate, Departure

NO_RTT = 1 << 62


@dataclass(slots=True)
class Tally:
    """Octets delivered and lost over some time."""

    delivered: int = 0
    lost: int = 0
    time: int = 0

    @property
    def total(self) -> int:
        return self.delivered + self.lost

    def add(self, other: "Tally") -> None:
        self.delivered += other.delivered
        self.lost += other.lost
        self.time += other.time

    def clear(self) -> None:
        self.delivered = self.lost = self.time = 0


class Round:
    """Owns where the round began, and its extremes; it is over when a packet sent since has been acknowledged."""

    __slots__ = (
        "_delivered",
        "_is_loss_fresh",
        "_last_lost",
        "_lost",
        "_rtt_now",
        "_started",
        "is_marked",
        "loss_rtt",
        "losses",
        "rate",
        "rtt",
        "samples",
        "volume",
    )

    def __init__(self) -> None:
        self._started = 0
        self._delivered = 0  # by the sampler's count
        self._lost = 0
        self._last_lost = -1
        self._rtt_now = 0  # the latest
        self._is_loss_fresh = False  # noticed with the acknowledgement that is being worked off
        self.losses = 0  # runs of packets
        self.loss_rtt = 0  # the longest before or as a loss was noticed
        self.rtt = NO_RTT  # the shortest
        self.samples = 0
        self.rate = 0  # the highest of a sample
        self.volume = 0  # octets, the most that a sample saw pass
        self.is_marked = False  # with CE

    def begin(self, sampler: DeliveryRate, now: int) -> None:
        self._started = now
        self._delivered = sampler.delivered
        self._lost = sampler.lost
        self.losses = 0
        self.loss_rtt = 0
        self.rtt = NO_RTT
        self.samples = 0
        self.rate = 0
        self.volume = 0
        self.is_marked = False

    def is_over(self, departure: Departure | None) -> bool:
        """Whether the packet just acknowledged left after the round began."""
        return departure is not None and departure.delivered >= self._delivered

    def on_acked(self, rtt: int, volume: int, rate: int) -> None:
        if self._is_loss_fresh:
            self.loss_rtt = max(self.loss_rtt, rtt)
            self._is_loss_fresh = False
        self._rtt_now = rtt
        self.samples += 1
        if rtt < self.rtt:
            self.rtt = rtt
        if rate > self.rate:
            self.rate = rate
        if volume > self.volume:
            self.volume = volume

    def on_lost(self, packet_number: int) -> None:
        if packet_number != self._last_lost + 1:
            self.losses += 1
        self._last_lost = packet_number
        self.loss_rtt = max(self.loss_rtt, self._rtt_now)
        self._is_loss_fresh = True

    def tally(self, sampler: DeliveryRate, now: int) -> Tally:
        """What it has come to so far."""
        return Tally(sampler.delivered - self._delivered, sampler.lost - self._lost, now - self._started)
