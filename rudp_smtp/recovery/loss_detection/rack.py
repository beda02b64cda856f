"""RACK: a packet is lost when one sent enough later has arrived, and "enough" follows the path (RFC 8985 section 6).

Adapted to packet numbers that are never reused: packets are sent in the order of their numbers, so the most recently
sent one delivered is the largest acknowledged and RACK.rtt is the latest sample. A late acknowledgement of a packet
declared lost is what a DSACK is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS, LossDetector, LossVerdict
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.sent import SentPacket

DUP_THRESH = 3  # DupThresh, RFC 8985 section 3.4
STEPS_PER_RTT = 4  # RFC 8985 section 6.2 step 4: the reordering window is RACK.min_RTT / 4 times the multiplier
RECOVERIES_KEPT = 16  # RACK.reo_wnd_persist, RFC 8985 section 6.2 step 4
STEPS_MAX = 255  # ours: the bound of a round trip is reached long before, unless its smallest sample is an oddity


@LOSS_DETECTORS.register
@dataclass(slots=True, kw_only=True)
class Rack(LossDetector):
    """Owns what it knows of the path's reordering: whether there is any, and how many steps of patience it takes.

    Until a packet was seen to arrive out of order, three later ones prove a loss as well, and at once. Departures from
    step 4: they are counted for each packet, not for the oldest alone, so one loss does not condemn those that came
    just after it; and during recovery no fewer than three will do, for the same reason.
    """

    threshold: int = DUP_THRESH
    _is_reordering_seen: bool = field(default=False, init=False)
    _steps: int = field(default=1, init=False)  # RACK.reo_wnd_mult
    _recoveries_left: int = field(default=0, init=False)  # RACK.reo_wnd_persist
    _recovery_start_time: int = field(default=-1, init=False)
    _growth_time: int = field(default=-1, init=False)  # RACK.dsack_round, as a time

    @staticmethod
    def check(threshold: int = DUP_THRESH) -> None:
        if threshold < 1:
            raise ConfigError(f"{threshold} is not a number of packets; expected 1 or more", key="threshold")

    def detect(self, missing: Sequence[SentPacket], largest_acked: int, rtt: RttEstimator, now: int) -> LossVerdict:
        # Section 6.2 step 4, RACK_update_reo_wnd: never more than a smoothed round trip.
        patience = min(rtt.min_rtt * self._steps // STEPS_PER_RTT, rtt.smoothed_rtt)
        delay = (rtt.latest_rtt if rtt.has_sample else rtt.smoothed_rtt) + patience
        lost_send_time = now - delay
        # Of the packets above missing[i] the acknowledged ones are all but the missing: none is counted by walking.
        lost_number = -1 if self._is_reordering_seen else largest_acked - len(missing) + 1 - self.threshold
        for count, packet in enumerate(missing):
            if packet.sent_time > lost_send_time and packet.packet_number - count > lost_number:
                return LossVerdict(self._give_up(missing[:count], now), packet.sent_time + delay)
        return LossVerdict(self._give_up(missing, now), None)

    def on_reordered(self) -> None:
        self._is_reordering_seen = True  # section 6.2 step 3

    def on_spurious(self, packet: SentPacket, now: int) -> None:
        """Section 6.2 step 4: a step more, at most once per round trip, and kept for 16 recoveries."""
        self._is_reordering_seen = True
        if packet.sent_time <= self._growth_time:
            return
        self._growth_time = now
        self._recoveries_left = RECOVERIES_KEPT
        if self._steps < STEPS_MAX:
            self._steps += 1

    def trigger(self, packet: SentPacket, largest_acked: int) -> str:
        is_overtaken = packet.packet_number <= largest_acked - self.threshold
        return "reordering_threshold" if is_overtaken and not self._is_reordering_seen else "time_threshold"

    def _give_up(self, lost: Sequence[SentPacket], now: int) -> list[SentPacket]:
        """Section 6.2 step 4: after 16 recoveries without a spurious loss one step will do again."""
        if lost and self._steps > 1 and lost[-1].sent_time > self._recovery_start_time:
            self._recovery_start_time = now
            self._recoveries_left -= 1
            if self._recoveries_left <= 0:
                self._steps = 1
        return list(lost)
