"""Exact and classical tests of randomness. Every level is 99.9 %: seeds are fixed, so a failure is a finding."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, lgamma, log, sqrt

Z = 3.2905  # two-sided 99.9 % of the standard normal distribution
KOLMOGOROV = 1.9495  # 99.9 % of Kolmogorov's distribution


def is_binomial(successes: int, trials: int, probability: float) -> bool:
    """Whether the count lies in the exact binomial interval (both tails are summed term by term)."""

    def term(k: int) -> float:
        chosen = lgamma(trials + 1) - lgamma(k + 1) - lgamma(trials - k + 1)
        return exp(chosen + k * log(probability) + (trials - k) * log(1 - probability))

    lower = sum(term(k) for k in range(successes + 1))
    upper = sum(term(k) for k in range(successes, trials + 1))
    return min(lower, upper) > 0.0005


def mean_is(samples: Sequence[int], expected: float) -> bool:
    """Whether independent samples may have this mean; samples that do not vary must have it exactly."""
    mean = sum(samples) / len(samples)
    variance = sum((sample - mean) ** 2 for sample in samples) / (len(samples) - 1)
    return abs(mean - expected) <= Z * sqrt(variance / len(samples)) + 1e-9


def is_geometric(lengths: Sequence[int], success: float) -> bool:
    """Chi-square test of P(length = k) = success (1 - success)**(k-1), with a pooled tail."""
    cells: list[tuple[int, float]] = []
    tail = 1.0
    length = 0
    while tail * (1 - success) * len(lengths) >= 8:
        length += 1
        cells.append((sum(sample == length for sample in lengths), tail * success))
        tail *= 1 - success
    cells.append((sum(sample > length for sample in lengths), tail))
    statistic = sum((seen - p * len(lengths)) ** 2 / (p * len(lengths)) for seen, p in cells)
    return statistic <= chi_square_limit(len(cells) - 1)


def chi_square_limit(freedom: int) -> float:
    """The 99.9 % quantile, after Wilson and Hilferty."""
    return freedom * (1 - 2 / (9 * freedom) + 3.0902 * sqrt(2 / (9 * freedom))) ** 3


def runs_are_random(fates: Sequence[bool]) -> bool:
    """Wald and Wolfowitz: as many runs of equal fates as independence makes likely."""
    lost = sum(fates)
    kept = len(fates) - lost
    runs = 1 + sum(a != b for a, b in pairwise(fates))
    mean = 1 + 2 * lost * kept / len(fates)
    variance = (mean - 1) * (mean - 2) / (len(fates) - 1)
    return abs(runs - mean) <= Z * sqrt(variance)


def follows(samples: Sequence[int], distribution: Callable[[float], float]) -> bool:
    """Kolmogorov and Smirnov's test against a distribution function."""
    ordered = sorted(samples)
    count = len(ordered)
    distance = max(
        max((i + 1) / count - distribution(sample), distribution(sample) - i / count)
        for i, sample in enumerate(ordered)
    )
    return distance <= KOLMOGOROV / sqrt(count)
