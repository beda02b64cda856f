"""HyStart++: leave slow start when the round trip grows, before the queue overflows (RFC 9406)."""

from rudp_smtp.units import MILLISECOND

RTT_THRESHOLD_MIN, RTT_THRESHOLD_MAX = 4 * MILLISECOND, 16 * MILLISECOND  # MIN_RTT_THRESH, MAX_RTT_THRESH, section 4.3
RTT_DIVISOR = 8  # MIN_RTT_DIVISOR
RTT_SAMPLES = 8  # N_RTT_SAMPLE
CSS_GROWTH_DIVISOR = 4
CSS_ROUNDS = 5

_NONE = 1 << 62  # longer than any round trip


class HyStart:
    """Owns the rounds of the first slow start, and says how much of what is acknowledged the window grows by.

    First as slow start has it; once the round trip is clearly longer than in the last round, a quarter of that
    (conservative slow start, CSS), to be safe if it was only jitter: should the round trip shrink again within five
    rounds, slow start goes on, and only else it is done. RFC 9406's limit L does not apply: packets are paced. A round
    ends where a packet is acknowledged that was sent after the round began; section 4.2 goes by numbers.

    A departure: the RFC compares the shortest round trips of whole rounds. In a slow start the first packets of the
    round that overflows a queue of one bandwidth-delay product still find it empty, so that this says nothing until
    after the overflow. Here the shortest of every eight samples in a row counts too, beside the longest of those of the
    last round.
    """

    __slots__ = (
        "_baseline",
        "_css_rounds",
        "_group",
        "_group_longest",
        "_is_css",
        "_last_group_longest",
        "_last_rtt",
        "_remainder",
        "_round_start",
        "_rtt",
        "_samples",
    )

    def __init__(self) -> None:
        self._round_start = 0
        self._last_rtt = _NONE  # lastRoundMinRTT
        self._rtt = _NONE  # currentRoundMinRTT
        self._samples = 0
        self._group = _NONE  # shortest of the samples since the last eight were complete
        self._group_longest = 0  # of the groups of this round
        self._last_group_longest = 0
        self._is_css = False
        self._baseline = _NONE  # cssBaselineMinRtt
        self._css_rounds = 0
        self._remainder = 0

    @property
    def is_done(self) -> bool:
        """Time for congestion avoidance, from this window on."""
        return self._css_rounds >= CSS_ROUNDS

    def on_acked(self, octets: int, sent_time: int, now: int) -> int:
        """By how much the window grows, of `octets` acknowledged; `sent_time` is of the newest packet among them."""
        if sent_time >= self._round_start:
            self._start_round(now)
        rtt = now - sent_time
        self._rtt = min(self._rtt, rtt)
        self._group = min(self._group, rtt)
        self._samples += 1
        if self._samples % RTT_SAMPLES == 0:
            self._compare(self._group)
            self._group_longest = max(self._group_longest, self._group)
            self._group = _NONE
        if not self._is_css:
            return octets
        growth, self._remainder = divmod(octets + self._remainder, CSS_GROWTH_DIVISOR)
        return growth

    def _start_round(self, now: int) -> None:
        self._round_start = now
        self._last_rtt, self._rtt = self._rtt, _NONE
        self._last_group_longest, self._group_longest = self._group_longest, 0
        self._group = _NONE
        self._samples = 0
        if self._is_css:
            self._css_rounds += 1

    def _compare(self, group: int) -> None:
        """Whether the queue grows, or has proved not to."""
        if self._is_css:
            if group < self._baseline:
                self._is_css = False
                self._css_rounds = 0
        elif self._is_longer(self._rtt, self._last_rtt) or self._is_longer(group, self._last_group_longest):
            self._is_css = True
            self._baseline = group

    def _is_longer(self, rtt: int, before: int) -> bool:
        threshold = min(max(before // RTT_DIVISOR, RTT_THRESHOLD_MIN), RTT_THRESHOLD_MAX)
        return 0 < before < _NONE and rtt >= before + threshold
