"""A probe time-out for dialogues: silence for an eighth longer than a round trip is probed, unless that one varies.

RFC 9002 section 6.2.1's shape, with three estimates of its own where the RFC's are slow to learn that a path is steady
and a peer prompt. A probe that was not needed costs a packet; a turn of a dialogue that waits costs its user.
"""

from dataclasses import dataclass, field

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.rtt import GRANULARITY, RttEstimator
from rudp_smtp.recovery.timer import MAXIMUM_PTO, TIMERS, RtoEstimator, back_off
from rudp_smtp.units import Duration

MARGIN_DIVISOR = 8  # of a round trip: 9/8 of one is kTimeThreshold, RFC 9002 section 6.1.2
INITIAL_VARIATION_DIVISOR = 8  # of the first sample, where RFC 9002 section 5.3 takes half of it
QUIET_DIVISOR = 4  # of a round trip


@TIMERS.register
@dataclass(slots=True, kw_only=True)
class PtoEager(RtoEstimator):
    """Owns its averages of the round trip, and how long the peer lets the end of a flight wait.

    The variation starts at an eighth of the first sample and not at half of it, from which it would take a dozen
    samples to fall below a tenth. `max_ack_delay` is what the peer may do; here it counts only as far as the peer does
    it when nothing else is in flight, and in full until it was seen not to. And as long as acknowledgements come in,
    the end of a flight is taken to be on its way behind a queue: nothing is probed before they have stopped.
    """

    granularity: Duration = GRANULARITY
    maximum: Duration = MAXIMUM_PTO
    _min_rtt: int = field(default=0, init=False)
    _srtt: int = field(default=0, init=False)
    _rttvar: int = field(default=0, init=False)
    _has_sample: bool = field(default=False, init=False)
    _ack_delay: int | None = field(default=None, init=False)  # the peer's, at the end of a flight; None: not known

    @staticmethod
    def check(granularity: int = GRANULARITY, maximum: int = MAXIMUM_PTO) -> None:
        if granularity < 1:
            raise ConfigError("a clock has a granularity above 0", key="granularity")
        if maximum < granularity:
            raise ConfigError("the maximum is below the granularity", key="maximum")

    def on_rtt_sample(self, sample: int, ack_delay: int) -> None:
        if not self._has_sample:
            self._has_sample = True
            self._min_rtt = self._srtt = sample
            self._rttvar = sample // INITIAL_VARIATION_DIVISOR
            return
        # RFC 9002 section 5.3 takes no delay off where that would give less than min_rtt. To take off what gives just
        # that keeps a delayed acknowledgement from looking like a path that varies, and is no more to a peer's liking.
        self._min_rtt = min(self._min_rtt, sample)
        adjusted = max(sample - ack_delay, self._min_rtt)
        # RFC 6298 section 2.3's order, RTTVAR first. But where its RTTVAR moves by a quarter both ways, ours grows by
        # half and shrinks by an eighth: a few like samples in a row prove no path steady.
        deviation = abs(self._srtt - adjusted)
        rttvar = self._rttvar
        self._rttvar = (rttvar + deviation) // 2 if deviation > rttvar else (7 * rttvar + deviation) // 8
        self._srtt = (7 * self._srtt + adjusted) // 8

    def on_flight_acked(self, ack_delay: int) -> None:
        """A longer delay counts at once, a shorter one by half."""
        known = self._ack_delay
        if known is None or ack_delay >= known:
            self._ack_delay = ack_delay
        else:
            self._ack_delay = (known + ack_delay) // 2

    def timeout(self, rtt: RttEstimator, max_ack_delay: int, expirations: int) -> int:
        if not self._has_sample:
            base = rtt.smoothed_rtt + rtt.smoothed_rtt // 2  # a first flight may be repeated: it is idempotent
        else:
            margin = max(self._srtt // MARGIN_DIVISOR, 4 * self._rttvar, self.granularity)
            delay = max_ack_delay if self._ack_delay is None else min(self._ack_delay, max_ack_delay)
            base = self._srtt + margin + delay
        return back_off(base, expirations, self.maximum)

    def quiet_time(self, rtt: RttEstimator) -> int:
        return self._srtt // QUIET_DIVISOR
