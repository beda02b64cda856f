"""AckTracker: what arrived, what of it to report, and until when (RFC 9000 section 13.2)."""

from rudp_smtp.ack.policy import AckPolicy
from rudp_smtp.ranges import RangeSet

RANGES_KEPT = 256  # ranges of received packets remembered; the lowest are forgotten first (RFC 9000 s13.2.3)
GAPS_KEPT = 256  # ranges of packets below the floor that may still arrive late
PACKETS_PER_ACK_REQUEST = 2  # more than an exchange of bare acknowledgements brings, so that it dies out


class AckTracker:
    """Owns the received packet numbers and the time by which they must be acknowledged.

    Below the floor the peer knows what arrived, so nothing is reported any more; what had not arrived stays welcome.
    """

    __slots__ = (
        "_eliciting_since_request",
        "_first_untold",
        "_floor",
        "_gaps",
        "_largest",
        "_largest_eliciting",
        "_largest_time",
        "_policy",
        "_ranges",
        "_reordering_threshold",
        "_request_time",
        "ack_deadline",
        "max_ack_delay",
    )

    def __init__(self, policy: AckPolicy, max_ack_delay: int) -> None:
        self.max_ack_delay = max_ack_delay  # ours, as the peer was told
        self.ack_deadline: int | None = None  # None: nothing arrived that asks for an acknowledgement
        self._policy = policy
        self._ranges = RangeSet()
        self._gaps = RangeSet()  # below the floor: never received
        self._floor = 0
        self._largest = -1
        self._largest_time = 0
        self._largest_eliciting = -1
        self._eliciting_since_request = 0
        self._request_time = 0
        self._reordering_threshold = 1  # RFC 9000 section 13.2.1: any gap is told at once
        self._first_untold: int | None = None  # the lowest missing packet the peer need not have heard of yet

    def on_packet_received(
        self, packet_number: int, is_ack_eliciting: bool, size: int, smoothed_rtt: int, now: int
    ) -> bool:
        """Take a packet that passed all checks; False means that it is a duplicate and must be dropped."""
        ranges = self._ranges
        if packet_number > self._largest:
            is_next = packet_number == self._largest + 1
            ranges.add(packet_number, packet_number + 1)
            self._largest = packet_number
            self._largest_time = now
        elif self.is_duplicate(packet_number):
            return False
        else:
            is_next = False
            ranges.add(packet_number, packet_number + 1)
            if packet_number < self._floor:
                self._gaps.subtract(packet_number, packet_number + 1)
        if not is_next and len(ranges.starts) > RANGES_KEPT:
            self._forget(ranges.first()[1])
        if is_ack_eliciting:
            self._on_ack_eliciting(packet_number, size, smoothed_rtt, now)
        return True

    @property
    def largest(self) -> int:
        """The largest packet number received, -1 before the first."""
        return self._largest

    def obey(self, policy: AckPolicy, reordering_threshold: int) -> None:
        """From now on acknowledge as the peer asked (draft-ietf-quic-ack-frequency section 6)."""
        self._policy = policy
        self._reordering_threshold = reordering_threshold
        self._first_untold = None

    def on_immediate_ack(self, now: int) -> None:
        """The peer asks for an acknowledgement at once (draft-ietf-quic-ack-frequency section 5)."""
        self.ack_deadline = now

    def is_duplicate(self, packet_number: int) -> bool:
        """Whether the packet arrived before, or is too old to tell."""
        if packet_number > self._largest:
            return False
        if packet_number in self._ranges:
            return True
        return packet_number < self._floor and packet_number not in self._gaps

    def ack_ranges(self, limit: int) -> list[tuple[int, int]]:
        """What to report, at most `limit` half-open ranges, highest first; empty before the first packet."""
        return self._ranges.descending(limit)

    def ack_delay(self, now: int) -> int:
        """How long the largest packet has waited for its acknowledgement."""
        return now - self._largest_time

    def on_ack_sent(self, now: int, is_ack_eliciting: bool) -> None:
        """An acknowledgement of everything leaves, in a packet the peer has to acknowledge or not."""
        self.ack_deadline = None
        self._policy.on_ack_sent()
        if is_ack_eliciting:
            self._eliciting_since_request = 0
            self._request_time = now

    def on_ack_acked(self, largest: int) -> None:
        """The peer has our acknowledgement up to packet `largest`: no need to repeat it (RFC 9000 s13.2.4)."""
        if len(self._ranges.starts) > 1:
            self._forget(min(largest + 1, self._largest))

    def wants_ack_of_ack(self, smoothed_rtt: int, now: int) -> bool:
        """Whether a bare acknowledgement should carry a PING, so that on_ack_acked can shorten the next ones.

        At most once per round trip, and only after packets that are no mere answer to the last PING: two hosts with
        nothing to say fall silent (RFC 9000 section 13.2.4).
        """
        return (
            len(self._ranges.starts) > 1
            and self._eliciting_since_request >= PACKETS_PER_ACK_REQUEST
            and now >= self._request_time + smoothed_rtt
        )

    def _on_ack_eliciting(self, packet_number: int, size: int, smoothed_rtt: int, now: int) -> None:
        # RFC 9000 section 13.2.1: out of order is a packet below one that arrived, or above a gap it leaves.
        previous = self._largest_eliciting
        is_in_order = packet_number == previous + 1
        if packet_number > previous:
            self._largest_eliciting = packet_number
            if not is_in_order:
                seen = max(previous, self._floor)
                is_in_order = seen < packet_number and self._ranges.covers(seen, packet_number)
        if self._reordering_threshold != 1:
            is_in_order = not self._is_gap_due(previous + 1, is_in_order)
        self._eliciting_since_request += 1
        deadline = self._policy.on_packet_received(is_in_order, size, smoothed_rtt, self.max_ack_delay, now)
        if self.ack_deadline is None or deadline < self.ack_deadline:
            self.ack_deadline = deadline

    def _is_gap_due(self, expected: int, is_in_order: bool) -> bool:
        """Whether a missing packet is now as far below the largest as the peer allows: it may be declared lost.

        draft-ietf-quic-ack-frequency section 6.2. A threshold of 0 means never.
        """
        threshold, largest = self._reordering_threshold, self._largest_eliciting
        if not threshold:
            return False
        first = self._first_untold
        if first is None:
            if is_in_order or expected > largest:
                return False
            first = expected
        missing = self._ranges.gaps(max(first, self._floor), largest)
        self._first_untold = missing[0][0] if missing else None
        if not missing or largest - missing[0][0] < threshold:
            return False
        told = largest - threshold + 1  # this acknowledgement tells of what is missing below
        untold = [max(start, told) for start, stop in missing if stop > told]
        self._first_untold = untold[0] if untold else None
        return True

    def _forget(self, floor: int) -> None:
        """Report nothing below `floor`; remember the packets there that are still to come."""
        ranges, gaps = self._ranges, self._gaps
        stop = self._floor  # packets below are known from before, but for late ones
        for low, high in ranges:
            if low >= floor:
                break
            if low > stop:
                gaps.add(stop, low)
            stop = max(stop, high)
        if stop < floor:
            gaps.add(stop, floor)
        if floor > self._floor:
            self._floor = floor
        ranges.subtract(0, floor)
        while len(gaps) > GAPS_KEPT:
            gaps.pop_first()
