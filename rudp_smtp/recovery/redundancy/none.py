"""Send nothing twice before it is lost."""

from dataclasses import dataclass
from typing import ClassVar

from rudp_smtp.recovery.redundancy import REDUNDANCIES, Redundancy


@REDUNDANCIES.register
@dataclass(slots=True, kw_only=True)
class NoRedundancy(Redundancy):
    is_active: ClassVar[bool] = False

    def on_packet_sent(self, size: int, bytes_in_flight: int, smoothed_rtt: int, now: int) -> int | None:
        return None

    def allows_copy(self, size: int, bytes_in_flight: int) -> bool:
        return False

    def on_copy_sent(self, size: int) -> None:
        return
