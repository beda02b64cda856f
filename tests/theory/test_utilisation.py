"""How much of a line the textbook protocols use: each formula against an interval of 99 % over 30 seeded runs.

`a` is propagation over serialisation time of a frame, p the share of frames lost, W the window in frames. Time is in
frame times. See the protocols' docstrings for the formulas, `rig` for the line.
"""

import pytest

from tests.theory.rig import LINE_RATE, arq, holds, interval_of, is_tight, utilisation

RUNS = 30
TIGHT = 0.05

Cell = tuple[float, int, int]  # p, a, W


def assert_formula(value: float, interval_frames: int, cell: Cell, name: str, **parameters: object) -> None:
    p, a, _ = cell
    transport = arq(name, a, **parameters)
    interval = interval_of(lambda seed: utilisation(transport, a, p, frames=interval_frames, seed=seed), RUNS)
    assert holds(interval, value), f"p, a, W = {cell}: {value:.5f} is not in {interval}"
    assert is_tight(interval, value, TIGHT), f"p, a, W = {cell}: {interval} says little of {value:.5f}"


def stop_and_wait(cell: Cell, effort: int) -> None:
    p, a, _ = cell
    value = (1 - p) / (1 + 2 * a)
    assert_formula(value, effort * 100 * (1 + 2 * a), cell, "stop_and_wait")


def go_back_n_wide(cell: Cell, effort: int) -> None:
    p, a, window = cell
    assert window >= 1 + 2 * a
    value = (1 - p) / (1 + 2 * a * p)
    assert_formula(value, effort * round((1 + 2 * a + 1 / p) * 15), cell, "go_back_n", window=window)


def go_back_n_narrow(cell: Cell, effort: int) -> None:
    """The formula counts every frame of a round trip as W-th part of it, so they have to be spread over it evenly."""
    p, a, window = cell
    assert window < 1 + 2 * a
    value = window * (1 - p) / ((1 + 2 * a) * (1 - p + window * p))
    frames = effort * round((1 + 2 * a) * (1 + 1 / (window * p)) * 15)
    assert_formula(value, frames, cell, "go_back_n", window=window, line_rate=LINE_RATE * window // (1 + 2 * a))


def go_back_n_burst(cell: Cell, effort: int) -> None:
    """A window that leaves at once does better: what is wasted after a loss was sent early in the round trip.

    From one going back to the next (a renewal), G frames get through, geometric with mean (1 - p)/p. They take a round
    trip for each whole window and a frame time for each frame of the last one; the lost frame takes a round trip more.
    """
    p, a, window = cell
    assert window < 1 + 2 * a
    q = 1 - p
    whole = q**window / (1 - q**window)
    last = sum(i * p * q**i for i in range(window)) / (1 - q**window)
    value = q / p / ((1 + 2 * a) * (1 + whole) + last)
    frames = effort * round((1 + 2 * a) * (1 + 1 / (window * p)) * 15)
    assert_formula(value, frames, cell, "go_back_n", window=window)


def selective_repeat(cell: Cell, effort: int) -> None:
    """W frames unacknowledged; numbers for 16 times as many, so that a frame would have to be lost that often in a
    row before the window stood still."""
    p, a, window = cell
    value = min(1, window / (1 + 2 * a)) * (1 - p)
    span = 16 * max(window, 1 + 2 * a)
    assert_formula(value, effort * 40 * (1 + 2 * a), cell, "selective_repeat", window=span, in_flight=window)


@pytest.mark.parametrize("cell", [(0.05, 1, 1), (0.3, 4, 1)], ids=str)
def test_stop_and_wait(cell: Cell) -> None:
    stop_and_wait(cell, effort=1)


@pytest.mark.parametrize(("cell", "effort"), [((0.02, 2, 5), 1), ((0.2, 2, 15), 2), ((0.2, 4, 9), 5)], ids=str)
def test_go_back_n_with_a_window_that_fills_the_path(cell: Cell, effort: int) -> None:
    go_back_n_wide(cell, effort)


@pytest.mark.parametrize("cell", [(0.05, 2, 2), (0.2, 4, 4)], ids=str)
def test_go_back_n_with_a_smaller_window_spread_evenly(cell: Cell) -> None:
    go_back_n_narrow(cell, effort=3)


def test_go_back_n_with_a_smaller_window_sent_at_once() -> None:
    go_back_n_burst((0.2, 4, 4), effort=3)


@pytest.mark.parametrize("cell", [(0.02, 2, 5), (0.2, 4, 9), (0.2, 4, 4), (0.3, 2, 7)], ids=str)
def test_selective_repeat(cell: Cell) -> None:
    selective_repeat(cell, effort=1)


def test_a_window_that_counts_from_the_missing_frame_stalls_selective_repeat() -> None:
    """The formula's own condition is needed: with a window as wide as the path, a repair stops the line."""
    p, a, window = 0.1, 4, 9
    transport = arq("selective_repeat", a, window=window)
    interval = interval_of(lambda seed: utilisation(transport, a, p, frames=400, seed=seed), RUNS)
    assert interval.high is not None
    assert interval.high < 0.8 * (1 - p)


GRID = [(p, a) for p in (0.01, 0.1, 0.3) for a in (1, 4, 16)]


@pytest.mark.sweep
@pytest.mark.parametrize("p_and_a", GRID, ids=str)
def test_every_formula_over_the_grid(p_and_a: tuple[float, int]) -> None:
    p, a = p_and_a
    full = 1 + 2 * a
    effort = round(2 + 50 * p)  # cycles vary the more, the more of them is repair
    stop_and_wait((p, a, 1), effort=3)
    for window in (full, 3 * full):
        go_back_n_wide((p, a, window), effort)
    for window in (full // 3 + 1, full - 1):
        go_back_n_narrow((p, a, window), effort)
        go_back_n_burst((p, a, window), effort)
    for window in (full // 3 + 1, full, 3 * full):
        selective_repeat((p, a, window), effort=3)
