"""RangeSet against the plainest model there is: a set of integers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rudp_smtp.ranges import RangeSet

LIMIT = 60

bounds = st.tuples(st.integers(0, LIMIT - 1), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


class RangesAgainstIntegers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ranges = RangeSet()
        self.model: set[int] = set()

    @rule(bound=bounds)
    def add(self, bound: tuple[int, int]) -> None:
        self.ranges.add(*bound)
        self.model |= set(range(*bound))

    @rule(bound=bounds)
    def subtract(self, bound: tuple[int, int]) -> None:
        self.ranges.subtract(*bound)
        self.model -= set(range(*bound))

    @rule(size=st.integers(1, 5))
    def append_after_the_last(self, size: int) -> None:
        start = max(self.model, default=-1) + 1
        self.ranges.add(start, start + size)
        self.model |= set(range(start, start + size))

    @precondition(lambda self: self.model)
    @rule()
    def pop_first(self) -> None:
        assert self.ranges.first() == next(iter(self.ranges))
        popped = set(range(*self.ranges.pop_first()))
        assert min(self.model) in popped
        assert popped <= self.model
        assert max(popped) + 1 not in self.model
        self.model -= popped

    @rule(bound=bounds)
    def ask_for_a_range(self, bound: tuple[int, int]) -> None:
        asked = set(range(*bound))
        assert self.ranges.covers(*bound) == (asked <= self.model)
        overlap, gaps = self.ranges.overlap(*bound), self.ranges.gaps(*bound)
        assert overlap == list(RangeSet((value, value + 1) for value in asked & self.model))
        assert gaps == list(RangeSet((value, value + 1) for value in asked - self.model))

    @invariant()
    def holds_the_same_integers(self) -> None:
        assert {value for bound in self.ranges for value in range(*bound)} == self.model
        assert {value for value in range(-1, 2 * LIMIT) if value in self.ranges} == {
            value for value in self.model if value < 2 * LIMIT
        }
        assert bool(self.ranges) == bool(self.model)

    @invariant()
    def is_sorted_with_gaps_and_nothing_empty(self) -> None:
        assert all(start < stop for start, stop in self.ranges)
        assert all(first[1] < second[0] for first, second in pairwise(self.ranges))
        assert len(self.ranges) == len(list(self.ranges))

    @invariant()
    def is_what_adding_its_integers_one_by_one_would_give(self) -> None:
        assert self.ranges == RangeSet((value, value + 1) for value in self.model)

    @invariant()
    def its_ends_are_the_extremes(self) -> None:
        if self.model:
            assert self.ranges.largest == max(self.model)
            assert self.ranges.first()[0] == min(self.model)
            assert self.ranges.last()[1] == max(self.model) + 1


TestRangesAgainstIntegers = RangesAgainstIntegers.TestCase


@given(st.lists(bounds), st.integers(0, 10))
def test_descending_gives_the_highest_ranges_first_and_no_more_than_asked(
    added: list[tuple[int, int]], limit: int
) -> None:
    ranges = RangeSet(added)
    assert ranges.descending(limit) == list(ranges)[::-1][:limit]


def test_touching_ranges_become_one() -> None:
    assert list(RangeSet([(0, 5), (10, 15), (5, 10)])) == [(0, 15)]


def test_subtracting_from_the_middle_leaves_both_sides() -> None:
    ranges = RangeSet([(0, 10)])
    ranges.subtract(3, 7)
    assert list(ranges) == [(0, 3), (7, 10)]


def test_equality_is_by_content_and_hashing_is_refused() -> None:
    assert RangeSet([(0, 2), (2, 4)]) == RangeSet([(0, 4)])
    assert RangeSet([(0, 4)]) != RangeSet([(0, 5)])
    assert RangeSet() != [(0, 4)]
    with pytest.raises(TypeError):
        hash(RangeSet())


def test_it_prints_as_it_is_made() -> None:
    assert repr(RangeSet([(3, 5), (0, 1)])) == "RangeSet([(0, 1), (3, 5)])"


@pytest.mark.parametrize("bound", [(5, 5), (5, 4)])
def test_an_empty_range_is_our_own_mistake(bound: tuple[int, int]) -> None:
    with pytest.raises(AssertionError):
        RangeSet().add(*bound)
    with pytest.raises(AssertionError):
        RangeSet().subtract(*bound)
