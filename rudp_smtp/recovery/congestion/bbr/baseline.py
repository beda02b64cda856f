"""BaselineLoss: what share of the packets the path loses whatever we do, and how much more is too much.

The package's docstring says why BBR needs that. Counted in packets; a share is out of SHARE_ONE.
"""

from math import isqrt

SHARE_ONE = 1 << 16
SHARE_MAX = SHARE_ONE * 3 // 20  # a path that seems to lose more of itself is not believed: it may well be us
MARGIN_DENOMINATOR = 50  # LossThresh, draft-ietf-ccwg-bbr section 2.4: 2 %, here of excess
MEMORY_PACKETS = 1024  # then what was counted weighs half
DISPERSION_ONE = 1 << 8
DISPERSION_MAX = 8 * DISPERSION_ONE
DISPERSION_INITIAL = 2 * DISPERSION_ONE
DISPERSION_WEIGHT = 16  # of the past against one more round, less one


class BaselineLoss:
    """Owns the counts of the rounds that showed the path undisturbed."""

    __slots__ = ("_certain", "_dispersion", "_lost", "_sent", "is_trusted")

    def __init__(self) -> None:
        self._lost = 0  # in 1 / DISPERSION_ONE packets, so that halving loses nothing
        self._sent = 0
        self._certain = 0
        self.is_trusted = True  # a queue, if there is one, shows in the round trip
        self._dispersion = DISPERSION_INITIAL  # variance of a round's losses over that of independent ones

    @property
    def share(self) -> int:
        """The packets lost at random, out of SHARE_ONE."""
        if not self._sent or not self.is_trusted:
            return 0
        return min(self._lost * SHARE_ONE // self._sent, SHARE_MAX)

    @property
    def certain(self) -> int:
        """As `share`, less the standard deviation of our knowledge: what to send more for."""
        return self._certain if self.is_trusted else 0

    def compensated(self, delivered: int) -> int:
        """What had to pass for this much to be delivered."""
        return delivered * SHARE_ONE // (SHARE_ONE - self.certain)

    def expected(self, sent: int) -> int:
        """How much of this is lost anyway."""
        return sent * self.share // SHARE_ONE

    def on_round(self, lost: int, sent: int) -> None:
        """Take a round in which we were not the cause of what was lost."""
        self._learn_dispersion(lost, sent)
        self._lost += lost * DISPERSION_ONE
        self._sent += sent * DISPERSION_ONE
        if self._sent > MEMORY_PACKETS * DISPERSION_ONE:
            self._lost //= 2
            self._sent //= 2
        self._settle()

    def distrust(self) -> None:
        """Sending faster lost more: some of what seemed random may be our own doing at any rate."""
        self._lost //= 2
        self._settle()

    def forget(self) -> None:
        self._lost = self._sent = self._certain = 0

    def is_exceeded(self, lost: int, sent: int, sigmas: int) -> bool:
        """Whether `lost` of `sent` packets are more than LossThresh above the baseline, and above it by more than
        chance explains: `sigmas` half standard deviations of the count, over-dispersion and our ignorance included."""
        share = self.share
        allowed = sent * share * MARGIN_DENOMINATOR + sent * SHARE_ONE  # times SHARE_ONE * MARGIN_DENOMINATOR
        excess = lost * SHARE_ONE * MARGIN_DENOMINATOR - allowed
        if excess <= 0:
            return False
        if not share:
            return True
        known = self._sent // DISPERSION_ONE + 1
        variance = sent * share * (SHARE_ONE - share) * self._dispersion * (known + sent) // (DISPERSION_ONE * known)
        return 2 * excess > sigmas * MARGIN_DENOMINATOR * isqrt(variance)

    def _settle(self) -> None:
        share = self.share
        variance = share * (SHARE_ONE - share) * self._dispersion // max(self._sent, 1)
        self._certain = max(share - isqrt(variance), 0)

    def _learn_dispersion(self, lost: int, sent: int) -> None:
        share = self.share
        variance = sent * share * (SHARE_ONE - share)  # of independent losses, times SHARE_ONE squared
        if variance < SHARE_ONE * SHARE_ONE // 2:  # too few to tell
            return
        deviation = lost * SHARE_ONE - sent * share
        sample = min(deviation * deviation * DISPERSION_ONE // variance, DISPERSION_MAX)
        self._dispersion += (sample - self._dispersion) // DISPERSION_WEIGHT
        self._dispersion = max(self._dispersion, DISPERSION_ONE)
