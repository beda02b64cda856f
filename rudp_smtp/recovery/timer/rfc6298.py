"""TCP's retransmission time-out, with its floor of one second and its back-off (RFC 6298).

Departure: section 5 starts the timer with the first packet of a flight; `Recovery` starts it with the last one sent,
as RFC 9002 section 6.2.1 does, so it may expire later by the time the flight took to send.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.recovery.timer import DOUBLINGS_MAX, TIMERS, RtoEstimator
from rudp_smtp.units import MILLISECOND, SECOND, Duration

INITIAL_RTO = SECOND  # RFC 6298 section 2.1
MINIMUM_RTO = SECOND  # RFC 6298 section 2.4
MAXIMUM_RTO = 60 * SECOND  # RFC 6298 section 2.5: at least this
GRANULARITY = MILLISECOND  # G, RFC 6298 section 2


@TIMERS.register
@dataclass(slots=True, kw_only=True)
class Rfc6298(RtoEstimator):
    """Owns srtt and rttvar of its own: a TCP sender knows no ACK delay.

    Karn's rule (section 3) holds by construction: a retransmission has a packet number of its own, so no sample is
    ambiguous. The back-off ends with the next acknowledgement, which gives such a sample (section 5.7).
    """

    declares_loss: ClassVar[bool] = True

    minimum: Duration = MINIMUM_RTO
    maximum: Duration = MAXIMUM_RTO
    initial: Duration = INITIAL_RTO
    granularity: Duration = GRANULARITY
    _srtt: int = field(default=0, init=False)
    _rttvar: int = field(default=0, init=False)
    _has_sample: bool = field(default=False, init=False)

    @staticmethod
    def check(
        minimum: int = MINIMUM_RTO,
        maximum: int = MAXIMUM_RTO,
        initial: int = INITIAL_RTO,
        granularity: int = GRANULARITY,
    ) -> None:
        if granularity < 1:
            raise ConfigError("a clock has a granularity above 0", key="granularity")
        if maximum < minimum:
            raise ConfigError("the maximum is below the minimum", key="maximum")
        if initial < 1:
            raise ConfigError("a time-out is above 0", key="initial")

    def on_rtt_sample(self, sample: int, ack_delay: int) -> None:
        if not self._has_sample:  # section 2.2
            self._has_sample = True
            self._srtt = sample
            self._rttvar = sample // 2
            return
        # Section 2.3: alpha is 1/8 and beta 1/4; RTTVAR first, against the old SRTT.
        self._rttvar = (3 * self._rttvar + abs(self._srtt - sample)) // 4
        self._srtt = (7 * self._srtt + sample) // 8

    def timeout(self, rtt: RttEstimator, max_ack_delay: int, expirations: int) -> int:
        if self._has_sample:
            rto = self._srtt + max(self.granularity, 4 * self._rttvar)
        else:
            rto = self.initial
        rto = max(rto, self.minimum)
        return min(rto << min(expirations, DOUBLINGS_MAX), self.maximum)
