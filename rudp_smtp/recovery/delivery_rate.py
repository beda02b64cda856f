"""DeliveryRate: how fast the path delivers, from what was delivered between sending a packet and its acknowledgement.

draft-cheng-iccrg-delivery-rate-estimation, now section 4.1 of draft-ietf-ccwg-bbr. Packet numbers are never reused, so
no sample is ambiguous. The notes on packets are kept here, by number: only who samples pays for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.units import SECOND


@dataclass(slots=True)
class Departure:
    """What was known when a packet left. Left alone after it is built."""

    delivered: int  # octets so far
    delivered_time: int  # when that many were
    first_sent_time: int  # of the packet that began the flight it samples
    lost: int  # octets so far
    passed: int  # octets so far: sent before the newest packet acknowledged, and it
    sent: int  # octets so far, with the packet itself
    bytes_in_flight: int  # with the packet itself
    is_app_limited: bool


@dataclass(slots=True)
class RateSample:
    """What one acknowledgement says of the path, going by its newest packet. Left alone after it is built."""

    interval: int  # the longer of sending and acknowledging; 0: no reliable sample
    delivered: int  # octets, in that time
    lost: int  # octets declared lost in that time
    passed: int  # octets that came through or were lost, by the order they were sent in: no waiting for a verdict
    newly_acked: int
    departure: Departure | None  # of the newest packet; None for one sent before the sampler was there

    def rate(self, octets: int) -> int:
        """Octets per second, had this many passed in the interval."""
        return octets * SECOND // self.interval if self.interval else 0


class DeliveryRate:
    """Owns the octets delivered and lost so far, and a note on every packet in flight."""

    __slots__ = (
        "_departures",
        "_first_sent_time",
        "_limited_until",
        "_sent",
        "delivered",
        "delivered_time",
        "lost",
        "passed",
    )

    def __init__(self) -> None:
        self.delivered = 0
        self.delivered_time = 0
        self.lost = 0
        self.passed = 0
        self._sent = 0
        self._first_sent_time = 0
        self._limited_until = 0  # octets delivered by the end of the flight that wanted for data; 0: none does
        self._departures: dict[int, Departure] = {}

    @property
    def is_app_limited(self) -> bool:
        """The last packets sent are of a flight that the application could not fill."""
        return self._limited_until > 0

    def on_packet_sent(self, packet: SentPacket, bytes_in_flight: int) -> None:
        """Note what is known as a packet leaves; `bytes_in_flight` is of before (section 4.1.2.2)."""
        if bytes_in_flight == 0:  # a flight begins: silence before it is no part of any sample
            self._first_sent_time = self.delivered_time = packet.sent_time
        self._sent += packet.size
        self._departures[packet.packet_number] = Departure(
            self.delivered,
            self.delivered_time,
            self._first_sent_time,
            self.lost,
            self.passed,
            self._sent,
            bytes_in_flight + packet.size,
            self._limited_until > 0,
        )

    def on_application_limited(self, bytes_in_flight: int) -> None:
        """What is in flight, and sent until that is delivered, says nothing of what the path could (s4.1.2.4)."""
        self._limited_until = max(self.delivered + bytes_in_flight, 1)

    def on_packets_acked(self, acked: Sequence[SentPacket], now: int, interval_min: int) -> RateSample:
        """Sample; an interval below `interval_min`, the shortest round trip, is none (section 4.1.2.3)."""
        pop = self._departures.pop
        newly_acked = 0
        departure = None
        for packet in acked:
            newly_acked += packet.size
            departure = pop(packet.packet_number, None)
        self.delivered += newly_acked
        self.delivered_time = now
        if self._limited_until and self.delivered > self._limited_until:
            self._limited_until = 0
        if departure is None:
            return RateSample(0, 0, 0, 0, newly_acked, None)
        self.passed = max(self.passed, departure.sent)
        sent_time = acked[-1].sent_time
        interval = max(sent_time - departure.first_sent_time, now - departure.delivered_time)
        self._first_sent_time = sent_time
        return RateSample(
            interval if interval >= interval_min else 0,
            self.delivered - departure.delivered,
            self.lost - departure.lost,
            self.passed - departure.passed,
            newly_acked,
            departure,
        )

    def on_packet_lost(self, packet: SentPacket) -> Departure | None:
        """Count a loss; what was known when the packet left."""
        self.lost += packet.size
        return self._departures.pop(packet.packet_number, None)
