"""A packet is lost when it is older than 9/8 of a round trip and a later one was acknowledged (RFC 9002 s6.1.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS, LossDetector, LossVerdict
from rudp_smtp.recovery.rtt import GRANULARITY, RttEstimator
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.units import Duration

TIME_THRESHOLD = (9, 8)  # kTimeThreshold, RFC 9002 section 6.1.2


def loss_delay(rtt: RttEstimator, numerator: int, denominator: int, granularity: int) -> int:
    """How long a packet may stay unacknowledged after a later one was acknowledged."""
    return max(max(rtt.smoothed_rtt, rtt.latest_rtt) * numerator // denominator, granularity)


@LOSS_DETECTORS.register
@dataclass(slots=True, kw_only=True)
class TimeThreshold(LossDetector):
    numerator: int = TIME_THRESHOLD[0]
    denominator: int = TIME_THRESHOLD[1]
    granularity: Duration = GRANULARITY

    @staticmethod
    def check(
        numerator: int = TIME_THRESHOLD[0], denominator: int = TIME_THRESHOLD[1], granularity: int = GRANULARITY
    ) -> None:
        if denominator < 1:
            raise ConfigError(f"{denominator} cannot divide; expected 1 or more", key="denominator")
        if numerator < denominator:
            raise ConfigError(
                f"{numerator}/{denominator} of a round trip is less than one; every packet would be lost",
                key="numerator",
            )
        if granularity < 1:
            raise ConfigError("a clock has a granularity above 0", key="granularity")

    def detect(self, missing: Sequence[SentPacket], largest_acked: int, rtt: RttEstimator, now: int) -> LossVerdict:
        delay = loss_delay(rtt, self.numerator, self.denominator, self.granularity)
        lost_send_time = now - delay
        for count, packet in enumerate(missing):
            if packet.sent_time > lost_send_time:
                return LossVerdict(list(missing[:count]), packet.sent_time + delay)
        return LossVerdict(list(missing), None)
