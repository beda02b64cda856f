"""Acknowledge as the peer asked (draft-ietf-quic-ack-frequency section 6). No plug-in: no scenario names it."""

from rudp_smtp.ack.policy import AckPolicy


class Requested(AckPolicy):
    """Owns the count of ack-eliciting packets since the last acknowledgement; takes the place of the policy chosen."""

    __slots__ = ("_max_ack_delay", "_threshold", "_unacknowledged")

    def __init__(self, threshold: int, max_ack_delay: int) -> None:
        self._threshold = threshold  # packets that may arrive without an acknowledgement
        self._max_ack_delay = max_ack_delay
        self._unacknowledged = 0

    def on_packet_received(self, is_in_order: bool, size: int, smoothed_rtt: int, max_ack_delay: int, now: int) -> int:
        self._unacknowledged += 1
        if self._unacknowledged > self._threshold or not is_in_order:
            return now
        return now + min(max_ack_delay, self._max_ack_delay)

    def on_ack_sent(self) -> None:
        self._unacknowledged = 0
