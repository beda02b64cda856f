"""Acknowledge every n-th ack-eliciting packet, and any within max_ack_delay (RFC 9000 section 13.2.2: n is 2)."""

from dataclasses import dataclass, field

from rudp_smtp.ack.policy import ACK_POLICIES, AckPolicy
from rudp_smtp.errors import ConfigError


@ACK_POLICIES.register
@dataclass(slots=True, kw_only=True)
class EveryN(AckPolicy):
    """Owns the count of ack-eliciting packets since the last acknowledgement."""

    n: int = 2
    _unacknowledged: int = field(default=0, init=False)

    @staticmethod
    def check(n: int = 2) -> None:
        if n < 1:
            raise ConfigError(f"{n} is not a number of packets; expected 1 or more", key="n")

    def on_packet_received(self, is_in_order: bool, size: int, smoothed_rtt: int, max_ack_delay: int, now: int) -> int:
        self._unacknowledged += 1
        # RFC 9000 section 13.2.1: what is out of order is acknowledged at once, to assist loss detection.
        if self._unacknowledged >= self.n or not is_in_order:
            return now
        return now + max_ack_delay

    def on_ack_sent(self) -> None:
        self._unacknowledged = 0
