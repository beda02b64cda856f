"""BBR's model of the path, an estimate a class: bandwidth, round trip, aggregation, whether the pipe is full.

draft-ietf-ccwg-bbr sections 5.3.1.2 and 5.5. Rates in octets per second, times in nanoseconds.
"""

from rudp_smtp.units import SECOND

MIN_RTT_FILTER = 10 * SECOND  # MinRTTFilterLen, section 5.5.7.2
PROBE_RTT_INTERVAL = 5 * SECOND  # section 5.3.4.1
RTT_TOLERANCE = 32  # ours: a sample this close to the lowest (1/32) confirms it, and shows no queue
FULL_PIPE_ROUNDS = 3  # section 5.3.1.2
FULL_PIPE_NUMERATOR, FULL_PIPE_DENOMINATOR = 5, 4
EXTRA_ACKED_ROUNDS = 5  # half of ExtraAckedFilterLen, section 5.5.9: two slots make up the window


class MaxBandwidth:
    """Owns the largest delivery rate of this probing cycle and the last (section 5.5.3)."""

    __slots__ = ("_current", "_previous", "value")

    def __init__(self) -> None:
        self._previous = 0
        self._current = 0
        self.value = 0

    def on_sample(self, rate: int) -> None:
        if rate > self._current:
            self._current = rate
            if rate > self.value:
                self.value = rate

    def advance(self) -> None:
        """Begin another cycle (section 5.5.6)."""
        if self._current:
            self._previous, self._current = self._current, 0
            self.value = self._previous


class MinRtt:
    """Owns the round trip without queues, and knows when it was last seen (section 5.3.4.3)."""

    __slots__ = ("_probed", "_probed_time", "_time", "is_probe_due", "value")

    def __init__(self) -> None:
        self.value: int | None = None
        self._time = 0
        self._probed = 0
        self._probed_time = 0
        self.is_probe_due = False

    def on_sample(self, rtt: int, now: int, is_queue_known: bool) -> bool:
        """Whether the shortest round trip has become clearly shorter: those until now had a queue in them.

        `is_queue_known`: round trips have lately been much longer, so that the shortest are without a queue.
        """
        before = self.value
        if before is None:
            self.value = self._probed = rtt
            self._time = self._probed_time = now
            return False
        self.is_probe_due = now > self._probed_time + PROBE_RTT_INTERVAL
        if rtt < self._probed or self.is_probe_due:
            self._probed = rtt
            self._probed_time = now
        elif is_queue_known and rtt <= self._probed + self._probed // RTT_TOLERANCE:
            # A departure: the draft's clock runs until a sample is lower still, so that a flow whose queue is empty
            # all the time drains it all the same. It has just seen an empty queue.
            self._probed_time = now
            if self._probed == self.value:
                self._time = now
        if self._probed < before or now > self._time + MIN_RTT_FILTER:
            self.value = self._probed
            self._time = self._probed_time
        return (self.value or before) < before - before // RTT_TOLERANCE

    def on_probed(self, now: int) -> None:
        """The next probe is due an interval from now."""
        self._probed_time = now


class FullPipe:
    """Owns the search for a plateau: three rounds in which a faster flight was delivered no faster (s5.3.1.2)."""

    __slots__ = ("_rate", "_rounds", "is_full", "was_full")

    def __init__(self) -> None:
        self._rate = 0
        self._rounds = 0  # doubled
        self.is_full = False
        self.was_full = False  # ever: STARTUP is over

    def restart(self, rate: int = 0) -> None:
        self._rate = rate
        self._rounds = 0
        self.is_full = False

    def on_round(self, rate: int, is_quiet: bool) -> None:
        """Ours: until it has ever been full, a round without a queue counts half. It may as well be that losses at
        random kept the flight small, and who takes that for a full pipe is caught far below the bandwidth."""
        if self.is_full:
            return
        if rate * FULL_PIPE_DENOMINATOR >= self._rate * FULL_PIPE_NUMERATOR:
            self.restart(rate)
            return
        self._rounds += 1 if is_quiet and not self.was_full else 2
        if self._rounds >= 2 * FULL_PIPE_ROUNDS:
            self.is_full = self.was_full = True


class ExtraAcked:
    """Owns how much more than the rate explains was acknowledged at a time: the path's aggregation (s5.5.9)."""

    __slots__ = ("_acked", "_current", "_previous", "_rounds", "_started", "value")

    def __init__(self) -> None:
        self._started = 0
        self._acked = 0
        self._previous = 0
        self._current = 0
        self._rounds = 0
        self.value = 0

    def restart(self, now: int) -> None:
        self._started = now
        self._acked = 0

    def on_acked(self, newly_acked: int, rate: int, limit: int, now: int) -> None:
        """`rate` is what was expected, `limit` what is believed at the most."""
        expected = rate * (now - self._started) // SECOND
        if self._acked <= expected:
            self.restart(now)
            expected = 0
        self._acked += newly_acked
        extra = min(self._acked - expected, limit)
        if extra > self._current:
            self._current = extra
            self.value = max(self._previous, extra)

    def on_round(self, is_steady: bool) -> None:
        """Forget what is ten rounds old; during STARTUP what is one round old."""
        self._rounds += 1
        if self._rounds >= EXTRA_ACKED_ROUNDS or not is_steady:
            self._rounds = 0
            self._previous = self._current if is_steady else 0
            self._current = 0
            self.value = self._previous
