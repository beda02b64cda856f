"""Keyed draws. The literals pin DRAW_SCHEME: if one of them changes, every stored result does, so the scheme must."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.draws import DRAW_SCHEME, DrawKey
from rudp_smtp.units import PROBABILITY_ONE, parse_probability

N = 20_000


def test_the_draws_of_scheme_1_are_these_on_every_machine() -> None:
    assert DRAW_SCHEME == 1
    key = DrawKey(1, "forward", "loss")
    assert [key.draw(index) for index in range(3)] == [4234127147066773318, 8885218118469907626, 10536147976890928900]
    assert key.draw(0, attempt=1) == 14703762456112210702
    assert key.derive("slot").draw(0) == 9321650422740935678
    assert DrawKey(-1).draw(0) == 12368550167216193882


def test_a_draw_depends_on_its_key_and_not_on_the_draws_before_it() -> None:
    forwards, backwards = DrawKey(7, "loss"), DrawKey(7, "loss")
    there = [forwards.draw(index) for index in range(100)]
    back = [backwards.draw(index) for index in reversed(range(100))]
    assert there == back[::-1]


def test_seed_names_index_and_attempt_each_give_other_draws() -> None:
    keys = [
        DrawKey(7),
        DrawKey(8),
        DrawKey(7, "loss"),
        DrawKey(7, "loss", "a"),
        DrawKey(7, "lossa"),
        DrawKey(7, "loss").derive("a"),
    ]
    drawn = [key.draw(index, attempt) for key in keys for index in range(50) for attempt in range(3)]
    assert len({*drawn}) == len(drawn)


def test_digits_at_the_end_of_a_name_are_not_mistaken_for_the_index() -> None:
    assert DrawKey(7, "link").draw(11, attempt=2) != DrawKey(7, "link1").draw(1, attempt=2)


def test_a_derived_key_is_reproducible() -> None:
    assert DrawKey(7, "host").derive("ids").draw(3) == DrawKey(7, "host").derive("ids").draw(3)


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, (1 << 64) - 1), st.integers(1, 1 << 24))
def test_below_stays_below(seed: int, index: int, limit: int) -> None:
    assert 0 <= DrawKey(seed, "x").below(index, limit) < limit


def test_below_is_uniform() -> None:
    key = DrawKey(5, "below")
    counts = [0] * 10
    for index in range(N):
        counts[key.below(index, 10)] += 1
    chi_squared = sum((count - N / 10) ** 2 / (N / 10) for count in counts)
    assert chi_squared < 27.9  # 9 degrees of freedom, 0.1 %


def test_neighbouring_draws_are_not_correlated() -> None:
    key = DrawKey(6, "pairs")
    above = [key.draw(index) >= PROBABILITY_ONE // 2 for index in range(N)]
    alike = sum(first == second for first, second in pairwise(above))
    assert abs(alike / (N - 1) - 0.5) < 4 * 0.5 / math.sqrt(N)


@pytest.mark.parametrize("percent", ["0.5%", "10%", "50%", "97%"])
def test_an_event_happens_as_often_as_its_probability_says(percent: str) -> None:
    probability = parse_probability(percent)
    key = DrawKey(4, "event", percent)
    expected = probability / PROBABILITY_ONE
    achieved = sum(key.happens(index, probability) for index in range(N)) / N
    assert abs(achieved - expected) < 4 * math.sqrt(expected * (1 - expected) / N)


def test_never_and_always_are_exact() -> None:
    key = DrawKey(4, "event")
    assert not any(key.happens(index, 0) for index in range(1000))
    assert all(key.happens(index, PROBABILITY_ONE) for index in range(1000))


def test_raising_a_probability_keeps_the_events_that_happened_before() -> None:
    key = DrawKey(4, "paired")
    rare, common = parse_probability("1%"), parse_probability("5%")
    assert all(key.happens(index, common) for index in range(N) if key.happens(index, rare))
