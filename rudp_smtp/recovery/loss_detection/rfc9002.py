"""Both of RFC 9002's thresholds: a packet is lost by whichever says so first (section 6.1, appendix A.10)."""

from collections.abc import Sequence
from dataclasses import dataclass

from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS, LossDetector, LossVerdict
from rudp_smtp.recovery.loss_detection.packet_threshold import PACKET_THRESHOLD, PacketThreshold
from rudp_smtp.recovery.loss_detection.time_threshold import TIME_THRESHOLD, TimeThreshold, loss_delay
from rudp_smtp.recovery.rtt import GRANULARITY, RttEstimator
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.units import Duration


@LOSS_DETECTORS.register
@dataclass(slots=True, kw_only=True)
class Rfc9002(LossDetector):
    threshold: int = PACKET_THRESHOLD
    numerator: int = TIME_THRESHOLD[0]
    denominator: int = TIME_THRESHOLD[1]
    granularity: Duration = GRANULARITY

    @staticmethod
    def check(
        threshold: int = PACKET_THRESHOLD,
        numerator: int = TIME_THRESHOLD[0],
        denominator: int = TIME_THRESHOLD[1],
        granularity: int = GRANULARITY,
    ) -> None:
        PacketThreshold.check(threshold)
        TimeThreshold.check(numerator, denominator, granularity)

    def detect(self, missing: Sequence[SentPacket], largest_acked: int, rtt: RttEstimator, now: int) -> LossVerdict:
        delay = loss_delay(rtt, self.numerator, self.denominator, self.granularity)
        lost_number = largest_acked - self.threshold
        lost_send_time = now - delay
        for count, packet in enumerate(missing):
            if packet.packet_number > lost_number and packet.sent_time > lost_send_time:
                return LossVerdict(list(missing[:count]), packet.sent_time + delay)
        return LossVerdict(list(missing), None)

    def trigger(self, packet: SentPacket, largest_acked: int) -> str:
        is_overtaken = packet.packet_number <= largest_acked - self.threshold
        return "reordering_threshold" if is_overtaken else "time_threshold"
