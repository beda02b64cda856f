"""No congestion control and no pacing: what an unshared path can carry. A flood anywhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rudp_smtp.recovery.congestion import CONTROLLERS, CongestionController, CongestionEvent, Flight
from rudp_smtp.recovery.sent import SentPacket

WINDOW = 1 << 40  # bytes: above any flow-control limit


@CONTROLLERS.register
@dataclass(slots=True, kw_only=True)
class Unlimited(CongestionController):
    is_adaptive: ClassVar[bool] = False

    max_datagram_size: int

    @property
    def congestion_window(self) -> int:
        return WINDOW

    @property
    def ssthresh(self) -> int | None:
        return None

    def on_packets_acked(self, acked: Sequence[SentPacket], flight: Flight) -> None:
        pass

    def on_congestion_event(self, event: CongestionEvent) -> None:
        pass

    def pacing_rate(self, smoothed_rtt: int) -> int | None:
        return None
