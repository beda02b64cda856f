"""Send tiny flights twice: a dialogue's requests and replies, a handshake; never bulk.

The copy follows at a distance, so that one burst of losses does not take both, and well inside the round trip after
which the loss would have been noticed.
"""

from dataclasses import dataclass, field

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.redundancy import REDUNDANCIES, Redundancy
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, Probability, Size

SPACING_DIVISOR = 16  # of the round trip: what a lost packet costs then
SPACING_MIN = MILLISECOND


@REDUNDANCIES.register
@dataclass(slots=True, kw_only=True)
class SparseDuplicate(Redundancy):
    """Owns a bucket of octets for copies: full at first, then filled by a share of what is sent."""

    flight: Size = 2_000  # octets in flight at most: a padded first flight fits, two full packets do not
    budget: Size = 64 * 1024  # octets of copies at most beyond the share
    share: Probability = PROBABILITY_ONE // 2  # octets of copies per octet sent
    _tokens: int = field(init=False)  # octets times PROBABILITY_ONE

    @staticmethod
    def check(flight: int = 1, budget: int = 1, **_: object) -> None:
        for key, value in (("flight", flight), ("budget", budget)):
            if value < 1:
                raise ConfigError(f"{value}B is out of range; expected 1B or more", key=key)

    def __post_init__(self) -> None:
        self._tokens = self.budget * PROBABILITY_ONE

    def on_packet_sent(self, size: int, bytes_in_flight: int, smoothed_rtt: int, now: int) -> int | None:
        self._tokens = min(self._tokens + size * self.share, self.budget * PROBABILITY_ONE)
        if bytes_in_flight > self.flight:
            return None
        return now + max(smoothed_rtt // SPACING_DIVISOR, SPACING_MIN)

    def allows_copy(self, size: int, bytes_in_flight: int) -> bool:
        return bytes_in_flight <= self.flight and size * PROBABILITY_ONE <= self._tokens

    def on_copy_sent(self, size: int) -> None:
        self._tokens -= size * PROBABILITY_ONE
