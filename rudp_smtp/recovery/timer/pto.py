"""The probe time-out: silence for longer than an acknowledgement can take is probed (RFC 9002 section 6.2.1)."""

from dataclasses import dataclass

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.rtt import GRANULARITY, RttEstimator
from rudp_smtp.recovery.timer import MAXIMUM_PTO, TIMERS, RtoEstimator, back_off
from rudp_smtp.units import Duration


@TIMERS.register
@dataclass(slots=True, kw_only=True)
class Pto(RtoEstimator):
    """Owns nothing: the estimates are RttEstimator's. `back_off` says where it departs from section 6.2.1."""

    granularity: Duration = GRANULARITY
    maximum: Duration = MAXIMUM_PTO

    @staticmethod
    def check(granularity: int = GRANULARITY, maximum: int = MAXIMUM_PTO) -> None:
        if granularity < 1:
            raise ConfigError("a clock has a granularity above 0", key="granularity")
        if maximum < granularity:
            raise ConfigError("the maximum is below the granularity", key="maximum")

    def on_rtt_sample(self, sample: int, ack_delay: int) -> None:
        pass

    def timeout(self, rtt: RttEstimator, max_ack_delay: int, expirations: int) -> int:
        return back_off(rtt.probe_timeout(max_ack_delay, self.granularity), expirations, self.maximum)
