"""Pacer: a token bucket that spreads a window over its round trip (RFC 9002 section 7.7)."""

from rudp_smtp.units import MILLISECOND, SECOND

BURST_PACKETS = 10  # RFC 9002 section 7.7: a burst is no larger than the initial window
UNPACED = 1 << 62  # octets: no limit
GROUP_PACKETS = 2  # a wake-up is worth this many packets ...
GROUP_TIME = MILLISECOND  # ... or what the rate makes of this time, where that is more


class Pacer:
    """Owns the tokens: octets that may leave now. Counted in octets times nanoseconds per second, so exactly.

    Probes may overdraw it; the debt is paid before anything else leaves.
    """

    __slots__ = ("_burst", "_group", "_tokens", "_updated", "rate")

    def __init__(self, max_datagram_size: int) -> None:
        self.rate: int | None = None  # octets per second; None: not paced
        self.set_max_datagram_size(max_datagram_size)
        self._tokens = self._burst
        self._updated = 0

    def set_max_datagram_size(self, size: int) -> None:
        self._burst = BURST_PACKETS * size * SECOND
        self._group = GROUP_PACKETS * size * SECOND

    def set_rate(self, rate: int | None, now: int) -> None:
        """Go on at another rate; the tokens up to now came at the old one."""
        if rate != self.rate:
            self.allowance(now)
            self.rate = rate

    def on_packet_sent(self, size: int) -> None:
        self._tokens -= size * SECOND

    def allowance(self, now: int) -> int:
        """Octets that may leave now; negative while a debt is paid."""
        rate = self.rate
        if rate is None:
            tokens = UNPACED * SECOND
        else:
            tokens = self._tokens + (now - self._updated) * rate
            if tokens > self._burst:  # a call of min() would cost as much again
                tokens = self._burst
        self._tokens = tokens
        self._updated = now
        return tokens // SECOND

    def deadline(self, now: int) -> int:
        """When the next group of packets may leave: a timer for each packet would cost more than it smooths."""
        self.allowance(now)
        rate = self.rate
        if rate is None:
            return now
        group = min(max(self._group, rate * GROUP_TIME), self._burst)
        missing = group - self._tokens
        return now if missing <= 0 else now - (-missing // max(rate, 1))
