"""The probe time-out: silence for longer than an acknowledgement can take is probed (RFC 9002 section 6.2.1)."""

from dataclasses import dataclass

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.rtt import GRANULARITY, RttEstimator
from rudp_smtp.recovery.timer import TIMERS, RtoEstimator
from rudp_smtp.units import Duration

EXPONENT_MAX = 10  # ours: a back-off of 1024 outlasts any idle time-out, so it needs no larger


@TIMERS.register
@dataclass(slots=True, kw_only=True)
class Pto(RtoEstimator):
    """Owns nothing: the estimates are RttEstimator's."""

    granularity: Duration = GRANULARITY
    exponent_max: int = EXPONENT_MAX

    @staticmethod
    def check(granularity: int = GRANULARITY, exponent_max: int = EXPONENT_MAX) -> None:
        if granularity < 1:
            raise ConfigError("a clock has a granularity above 0", key="granularity")
        if not 0 <= exponent_max <= 32:
            raise ConfigError(f"{exponent_max} doublings; expected 0 to 32", key="exponent_max")

    def on_rtt_sample(self, sample: int) -> None:
        pass

    def timeout(self, rtt: RttEstimator, max_ack_delay: int, expirations: int) -> int:
        return rtt.probe_timeout(max_ack_delay, self.granularity) << min(expirations, self.exponent_max)
