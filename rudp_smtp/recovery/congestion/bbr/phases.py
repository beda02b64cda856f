"""BBR's states, which may follow which, and what each does to rate and window (draft-ietf-ccwg-bbr s5.1, s5.6.1)."""

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    STARTUP = "startup"
    DRAIN = "drain"
    DOWN = "probe_bw_down"
    CRUISE = "probe_bw_cruise"
    REFILL = "probe_bw_refill"
    UP = "probe_bw_up"
    PROBE_RTT = "probe_rtt"

    __hash__ = object.__hash__  # by identity, as members compare; Enum's own costs a call at every look-up of a gain


@dataclass(frozen=True, slots=True)
class Gain:
    """A factor, as a fraction."""

    numerator: int
    denominator: int

    def of(self, value: int) -> int:
        return value * self.numerator // self.denominator


UNITY, TWICE = Gain(1, 1), Gain(2, 1)

PACING_GAINS = {
    Phase.STARTUP: Gain(277, 100),
    Phase.DRAIN: Gain(1, 2),
    Phase.DOWN: Gain(9, 10),
    Phase.CRUISE: UNITY,
    Phase.REFILL: UNITY,
    Phase.UP: Gain(5, 4),
    Phase.PROBE_RTT: UNITY,
}
WINDOW_GAINS = {
    Phase.STARTUP: TWICE,
    Phase.DRAIN: TWICE,
    Phase.DOWN: TWICE,
    Phase.CRUISE: TWICE,
    Phase.REFILL: TWICE,
    Phase.UP: Gain(9, 4),
    Phase.PROBE_RTT: Gain(1, 2),
}
SUCCESSORS = {
    Phase.STARTUP: {Phase.DRAIN, Phase.PROBE_RTT},
    Phase.DRAIN: {Phase.DOWN, Phase.STARTUP, Phase.PROBE_RTT},
    Phase.DOWN: {Phase.CRUISE, Phase.REFILL, Phase.STARTUP, Phase.PROBE_RTT},
    Phase.CRUISE: {Phase.REFILL, Phase.DOWN, Phase.STARTUP, Phase.PROBE_RTT},
    Phase.REFILL: {Phase.UP, Phase.DOWN, Phase.STARTUP, Phase.PROBE_RTT},
    Phase.UP: {Phase.DOWN, Phase.STARTUP, Phase.PROBE_RTT},
    Phase.PROBE_RTT: {Phase.DOWN, Phase.STARTUP},
}
"""Back to STARTUP only when leaving it proves to have been a mistake (section 5.5.11.2)."""

PROBE_BW = frozenset((Phase.DOWN, Phase.CRUISE, Phase.REFILL, Phase.UP))
ACCELERATING = frozenset((Phase.STARTUP, Phase.REFILL, Phase.UP))
SETTLED = frozenset((Phase.DOWN, Phase.CRUISE, Phase.PROBE_RTT))
