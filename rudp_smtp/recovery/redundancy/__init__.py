"""Redundancy plug-ins: which packets are sent a second time before anything is known to be lost.

A copy is a new packet with a number of its own, charged to the window like any other. It spares a dialogue the wait for
a time-out: a flight of one packet is followed by nothing whose acknowledgement could prove its loss.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from rudp_smtp.registry import Registry


class Redundancy(ABC):
    """Owns the budget. Knows sizes and times; what was in a packet, and how to say it again, is the transport's.

    The loss of a packet whose copy came through is a loss to congestion control all the same: a repair, however early,
    must not hide that the path is full (RFC 9265 section 3).
    """

    is_active: ClassVar[bool] = True
    """Whether there can be a copy at all; if not, nobody calls."""

    @abstractmethod
    def on_packet_sent(self, size: int, bytes_in_flight: int, smoothed_rtt: int, now: int) -> int | None:
        """When an ack-eliciting packet that leaves `now` might be repeated; None: it need not be.

        `bytes_in_flight` counts it in. Never asked about copies: they are not repeated, nor do they earn anything.
        """

    @abstractmethod
    def allows_copy(self, size: int, bytes_in_flight: int) -> bool:
        """Whether a copy of `size` octets may leave now that its time has come."""

    @abstractmethod
    def on_copy_sent(self, size: int) -> None:
        """A copy has left, and is paid for. One that was allowed may not: what it would repeat may have arrived."""


REDUNDANCIES: Registry[Redundancy] = Registry("redundancy", __name__)
