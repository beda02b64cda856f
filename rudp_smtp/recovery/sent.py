"""SentPackets: what is outstanding, and which of it an acknowledgement names (RFC 9002 appendix A.1, A.7).

Packet numbers are contiguous but for the few that are skipped on purpose, so an acknowledgement is worked off by
counting, never by searching: the numbers between the old and the new largest acknowledged are walked once ever, each
becoming acknowledged or missing; only the few missing ones are compared with later acknowledgements.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rudp_smtp.errors import ErrorCode, RemoteProtocolError

LOSSES_KEPT = 1024  # packets declared lost that a late acknowledgement can still prove received
SKIPS_KEPT = 8  # numbers never used: who names an older one than these gains nothing by it any more
UNCOUNTED_KEPT = 32  # outstanding packets that are not in flight: a pure receiver's acknowledgements are never acked

Ranges = Sequence[tuple[int, int]]  # half-open, descending and disjoint, as an ACK frame has them


@dataclass(slots=True)
class SentPacket:
    """One packet on its way. Left alone after it is built."""

    packet_number: int
    sent_time: int
    size: int
    is_ack_eliciting: bool
    is_in_flight: bool
    contents: object  # the sender's own note of what was in it, handed back when it is acked or lost
    is_probe: bool = False
    is_path_probe: bool = False  # asks whether a path carries it: its loss is no sign of congestion


class SentPackets:
    """Owns the outstanding packets, `bytes_in_flight`, and a short memory of the packets declared lost.

    `missing` are the outstanding packets in flight below `largest_acked`, ascending. A packet that is not in flight
    (an acknowledgement alone) is never missed: it is not repaired (RFC 9000 section 13.3), only forgotten.
    """

    __slots__ = (
        "_lost_times",
        "_ranges",
        "_skip_last",
        "_skips",
        "_uncounted",
        "ack_eliciting_in_flight",
        "bytes_elsewhere",
        "bytes_in_flight",
        "charged_from",
        "largest_acked",
        "last_ack_eliciting_time",
        "missing",
        "next_packet_number",
        "outstanding",
        "recent_losses",
    )

    def __init__(self) -> None:
        self.outstanding: dict[int, SentPacket] = {}
        self.missing: list[SentPacket] = []
        self.bytes_in_flight = 0  # on the path in use
        self.bytes_elsewhere = 0  # in flight on another
        self.charged_from = 0  # packets below this number went another way
        self.ack_eliciting_in_flight = 0  # packets, whichever way
        self.last_ack_eliciting_time = 0
        self.next_packet_number = 0
        self.largest_acked = -1
        self._ranges: Ranges = ()  # the last acknowledgement's: what it repeats costs nothing
        self._uncounted: deque[int] = deque()
        self._skips: deque[int] = deque(maxlen=SKIPS_KEPT)
        self._skip_last = -1
        self.recent_losses: list[SentPacket] = []  # ascending
        self._lost_times: list[int] = []  # when each was declared lost

    def on_packet_sent(self, packet: SentPacket) -> None:
        """Take the next packet; its number is one above the last."""
        number = packet.packet_number
        assert number == self.next_packet_number
        self.next_packet_number = number + 1
        self.outstanding[number] = packet
        if packet.is_in_flight:
            self.bytes_in_flight += packet.size
            if packet.is_ack_eliciting:
                self.ack_eliciting_in_flight += 1
                self.last_ack_eliciting_time = packet.sent_time
            return
        uncounted = self._uncounted
        uncounted.append(number)
        if len(uncounted) > UNCOUNTED_KEPT:
            self.outstanding.pop(uncounted.popleft(), None)

    def skip_packet_number(self) -> None:
        """Leave the next number out: whoever acknowledges it has not looked (RFC 9000 section 21.4)."""
        self._skip_last = self.next_packet_number
        self._skips.append(self._skip_last)
        self.next_packet_number += 1

    def is_skipped(self, packet_number: int) -> bool:
        return packet_number in self._skips

    def on_ack_received(self, ranges: Ranges) -> tuple[list[SentPacket], Sequence[SentPacket]]:
        """The packets an acknowledgement names for the first time: the outstanding ones, and those already declared
        lost, each ascending. Raises RemoteProtocolError for a packet never sent."""
        first_start, first_stop = ranges[0]
        if first_stop > self.next_packet_number:
            raise RemoteProtocolError(
                f"packet {first_stop - 1} was acknowledged before it was sent", error_code=ErrorCode.PROTOCOL_VIOLATION
            )
        if ranges[-1][0] <= self._skip_last:
            self._refuse_skipped(ranges)
        acked: list[SentPacket] = []
        spurious: Sequence[SentPacket] = ()
        if self.missing or self.recent_losses:
            acked, spurious = self._match_known(ranges)
        next_number = self.largest_acked + 1
        if first_stop > next_number:
            if first_start > next_number:
                next_number = self._walk_gaps(ranges, next_number, acked)
            self._take(next_number, first_stop, acked)
            self.largest_acked = first_stop - 1
            self._ranges = ranges
        for packet in acked:
            if packet.is_in_flight:
                self.bytes_in_flight -= packet.size
                if packet.is_ack_eliciting:
                    self.ack_eliciting_in_flight -= 1
        if self.bytes_elsewhere:
            self._uncharge_elsewhere(acked)
        return acked, spurious

    def on_packets_lost(self, lost: Sequence[SentPacket], now: int) -> None:
        """Take out packets declared lost: the first of the missing ones, or everything in flight; ascending."""
        assert not self.missing or lost[0] is self.missing[0]
        for packet in lost:
            del self.outstanding[packet.packet_number]
            self.bytes_in_flight -= packet.size
            if packet.is_ack_eliciting:
                self.ack_eliciting_in_flight -= 1
        if self.bytes_elsewhere:
            self._uncharge_elsewhere(lost)
        del self.missing[: len(lost)]
        losses = self.recent_losses
        losses.extend(lost)
        self._lost_times.extend([now] * len(lost))
        excess = len(losses) - LOSSES_KEPT
        if excess > 0:
            del losses[:excess]
            del self._lost_times[:excess]

    def discard(self) -> None:
        """Forget every packet: none will be acknowledged, and none was lost (RFC 9002 section 6.4)."""
        self.outstanding.clear()
        self.missing.clear()
        self.bytes_in_flight = self.bytes_elsewhere = self.ack_eliciting_in_flight = 0

    def charge_from(self, packet_number: int) -> None:
        """Another path is in use: of what is in flight only packets from this number on count against its window."""
        total = self.bytes_in_flight + self.bytes_elsewhere
        self.charged_from = packet_number
        self.bytes_in_flight = 0
        for packet in reversed(self.outstanding.values()):
            if packet.packet_number < packet_number:
                break
            if packet.is_in_flight:
                self.bytes_in_flight += packet.size
        self.bytes_elsewhere = total - self.bytes_in_flight

    def in_flight(self) -> list[SentPacket]:
        """Every packet in flight, ascending."""
        return [packet for packet in self.outstanding.values() if packet.is_in_flight]

    def forget_losses(self, before: int) -> None:
        """Drop the memory of packets declared lost before this time: what is that late is lost."""
        expired = bisect_left(self._lost_times, before)
        if expired:
            del self.recent_losses[:expired]
            del self._lost_times[:expired]

    def _uncharge_elsewhere(self, packets: Sequence[SentPacket]) -> None:
        """Some of these, which were just taken out of `bytes_in_flight`, were never charged to it."""
        start = self.charged_from
        size = sum(packet.size for packet in packets if packet.is_in_flight and packet.packet_number < start)
        self.bytes_in_flight += size
        self.bytes_elsewhere -= size

    def _refuse_skipped(self, ranges: Ranges) -> None:
        for number in self._skips:
            if any(start <= number < stop for start, stop in ranges):
                raise RemoteProtocolError(
                    f"packet {number}, which was skipped, was acknowledged", error_code=ErrorCode.PROTOCOL_VIOLATION
                )

    def _take(self, start: int, stop: int, acked: list[SentPacket]) -> None:
        """Acknowledge what is outstanding of [start, stop)."""
        pop = self.outstanding.pop
        for number in range(start, stop):
            packet = pop(number, None)
            if packet is not None:
                acked.append(packet)

    def _walk_gaps(self, ranges: Ranges, next_number: int, acked: list[SentPacket]) -> int:
        """Acknowledge or miss every packet from `next_number` up to the first range; where that starts."""
        fresh = [(start, stop) for start, stop in ranges if stop > next_number]
        for start, stop in reversed(fresh):
            if start > next_number:
                self._miss(next_number, start)
            else:
                start = next_number  # known below
            next_number = stop
            if stop < fresh[0][1]:
                self._take(start, stop, acked)
        return fresh[0][0]

    def _miss(self, start: int, stop: int) -> None:
        """Note what is in flight of [start, stop) as missing; forget what is not."""
        outstanding = self.outstanding
        for number in range(start, stop):
            packet = outstanding.get(number)
            if packet is None:
                continue
            if packet.is_in_flight:
                self.missing.append(packet)
            else:
                del outstanding[number]

    def _match_known(self, ranges: Ranges) -> tuple[list[SentPacket], Sequence[SentPacket]]:
        """Compare `ranges` with the packets missing and those declared lost, unless they say nothing new of them."""
        is_repeated = self._is_repeated(ranges)
        acked: list[SentPacket] = []
        if self.missing and not is_repeated:
            acked, self.missing = split_acked(self.missing, ranges)
            for packet in acked:
                del self.outstanding[packet.packet_number]
        losses = self.recent_losses
        if not losses or (is_repeated and losses[-1].packet_number < self.largest_acked):
            return acked, ()
        spurious, kept = split_acked(losses, ranges)
        if spurious:
            numbers = {packet.packet_number for packet in spurious}
            times = zip(losses, self._lost_times, strict=True)
            self._lost_times = [time for packet, time in times if packet.packet_number not in numbers]
            self.recent_losses = kept
        return acked, spurious

    def _is_repeated(self, ranges: Ranges) -> bool:
        """Whether `ranges` say of the packets up to `largest_acked` what the acknowledgement before said."""
        known = self._ranges
        if not known:
            return False
        if ranges[0][0] > self.largest_acked:
            return ranges[1:] == known
        return ranges[0][0] == known[0][0] and ranges[1:] == known[1:]


def split_acked(packets: Sequence[SentPacket], ranges: Ranges) -> tuple[list[SentPacket], list[SentPacket]]:
    """Part ascending `packets` into those inside `ranges` and the others: one merge, from the highest down."""
    acked: list[SentPacket] = []
    kept: list[SentPacket] = []
    position = 0
    last = len(ranges)
    for index in range(len(packets) - 1, -1, -1):
        packet = packets[index]
        number = packet.packet_number
        while position < last and ranges[position][0] > number:
            position += 1
        if position == last:
            kept.extend(packets[index::-1])
            break
        if number < ranges[position][1]:
            acked.append(packet)
        else:
            kept.append(packet)
    acked.reverse()
    kept.reverse()
    return acked, kept
