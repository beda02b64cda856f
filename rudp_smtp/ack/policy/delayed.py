"""Let every acknowledgement wait as long as it may, unless a packet is out of order."""

from dataclasses import dataclass

from rudp_smtp.ack.policy import ACK_POLICIES, AckPolicy


@ACK_POLICIES.register
@dataclass(slots=True, kw_only=True)
class Delayed(AckPolicy):
    """The fewest acknowledgements, at the price of bursts: RFC 9000 section 13.2.2 recommends against it."""

    def on_packet_received(self, is_in_order: bool, size: int, smoothed_rtt: int, max_ack_delay: int, now: int) -> int:
        # RFC 9000 section 13.2.1: what is out of order is acknowledged at once, to assist loss detection.
        return now + max_ack_delay if is_in_order else now

    def on_ack_sent(self) -> None:
        pass
