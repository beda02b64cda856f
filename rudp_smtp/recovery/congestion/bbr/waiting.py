"""ProbeWait: when to probe for bandwidth again (draft-ietf-ccwg-bbr section 5.3.3.8)."""

from rudp_smtp.units import SECOND

PROBE_WAIT_MIN, PROBE_WAIT_SPREAD = 2 * SECOND, SECOND  # section 5.3.3.8.2
RENO_ROUNDS_MAX = 63  # section 5.3.3.8.2
MIX = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: spreads neighbouring integers


class ProbeWait:
    """Owns when the last probe ended, and how long, in time and in rounds, is waited for the next."""

    __slots__ = ("_rounds", "_start", "_wait")

    def __init__(self) -> None:
        self._start = 0
        self._wait = 0
        self._rounds = 0

    def begin(self, delivered: int, now: int) -> None:
        """PickProbeWait, section 5.3.3.8.2, where the draft draws: what this flow has delivered until this nanosecond
        is as good as random, differs from flow to flow, and is the same in every run."""
        mixed = (delivered * MIX ^ now * MIX >> 7) * MIX & (1 << 64) - 1
        self._start = now
        self._wait = PROBE_WAIT_MIN + (mixed >> 32) * PROBE_WAIT_SPREAD // (1 << 32)
        self._rounds = mixed >> 31 & 1

    def on_round(self) -> None:
        self._rounds += 1

    def is_over(self, packets: int, now: int) -> bool:
        """Whether it is time, or a Reno flow with so many packets in flight would have grown as much as we ask for."""
        return now > self._start + self._wait or self._rounds >= min(packets, RENO_ROUNDS_MAX)
