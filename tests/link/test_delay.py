"""Contract of every delay distribution, and the shape of each."""

from collections.abc import Callable
from math import erf, sqrt

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.delay import DELAY_DISTRIBUTIONS
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND
from tests.link.inference import follows

JITTER = 3 * MILLISECOND


def offsets(name: str, count: int, jitter: int = JITTER, seed: int = 1) -> list[int]:
    distribution = DELAY_DISTRIBUTIONS.build(Spec(name))
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
    assert offsets(name, 100) == offsets(name, 100) != offsets(name, 100, seed=2)


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
