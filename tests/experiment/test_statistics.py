"""Against published tables, and against what an interval promises: it covers as often as it says."""

from fractions import Fraction

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.experiment.statistics import (
    MEDIAN,
    P95,
    P99,
    Interval,
    bca_interval,
    differences,
    mean,
    mean_interval,
    nearest_rank,
    proportion_interval,
    quantile_interval,
    quantile_ranks,
    student_interval,
    student_quantile,
)


def test_a_nearest_rank_quantile_is_one_of_the_values() -> None:
    values = [15, 20, 35, 40, 50]
    assert nearest_rank(values, Fraction(5, 100)) == 15
    assert nearest_rank(values, Fraction(30, 100)) == 20
    assert nearest_rank(values, Fraction(40, 100)) == 20
    assert nearest_rank(values, MEDIAN) == 35
    assert nearest_rank(values, Fraction(1)) == 50
    assert nearest_rank([1, 2, 3, 4], MEDIAN) == 2
    assert nearest_rank([7], P99) == 7
    assert nearest_rank([], MEDIAN) is None


@pytest.mark.parametrize(
    ("n", "ranks"),
    [(5, (None, None)), (6, (1, 6)), (10, (2, 9)), (15, (4, 12)), (20, (6, 15)), (30, (10, 21)), (100, (40, 61))],
)
def test_ranks_of_a_median_interval_match_the_tables(n: int, ranks: tuple[int | None, int | None]) -> None:
    assert quantile_ranks(n, MEDIAN) == ranks


def test_thirty_runs_bound_no_p95_from_above_and_say_so() -> None:
    interval = quantile_interval(list(range(1, 31)), P95)
    assert interval == Interval(26, None)
    assert quantile_interval([], P95) == Interval(None, None)


@pytest.mark.parametrize(
    ("degrees", "share", "t"),
    [
        (1, "0.975", 12.7062),
        (2, "0.975", 4.3027),
        (3, "0.975", 3.1824),
        (4, "0.95", 2.1318),
        (5, "0.975", 2.5706),
        (9, "0.975", 2.2622),
        (10, "0.995", 3.1693),
        (18, "0.975", 2.1009),
        (19, "0.9", 1.3277),
        (30, "0.9995", 3.6460),
    ],
)
def test_student_quantiles_match_the_tables(degrees: int, share: str, t: float) -> None:
    assert round(student_quantile(degrees, Fraction(share)), 4) == t


def test_student_quantiles_are_the_same_digits_everywhere() -> None:
    quantiles = [student_quantile(degrees, Fraction("0.975")) for degrees in range(1, 19)]
    assert quantiles == [
        12.7062047, 4.30265273, 3.18244631, 2.77644511, 2.57058184, 2.44691185, 2.36462425, 2.30600414, 2.26215716,
        2.22813885, 2.20098516, 2.17881283, 2.16036866, 2.14478669, 2.13144955, 2.11990530, 2.10981558, 2.10092204,
    ]  # fmt: skip


def test_a_student_interval_worked_by_hand() -> None:
    # mean 5, s = sqrt(2.5), t(4) = 2.77644511: half-width 1.96324...
    assert student_interval([3, 4, 5, 6, 7]) == Interval(3.036757, 6.963243)
    assert mean_interval([3, 4, 5, 6, 7]) == Interval(3.036757, 6.963243)
    assert mean_interval([3]) == Interval(None, None)


def test_a_mean_is_exact_before_it_is_rounded() -> None:
    assert mean([0.1] * 10) == 0.1
    assert mean([1, 2]) == 1.5
    assert mean([]) is None


def test_bca_agrees_with_student_on_symmetric_values_and_leans_on_skewed_ones() -> None:
    symmetric = list(range(-20, 21))
    bca, student = bca_interval(symmetric), student_interval(symmetric)
    assert bca.low is not None
    assert bca.high is not None
    assert student.low is not None
    assert student.high is not None
    assert abs(bca.low - student.low) < 0.4
    assert abs(bca.high - student.high) < 0.4
    skewed = [2**k for k in range(20)]
    centre, lean = mean(skewed), bca_interval(skewed)
    assert centre is not None
    assert lean.low is not None
    assert lean.high is not None
    assert lean.high - centre > centre - lean.low


def test_bca_depends_on_the_values_alone_and_ignores_their_scale() -> None:
    values = [k * k for k in range(25)]
    assert bca_interval(values) == bca_interval(list(values))
    doubled = bca_interval([2 * value for value in values])
    plain = bca_interval(values)
    assert plain.low is not None
    assert doubled.low is not None
    assert abs(doubled.low - 2 * plain.low) < 1e-5
    assert bca_interval([0.25] * 30) == Interval(0.25, 0.25)


@pytest.mark.parametrize(
    ("happened", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.308497),
        (1, 10, 0.002529, 0.445016),
        (5, 10, 0.187086, 0.812914),
        (10, 10, 0.691503, 1.0),
        (4, 20, 0.057334, 0.436614),
        (30, 300, 0.068492, 0.139673),
        (8000, 80_000, 0.097929, 0.1021),
    ],
)
def test_proportion_intervals_match_the_tables(happened: int, trials: int, low: float, high: float) -> None:
    assert proportion_interval(happened, trials) == Interval(low, high)


def test_no_trials_bound_no_proportion() -> None:
    assert proportion_interval(0, 0) == Interval(None, None)


def test_proportion_intervals_cover_at_least_as_often_as_they_claim() -> None:
    coverage, trials, p = Fraction(0), 40, Fraction(1, 10)
    weight = (1 - p) ** trials
    for happened in range(trials + 1):
        interval = proportion_interval(happened, trials)
        assert interval.low is not None
        assert interval.high is not None
        if interval.low <= p <= interval.high:
            coverage += weight
        weight = weight * (trials - happened) / (happened + 1) * p / (1 - p)
    assert coverage >= Fraction(95, 100)


def test_mean_intervals_cover_about_as_often_as_they_claim() -> None:
    draws, samples = DrawKey(7, "coverage"), 300
    for n in (10, 25):
        covered = 0
        for k in range(samples):
            interval = mean_interval([draws.below(k * n + i, 1001) for i in range(n)])
            assert interval.low is not None
            assert interval.high is not None
            covered += interval.low <= 500 <= interval.high
        assert 0.90 * samples <= covered <= samples


def test_differences_are_paired_and_leave_out_what_never_ended() -> None:
    assert differences([5, 7, None, 9], [4, 4, 4, None]) == [1, 3]
    assert differences([0.3], [0.1]) == [0.2]
