"""A probe after a fixed time, whatever the path's round trip: the simplest timer, for comparison."""

from dataclasses import dataclass

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.timer import TIMERS, RtoEstimator
from rudp_smtp.units import MILLISECOND, Duration

INTERVAL = 200 * MILLISECOND  # ours: the floor that TCP stacks commonly use
BACKOFF_STEPS_MAX = 16  # keeps the power short


@TIMERS.register
@dataclass(slots=True, kw_only=True)
class Fixed(RtoEstimator):
    """`backoff` multiplies the interval after each expiration in a row; 1 is none.

    An interval below the path's round trip never falls silent: each probe is due before the last is acknowledged.
    """

    interval: Duration = INTERVAL
    backoff: int = 1

    @staticmethod
    def check(interval: int = INTERVAL, backoff: int = 1) -> None:
        if interval < MILLISECOND:
            raise ConfigError("an interval below 1ms floods the path", key="interval")
        if backoff < 1:
            raise ConfigError(f"{backoff} shortens the interval; expected 1 or more", key="backoff")

    def on_rtt_sample(self, sample: int, ack_delay: int) -> None:
        pass

    def timeout(self, rtt: RttEstimator, max_ack_delay: int, expirations: int) -> int:
        interval = self.interval
        for _ in range(min(expirations, BACKOFF_STEPS_MAX)):
            interval *= self.backoff
        return interval
