"""Acknowledgement policy plug-ins: when to acknowledge (RFC 9000 s13.2.1-2)."""

from abc import ABC, abstractmethod
from typing import ClassVar

from rudp_smtp.registry import Registry


class AckPolicy(ABC):
    """Owns its counters only. Asked for ack-eliciting packets alone, so silence is never acknowledged."""

    is_negotiable: ClassVar[bool] = False
    """Whether the peer may ask for another frequency; a policy that is compared with others is left alone."""

    @abstractmethod
    def on_packet_received(self, is_in_order: bool, size: int, smoothed_rtt: int, max_ack_delay: int, now: int) -> int:
        """The time by which an ack-eliciting packet that arrived `now` must be acknowledged; `now` means at once.

        Never later than now + max_ack_delay. `is_in_order` is false when the packet left or filled a gap. `size` is its
        datagram's; `smoothed_rtt` is our own estimate, which grows old where only the peer has something to say.
        """

    @abstractmethod
    def on_ack_sent(self) -> None:
        """Everything received so far has been acknowledged."""


ACK_POLICIES: Registry[AckPolicy] = Registry("ack", __name__)
