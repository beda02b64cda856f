"""Congestion control plug-ins (RFC 9002 s7, RFC 9438). Integer arithmetic only, so a window is the same everywhere."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.registry import Registry

PACING_GAIN_NUMERATOR, PACING_GAIN_DENOMINATOR = 5, 4  # N = 1.25, RFC 9002 section 7.7


@dataclass(slots=True)
class Flight:
    """What a controller may know of the moment an acknowledgement arrived. Left alone after it is built."""

    now: int
    bytes_in_flight: int  # before the acknowledged packets were removed
    smoothed_rtt: int
    min_rtt: int
    latest_rtt: int
    is_app_limited: bool  # the window was not the limit: no growth (RFC 9002 s7.8)


@dataclass(slots=True)
class CongestionEvent:
    """A loss episode. `sent_time` is of the largest lost packet: one reduction per round trip (RFC 9002 s7.3.2)."""

    now: int
    sent_time: int
    lost_bytes: int
    bytes_in_flight: int  # after the lost packets were removed
    is_persistent: bool  # RFC 9002 s7.6, or a timer that declares loss expired


class CongestionController(ABC):
    """Owns window and slow-start threshold, in bytes. Declares, does not store: each plug-in has its own fields."""

    @property
    @abstractmethod
    def congestion_window(self) -> int: ...

    @property
    @abstractmethod
    def ssthresh(self) -> int | None:
        """Slow-start threshold in bytes; None while there is none yet."""

    @abstractmethod
    def on_packets_acked(self, acked: Sequence[SentPacket], flight: Flight) -> None: ...

    @abstractmethod
    def on_congestion_event(self, event: CongestionEvent) -> None: ...

    def pacing_rate(self, smoothed_rtt: int) -> int | None:
        """Bytes per second to spread packets at; None means unpaced. Model-based controllers have their own."""
        window = self.congestion_window * 1_000_000_000
        return window * PACING_GAIN_NUMERATOR // (PACING_GAIN_DENOMINATOR * max(smoothed_rtt, 1))


CONTROLLERS: Registry[CongestionController] = Registry("congestion", __name__, context=("max_datagram_size",))
