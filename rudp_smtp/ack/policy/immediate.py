"""Acknowledge every ack-eliciting packet at once."""

from dataclasses import dataclass

from rudp_smtp.ack.policy import ACK_POLICIES, AckPolicy


@ACK_POLICIES.register
@dataclass(slots=True, kw_only=True)
class Immediate(AckPolicy):
    """The quickest feedback, at one acknowledgement per packet."""

    def on_packet_received(self, is_in_order: bool, size: int, smoothed_rtt: int, max_ack_delay: int, now: int) -> int:
        return now

    def on_ack_sent(self) -> None:
        pass
