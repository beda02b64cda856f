"""Exact and classical tests, each ending in a p-value: how often a right generator would look as bad as this."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import erfc, exp, lgamma, log, sqrt

import numpy as np
from numpy.typing import NDArray

from rudp_smtp.experiment.beta import beta_share

Numbers = NDArray[np.int64] | NDArray[np.float64] | NDArray[np.bool_]

CELL_MIN = 8  # expected counts below are pooled in a chi-square test
BATCHES = 200  # of a sequence with a memory: their means have none


def binomial(happened: int, trials: int, probability: Fraction) -> float:
    """Exact, two-sided: twice the smaller tail."""
    at_least = beta_share(probability, Fraction(happened), Fraction(trials - happened + 1)) if happened else 1.0
    more = beta_share(probability, Fraction(happened + 1), Fraction(trials - happened)) if happened < trials else 0.0
    return min(1.0, 2 * min(at_least, 1 - more))


def normal(deviations: float) -> float:
    return erfc(abs(deviations) / sqrt(2))


def student(t: float, degrees: int) -> float:
    return beta_share(Fraction(degrees / (degrees + t * t)), Fraction(degrees, 2), Fraction(1, 2))


def chi_square(observed: Sequence[float] | Numbers, expected: Sequence[float] | Numbers) -> tuple[float, int, float]:
    """Statistic, degrees of freedom and p-value; neighbouring cells are pooled until enough is expected in each."""
    cells: list[tuple[float, float]] = []
    seen = due = 0.0
    for count, mean in zip(observed, expected, strict=True):
        seen, due = seen + float(count), due + float(mean)
        if due >= CELL_MIN:
            cells.append((seen, due))
            seen = due = 0.0
    if due or seen:
        last = cells.pop() if cells else (0.0, 0.0)
        cells.append((last[0] + seen, last[1] + due))
    statistic = sum((count - mean) ** 2 / mean for count, mean in cells)
    return statistic, len(cells) - 1, chi_square_share(statistic, len(cells) - 1)


def chi_square_share(statistic: float, degrees: int) -> float:
    """The share of the chi-square distribution above: the incomplete gamma function, by its series or fraction."""
    if degrees < 1:
        return 1.0
    a, x = degrees / 2, statistic / 2
    if x <= 0:
        return 1.0
    front = exp(a * log(x) - x - lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > total * 1e-15:
            n += 1
            term *= x / n
            total += term
        return max(0.0, 1 - front * total)
    b = x + 1 - a
    c, d = 1e300, 1 / b
    total = d
    for i in range(1, 100_000):
        factor = -i * (i - a)
        b += 2
        d = 1 / (factor * d + b)
        c = b + factor / c
        total *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * total


def kolmogorov(uniforms: Numbers) -> tuple[float, float]:
    """The distance of numbers from an even spread over 0..1, and its p-value (Stephens 1970)."""
    ordered: NDArray[np.float64] = np.sort(np.asarray(uniforms, dtype=np.float64))
    count = len(ordered)
    steps: NDArray[np.float64] = np.arange(1, count + 1, dtype=np.float64) / count
    distance = float(max(np.max(steps - ordered), np.max(ordered - steps + 1 / count)))
    scaled = (sqrt(count) + 0.12 + 0.11 / sqrt(count)) * distance
    if scaled < 0.2:  # the series below wants hundreds of terms, and the answer is 1
        return distance, 1.0
    share = 2 * sum((-1) ** (j - 1) * exp(-2 * (j * scaled) ** 2) for j in range(1, 101))
    return distance, min(1.0, max(0.0, share))


def runs(fates: NDArray[np.bool_]) -> tuple[int, float, float]:
    """Wald and Wolfowitz: how many runs of equal fates there are, how many independence makes, the p-value."""
    lost, count = int(fates.sum()), len(fates)
    found = 1 + int(np.count_nonzero(fates[1:] != fates[:-1]))
    mean = 1 + 2 * lost * (count - lost) / count
    variance = (mean - 1) * (mean - 2) / (count - 1)
    return found, mean, normal((found - mean) / sqrt(variance))


def batch_mean(values: Numbers, expected: float) -> tuple[float, float]:
    """The mean of a sequence whose memory is short beside a batch, and the p-value of Student's test on the batches."""
    length = len(values) // BATCHES
    means = np.asarray(values[: BATCHES * length], dtype=np.float64).reshape(BATCHES, length).mean(axis=1)
    mean, deviation = float(means.mean()), float(means.std(ddof=1))
    if deviation == 0:
        return mean, float(mean == expected)
    return mean, student((mean - expected) / deviation * sqrt(BATCHES), BATCHES - 1)


def holm(values: Iterable[float]) -> list[float]:
    """p-values of many tests made together, each as large as if it had been alone (Holm 1979)."""
    given = list(values)
    order = sorted(range(len(given)), key=lambda place: given[place])
    adjusted = [0.0] * len(given)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(given) - rank) * given[place]))
        adjusted[place] = largest
    return adjusted
