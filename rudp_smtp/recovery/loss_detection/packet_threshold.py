"""A packet is lost when a packet sent `threshold` later was acknowledged (RFC 9002 section 6.1.1).

No clock: what is lost at the tail of a flight is repaired by the retransmission timer's probe.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS, LossDetector, LossVerdict
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.sent import SentPacket

PACKET_THRESHOLD = 3  # kPacketThreshold, RFC 9002 section 6.1.1


@LOSS_DETECTORS.register
@dataclass(slots=True, kw_only=True)
class PacketThreshold(LossDetector):
    threshold: int = PACKET_THRESHOLD

    @staticmethod
    def check(threshold: int = PACKET_THRESHOLD) -> None:
        if threshold < 1:
            raise ConfigError(f"{threshold} is not a number of packets; expected 1 or more", key="threshold")

    def detect(self, missing: Sequence[SentPacket], largest_acked: int, rtt: RttEstimator, now: int) -> LossVerdict:
        lost_number = largest_acked - self.threshold
        count = 0
        for packet in missing:
            if packet.packet_number > lost_number:
                break
            count += 1
        return LossVerdict(list(missing[:count]), None)

    def trigger(self, packet: SentPacket, largest_acked: int) -> str:
        return "reordering_threshold"
