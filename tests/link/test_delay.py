"""Contract of every delay distribution, and the shape of each."""

from bisect import bisect_right
from collections.abc import Callable
from math import erf, sqrt
from typing import get_type_hints

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS, pareto, paretonormal
from rudp_smtp.link.delay.quantiles import UNIT
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND
from tests.link.inference import follows

JITTER = 3 * MILLISECOND


SAMPLES: dict[object, object] = {tuple[int, ...]: [-8192, -1, 1, 8192]}


def sample_spec(name: str) -> Spec:
    """Some value for each parameter that has no default: a new distribution is tested without another line."""
    hints = get_type_hints(DELAY_DISTRIBUTIONS.load(name).__init__, include_extras=True)
    required = [key for key, item in DELAY_DISTRIBUTIONS.parameters(name).items() if item.default is item.empty]
    return DELAY_DISTRIBUTIONS.spec({"model": name, **{key: SAMPLES[hints[key]] for key in required}})


def offsets(name: str, count: int, jitter: int = JITTER, seed: int = 1) -> list[int]:
    distribution = DELAY_DISTRIBUTIONS.build(sample_spec(name))
    draws = DrawKey(seed, "delay")
    return [distribution.offset(index, draws, jitter) for index in range(count)]


def uniform(offset: float) -> float:
    return (offset + JITTER) / (2 * JITTER)


def normal(offset: float) -> float:
    return (1 + erf(offset / JITTER / sqrt(2))) / 2


@pytest.mark.parametrize("name", DELAY_DISTRIBUTIONS.names())
def test_offsets_are_spread_about_zero_in_proportion_to_the_jitter(name: str) -> None:
    narrow, wide = offsets(name, 4000), offsets(name, 4000, 10 * JITTER)
    assert abs(sum(narrow)) / len(narrow) < JITTER / 10
    assert all(abs(10 * a - b) <= 20 for a, b in zip(narrow, wide, strict=True))


@pytest.mark.parametrize("name", DELAY_DISTRIBUTIONS.names())
def test_the_same_seed_gives_the_same_offsets(name: str) -> None:
    assert offsets(name, 100) == offsets(name, 100)
    is_chance = DELAY_DISTRIBUTIONS.build(sample_spec(name)).pieces(JITTER) is not None
    assert (offsets(name, 100) != offsets(name, 100, seed=2)) == is_chance


@pytest.mark.parametrize("name", DELAY_DISTRIBUTIONS.names())
def test_without_jitter_there_is_no_offset(name: str) -> None:
    assert set(offsets(name, 100, jitter=0)) == {0}


@pytest.mark.parametrize(("name", "distribution"), [("uniform", uniform), ("normal", normal)])
def test_offsets_follow_their_distribution(name: str, distribution: Callable[[float], float]) -> None:
    assert follows(offsets(name, 40_000), distribution)


def test_uniform_offsets_reach_both_ends_and_no_further() -> None:
    assert set(offsets("uniform", 500, jitter=2)) == {-2, -1, 0, 1, 2}


def test_normal_offsets_have_the_jitter_as_deviation_and_end_at_five() -> None:
    samples = offsets("normal", 100_000)
    deviation = sqrt(sum(sample**2 for sample in samples) / len(samples))
    assert deviation == pytest.approx(JITTER, rel=0.01)  # its own standard error is 0.22 %
    assert max(map(abs, samples)) <= 5 * JITTER


def test_offsets_are_the_same_on_every_machine() -> None:
    assert offsets("uniform", 4) == [2415800, 997801, 582258, -617736]
    assert offsets("normal", 4) == [3890106, 1289157, 737102, -3794660]


def test_the_pareto_table_has_the_shape_of_the_distribution() -> None:
    """Up to a shift and a scale its entries are the quantiles (1 - u) ** (-1/3) at the middles of equal cells."""
    table = pareto.TABLE
    quantiles = [(1 - (rank + 0.5) / len(table)) ** (-1 / 3) for rank in range(len(table))]
    scale = (table[2000] - table[0]) / (quantiles[2000] - quantiles[0])
    for entry, quantile in zip(table, quantiles, strict=True):
        assert entry - table[0] == pytest.approx((quantile - quantiles[0]) * scale, rel=1e-6, abs=10)


@pytest.mark.parametrize("table", [pareto.TABLE, paretonormal.TABLE], ids=["pareto", "paretonormal"])
def test_a_table_has_mean_zero_and_the_deviation_it_says(table: tuple[int, ...]) -> None:
    mean = sum(table) / len(table) / UNIT
    assert mean == pytest.approx(0, abs=1e-8)
    assert sqrt(sum(entry * entry for entry in table) / len(table)) / UNIT == pytest.approx(1, abs=1e-8)
    assert list(table) == sorted(table)


@pytest.mark.parametrize("name", ["pareto", "paretonormal"])
def test_offsets_follow_their_table(name: str) -> None:
    table = {"pareto": pareto.TABLE, "paretonormal": paretonormal.TABLE}[name]
    scaled = [entry * JITTER // UNIT for entry in table]
    samples = offsets(name, 40_000)
    assert set(samples) <= set(scaled)
    # Kolmogorov and Smirnov's test needs a continuous distribution: each entry is spread over its own cell.
    jittered = [bisect_right(scaled, sample) - 1 + (index % 97) / 97 for index, sample in enumerate(samples)]
    assert follows([int(1000 * place) for place in jittered], lambda place: place / 1000 / len(table))


def test_pareto_is_skewed_to_the_right() -> None:
    samples = sorted(offsets("pareto", 40_000))
    assert samples[0] > -0.62 * JITTER
    assert samples[len(samples) // 2] < 0
    assert samples[-1] > 10 * JITTER


def test_paretonormal_is_between_its_parts() -> None:
    shortest = [min(offsets(name, 40_000)) for name in ("normal", "paretonormal", "pareto")]
    assert shortest == sorted(shortest)


def test_a_table_is_netems_scale_and_every_value_is_as_likely() -> None:
    spec = DELAY_DISTRIBUTIONS.spec({"model": "table", "values": [-8192, 0, 0, 16384]})
    distribution = DELAY_DISTRIBUTIONS.build(spec)
    draws = DrawKey(1, "delay")
    samples = [distribution.offset(index, draws, JITTER) for index in range(8000)]
    assert set(samples) == {-JITTER, 0, 2 * JITTER}
    assert samples.count(0) == pytest.approx(4000, abs=150)
    assert samples.count(-JITTER) == pytest.approx(2000, abs=130)


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one number") as caught:
        DELAY_DISTRIBUTIONS.spec({"model": "table", "values": []}, "delay.distribution")
    assert caught.value.key == "delay.distribution.values"
