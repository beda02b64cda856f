"""Quantiles and intervals (DETERMINISM, last section): the replication is the run, never the packet.

Read Hahn and Meeker, Statistical Intervals (order statistics), and Efron and Tibshirani chapter 14 (BCa). What ends in
a CSV must be the same bytes on every machine, so everything here is whole numbers, fractions, decimals and IEEE
operations that round one way only; the few calls into the C library's mathematics are rounded far above their error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from statistics import NormalDist

from rudp_smtp.draws import DrawKey
from rudp_smtp.experiment.beta import beta_quantile

Number = int | float

MEDIAN = Fraction(1, 2)
P95 = Fraction(95, 100)
P99 = Fraction(99, 100)
CONFIDENCE = Fraction(95, 100)
BOOTSTRAP_FROM = 20  # runs: below, Student's interval
RESAMPLES = 2000
DIGITS = 6  # decimals of every float in a row: a millisecond with six decimals is exact to the nanosecond

_BOOTSTRAP_SEED = 0  # one set of resamples for all columns of n values: intervals do not depend on their order


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a quantity lies with the stated confidence. None: the data set no bound on that side."""

    low: Number | None
    high: Number | None


UNKNOWN = Interval(None, None)


def nearest_rank(values: Sequence[Number], share: Fraction) -> Number | None:
    """The smallest value that at least `share` of `values` do not exceed: always one of them, never in between."""
    if not values:
        return None
    return sorted(values)[max(1, math.ceil(len(values) * share)) - 1]


def quantile_interval(values: Sequence[Number], share: Fraction, confidence: Fraction = CONFIDENCE) -> Interval:
    """Order statistics around a quantile, whatever the distribution. A side that n values cannot bound is None."""
    low, high = quantile_ranks(len(values), share, confidence)
    ordered = sorted(values)
    return Interval(ordered[low - 1] if low else None, ordered[high - 1] if high else None)


@cache
def quantile_ranks(n: int, share: Fraction, confidence: Fraction = CONFIDENCE) -> tuple[int | None, int | None]:
    """Ranks (from 1) of the order statistics that enclose the quantile, each tail at most half of what is left.

    The number of values below the quantile is binomial(n, share); counted in whole numbers out of denominator**n.
    """
    below, out_of = share.numerator, share.denominator
    tail = (1 - confidence) / 2 * out_of**n
    weights = [math.comb(n, k) * below**k * (out_of - below) ** (n - k) for k in range(n + 1)]
    low = high = None
    fewer = 0  # weight of "at most rank - 1 values below"
    for rank in range(1, n + 1):
        fewer += weights[rank - 1]
        if fewer <= tail:
            low = rank
        if high is None and out_of**n - fewer <= tail:
            high = rank
    return low, high


def mean(values: Sequence[Number]) -> float | None:
    """The exact mean, rounded once."""
    if not values:
        return None
    return round(float(sum(map(Fraction, values)) / len(values)), DIGITS)


def mean_interval(values: Sequence[Number], confidence: Fraction = CONFIDENCE) -> Interval:
    """Student's interval below BOOTSTRAP_FROM values, BCa bootstrap from there; also for paired differences."""
    if len(values) < 2:
        return UNKNOWN
    if len(values) < BOOTSTRAP_FROM:
        return student_interval(values, confidence)
    return bca_interval(values, confidence)


def student_interval(values: Sequence[Number], confidence: Fraction = CONFIDENCE) -> Interval:
    n = len(values)
    exact = [Fraction(value) for value in values]
    centre = sum(exact) / n
    variance = sum((value - centre) ** 2 for value in exact) / (n - 1)
    half = student_quantile(n - 1, (1 + confidence) / 2) * math.sqrt(variance / n)
    return Interval(round(float(centre) - half, DIGITS), round(float(centre) + half, DIGITS))


@cache
def student_quantile(degrees: int, share: Fraction) -> float:
    """The t that `share` of Student's distribution lies below (share > 1/2), to nine significant digits."""
    low, high = 0.0, 1.0
    within = float(2 * share - 1)
    while _student_within(high, degrees) < within:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        if _student_within(middle, degrees) < within:
            low = middle
        else:
            high = middle
    return float(f"{high:.9g}")


