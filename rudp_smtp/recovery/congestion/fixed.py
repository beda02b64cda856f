"""A window that never changes, whatever is lost: for measurements, not for shared networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.congestion import (
    CONTROLLERS,
    CongestionController,
    CongestionEvent,
    Flight,
    minimum_window,
)
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.units import Size


@CONTROLLERS.register
@dataclass(slots=True, kw_only=True)
class Fixed(CongestionController):
    is_adaptive: ClassVar[bool] = False

    max_datagram_size: int
    window: Size = 128 * 1024

    @staticmethod
    def check(window: int = 128 * 1024) -> None:
        if window < 1:
            raise ConfigError("a window holds at least two datagrams", key="window")

    @property
    def congestion_window(self) -> int:
        return max(self.window, minimum_window(self.max_datagram_size))

    @property
    def ssthresh(self) -> int | None:
        return None

    def on_packets_acked(self, acked: Sequence[SentPacket], flight: Flight) -> None:
        pass

    def on_congestion_event(self, event: CongestionEvent) -> None:
        pass
