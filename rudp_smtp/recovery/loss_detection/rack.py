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
NEVER = -(1 << 62)  # before any time


@LOSS_DETECTORS.register
@dataclass(slots=True, kw_only=True)
class Rack(LossDetector):
    """Owns what it knows of the path's reordering: whether there is any, and how many steps of patience it takes.

    Until a packet was seen to arrive out of order, three later ones prove a loss at once, and during recovery one does.
    A departure: TCP's recovery ends with the cumulative acknowledgement of all that was repaired. Here it is the round
    trip after a loss, in which the repairs leave.
    """

    threshold: int = DUP_THRESH
    _is_reordering_seen: bool = field(default=False, init=False)
    _steps: int = field(default=1, init=False)  # RACK.reo_wnd_mult
    _recoveries_left: int = field(default=0, init=False)  # RACK.reo_wnd_persist
    _recovery_start_time: int = field(default=NEVER, init=False)
    _growth_time: int = field(default=NEVER, init=False)  # RACK.dsack_round, as a time

    @staticmethod
    def check(threshold: int = DUP_THRESH) -> None:
        if threshold < 1:
            raise ConfigError(f"{threshold} is not a number of packets; expected 1 or more", key="threshold")

    def detect(self, missing: Sequence[SentPacket], largest_acked: int, rtt: RttEstimator, now: int) -> LossVerdict:
        delay = rtt.latest_rtt if rtt.has_sample else rtt.smoothed_rtt
        # All from the oldest missing packet to the largest acknowledged are acknowledged, but for the missing ones.
        above = largest_acked - missing[0].packet_number + 1 - len(missing) if missing else 0
        is_in_recovery = now - delay <= self._recovery_start_time + rtt.smoothed_rtt
        if self._is_reordering_seen or not (is_in_recovery or above >= self.threshold):
            # Section 6.2 step 4, RACK_update_reo_wnd: never more than a smoothed round trip.
            delay += min(rtt.min_rtt * self._steps // STEPS_PER_RTT, rtt.smoothed_rtt)
        lost_send_time = now - delay
        for count, packet in enumerate(missing):
            if packet.sent_time > lost_send_time:
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
        self._steps += 1

    def trigger(self, packet: SentPacket, largest_acked: int) -> str:
        is_overtaken = packet.packet_number <= largest_acked - self.threshold
        return "reordering_threshold" if is_overtaken and not self._is_reordering_seen else "time_threshold"

    def _give_up(self, lost: Sequence[SentPacket], now: int) -> list[SentPacket]:
        """Section 6.2 step 4: after 16 recoveries without a spurious loss one step will do again."""
        if lost and lost[-1].sent_time > self._recovery_start_time:
            self._recovery_start_time = now
            self._recoveries_left -= 1
            if self._recoveries_left <= 0:
                self._steps = 1
        return list(lost)
