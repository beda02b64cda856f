"""Congestion control plug-ins (RFC 9002 s7, RFC 9438). Integer arithmetic only, so a window is the same everywhere."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.registry import Registry
from rudp_smtp.units import SECOND

PACING_GAIN_NUMERATOR, PACING_GAIN_DENOMINATOR = 5, 4  # N = 1.25, RFC 9002 section 7.7
INITIAL_WINDOW_PACKETS, INITIAL_WINDOW_BYTES = 10, 14720  # RFC 9002 section 7.2
MINIMUM_WINDOW_PACKETS = 2  # kMinimumWindow, RFC 9002 section 7.2


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
    lost: Sequence[SentPacket] = ()  # ascending
    is_ecn: bool = False  # no loss: the path marked packets with CE (RFC 9002 s7.1); `sent_time` is of the newest acked


def initial_window(max_datagram_size: int) -> int:
    """Bytes that may leave before anything is known of the path."""
    return min(
        INITIAL_WINDOW_PACKETS * max_datagram_size,
        max(MINIMUM_WINDOW_PACKETS * max_datagram_size, INITIAL_WINDOW_BYTES),
    )


def minimum_window(max_datagram_size: int) -> int:
    """Bytes no loss reduces a window below."""
    return MINIMUM_WINDOW_PACKETS * max_datagram_size


class CongestionController(ABC):
    """Owns window and slow-start threshold, in bytes. Declares, does not store: each plug-in has its own fields."""

    is_adaptive: ClassVar[bool] = True
    """Whether the window answers to loss, as a shared path demands (RFC 9002 s7); contract tests hold it to that."""

    is_loss_based: ClassVar[bool] = True
    """Whether each episode of loss shrinks the window (RFC 9002 s7.3.2); if not, a model says which do."""

    tracks_delivery: ClassVar[bool] = False
    """Whether the controller samples the delivery rate, and so must hear of every packet sent."""

    max_datagram_size: int
    """The unit of windows, from the registry's context. Recovery changes it as path MTU discovery finds out more."""

    @property
    @abstractmethod
    def congestion_window(self) -> int: ...

    @property
    @abstractmethod
    def ssthresh(self) -> int | None:
        """Slow-start threshold in bytes; None while there is none yet."""

    @property
    def phase(self) -> str:
        """What it is doing, in words for a log; decides nothing. A controller with phases of its own says which."""
        if not self.is_adaptive:
            return "fixed"
        ssthresh = self.ssthresh
        return "slow_start" if ssthresh is None or self.congestion_window < ssthresh else "congestion_avoidance"

    @property
    def wants_frequent_acks(self) -> bool:
        """Whether a few acknowledgements per round trip are too few: a slow start must see queues as they begin."""
        return self.is_adaptive and self.ssthresh is None

    @abstractmethod
    def on_packets_acked(self, acked: Sequence[SentPacket], flight: Flight) -> None: ...

    @abstractmethod
    def on_congestion_event(self, event: CongestionEvent) -> None: ...

    def on_spurious_congestion_event(self, now: int) -> None:
        """All that the last congestion event counted as lost has arrived after all: take the reduction back.

        The idea of Eifel (RFC 4015) and F-RTO (RFC 5682) with packet numbers that are never reused.
        """
        return

    def on_packet_sent(self, packet: SentPacket, bytes_in_flight: int) -> None:
        """Only where `tracks_delivery`: a packet in flight leaves; `bytes_in_flight` is of before."""
        return

    def on_application_limited(self, bytes_in_flight: int) -> None:
        """Only where `tracks_delivery`: all that waited has left and the window has room for more."""
        return

    def pacing_rate(self, smoothed_rtt: int) -> int | None:
        """Bytes per second to spread packets at; None means unpaced. Model-based controllers have their own."""
        window = self.congestion_window * SECOND
        return window * PACING_GAIN_NUMERATOR // (PACING_GAIN_DENOMINATOR * max(smoothed_rtt, 1))


CONTROLLERS: Registry[CongestionController] = Registry("congestion", __name__, context=("max_datagram_size",))