def _student_within(t: float, degrees: int) -> float:
    """P(|T| < t), by the finite series of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    cosine_squared = degrees / (degrees + t * t)
    is_odd = degrees % 2 == 1
    term = math.sqrt(cosine_squared) if is_odd else 1.0
    total = 0.0
    for k in range(degrees // 2):
        total += term
        term *= cosine_squared * ((2 * k + 2) / (2 * k + 3) if is_odd else (2 * k + 1) / (2 * k + 2))
    sine_part = math.sqrt(1 - cosine_squared) * total
    return (math.atan(t / math.sqrt(degrees)) + sine_part) * 2 / math.pi if is_odd else sine_part


def bca_interval(values: Sequence[Number], confidence: Fraction = CONFIDENCE) -> Interval:
    """Bias-corrected, accelerated bootstrap interval of the mean; its resamples depend on nothing but n."""
    n = len(values)
    whole, scale = _as_integers(values)
    total = sum(whole)
    if all(value == whole[0] for value in whole):
        constant = round(float(values[0]), DIGITS)
        return Interval(constant, constant)
    sums = sorted(sum([whole[i] for i in sample]) for sample in _resamples(n))
    below = sum(1 for value in sums if value < total) + sum(1 for value in sums if value == total) / 2
    normal = NormalDist()
    bias = normal.inv_cdf(min(max(below, 0.5), RESAMPLES - 0.5) / RESAMPLES)
    deviations = [n * value - total for value in whole]  # n (n - 1) times what leaving a value out takes off the mean
    squares = sum(deviation**2 for deviation in deviations)
    acceleration = float(Fraction(sum(d**3 for d in deviations), 6)) / (float(squares) * math.sqrt(squares))
    bounds = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + normal.inv_cdf(float(tail))
        share = normal.cdf(bias + shifted / (1 - acceleration * shifted))
        rank = min(max(math.ceil(share * RESAMPLES), 1), RESAMPLES)
        bounds.append(round(float(Fraction(sums[rank - 1], n * scale)), DIGITS))
    return Interval(bounds[0], bounds[1])


@cache
def _resamples(n: int) -> tuple[tuple[int, ...], ...]:
    draws = DrawKey(_BOOTSTRAP_SEED, "bootstrap", str(n))
    return tuple(tuple([draws.below(k * n + i, n) for i in range(n)]) for k in range(RESAMPLES))


def _as_integers(values: Sequence[Number]) -> tuple[list[int], int]:
    """The same values times one power of two that makes them whole, and that power: sums are then exact."""
    ratios = [value.as_integer_ratio() for value in values]
    scale = max(denominator for _, denominator in ratios)
    return [numerator * (scale // denominator) for numerator, denominator in ratios], scale


@cache
def proportion_interval(
    happened: int, trials: int, confidence: Fraction = CONFIDENCE, variance_ratio: float = 1.0
) -> Interval:
    """The exact binomial interval (Clopper and Pearson 1934) of a probability seen `happened` times in `trials`.

    Trials that depend on each other, so that their mean varies `variance_ratio` times as much, count as so many fewer.
    """
    if trials == 0:
        return UNKNOWN
    ratio = Fraction(variance_ratio)
    seen, missed, tail = happened / ratio, (trials - happened) / ratio, (1 - confidence) / 2
    low = beta_quantile(seen, missed + 1, tail) if happened else 0.0
    high = beta_quantile(seen + 1, missed, 1 - tail) if happened < trials else 1.0
    return Interval(round(low, DIGITS), round(high, DIGITS))


def differences(variant: Sequence[Number | None], baseline: Sequence[Number | None]) -> list[Number]:
    """Paired by place: variant less baseline. A pair with a side that never came to an end (None) has no difference."""
    pairs = zip(variant, baseline, strict=True)
    return [round(v - b, DIGITS) for v, b in pairs if v is not None and b is not None]
