"""Acknowledge at once what somebody waits for, and bulk a few times per round trip.

RFC 9000 section 13.2.2 leaves the ratio to us; a sender needs a handful of acknowledgements per round trip (appendix A
of draft-ietf-quic-ack-frequency), and each further one is load on the reverse path.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from rudp_smtp.ack.policy import ACK_POLICIES, AckPolicy
from rudp_smtp.errors import ConfigError

# After a gap: RFC 9002 section 6.1.1's threshold is reached at the third packet above it, and must be heard of.
DENSE_PACKETS = 4
DENSE_RATIO = 2
GROWTH_NUMERATOR, GROWTH_DENOMINATOR = 5, 4  # by less than this a slow start does not grow in a round trip
PLATEAU_ROUNDS = 3  # without growth: slow start is over
SHORT_NUMERATOR, SHORT_DENOMINATOR = 7, 8  # what is smaller than this share of a full datagram ends a flight


@ACK_POLICIES.register
@dataclass(slots=True, kw_only=True)
class Adaptive(AckPolicy):
    """Owns what it knows of the flow: packets per round trip, and the size of its full datagrams.

    A round trip that brings few packets, as in a dialogue or at the beginning, has each of them acknowledged. The tail
    of a flight is a datagram that is not full, or full and followed by silence for an acknowledgement's share of the
    round trip. While the packets per round trip still grow as in a slow start, the sender must see queues as they
    begin, so that not even bulk waits for more than two packets.
    """

    is_negotiable: ClassVar[bool] = True

    per_rtt: int = 8
    packets_max: int = 32  # per acknowledgement
    _unacknowledged: int = field(default=0, init=False)
    _ratio: int = field(default=1, init=False)  # packets per acknowledgement
    _dense_left: int = field(default=0, init=False)  # packets until the last gap is forgotten
    _full_size: int = field(default=0, init=False)  # the largest datagram of the round trip before
    _peak_packets: int = field(default=0, init=False)  # of a round trip while the flow grew
    _plateau_rounds: int = field(default=0, init=False)  # since then
    _round_start: int = field(default=0, init=False)
    _round_packets: int = field(default=0, init=False)
    _round_size: int = field(default=0, init=False)

    @staticmethod
    def check(per_rtt: int = 1, packets_max: int = 1) -> None:
        for key, value in (("per_rtt", per_rtt), ("packets_max", packets_max)):
            if value < 1:
                raise ConfigError(f"{value} is out of range; expected 1 or more", key=key)

    def on_packet_received(self, is_in_order: bool, size: int, smoothed_rtt: int, max_ack_delay: int, now: int) -> int:
        self._unacknowledged += 1
        self._round_packets += 1
        if size > self._round_size:
            self._round_size = size
        if now - self._round_start >= smoothed_rtt:
            self._end_round(smoothed_rtt, now)
        if not is_in_order:  # RFC 9000 section 13.2.1
            self._dense_left = DENSE_PACKETS
            return now
        ratio = self._ratio
        if self._dense_left:
            self._dense_left -= 1
            ratio = min(ratio, DENSE_RATIO)
        if self._unacknowledged >= ratio or size * SHORT_DENOMINATOR < self._full_size * SHORT_NUMERATOR:
            return now
        return now + min(max_ack_delay, smoothed_rtt // self.per_rtt)

    def on_ack_sent(self) -> None:
        self._unacknowledged = 0

    def _end_round(self, smoothed_rtt: int, now: int) -> None:
        """Learn from the packets of the last round trip, or of however long they were apart."""
        packets = self._round_packets * smoothed_rtt // max(now - self._round_start, 1)
        self._ratio = min(max(packets // self.per_rtt, 1), self.packets_max)
        if self._plateau_rounds < PLATEAU_ROUNDS:
            self._ratio = min(self._ratio, DENSE_RATIO)
            if packets * GROWTH_DENOMINATOR >= self._peak_packets * GROWTH_NUMERATOR:
                self._peak_packets, self._plateau_rounds = packets, 0
            else:
                self._plateau_rounds += 1
        self._full_size = self._round_size
        self._round_start = now
        self._round_packets = self._round_size = 0
