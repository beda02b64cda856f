"""Plan order whatever the executor; nothing finished is lost, whatever stops the rest."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from rudp_smtp.errors import RunFailed
from rudp_smtp.experiment.executor import Serial, open_executor
from rudp_smtp.experiment.records import Record
from rudp_smtp.experiment.runner import Perform, Progress, Runner, describe
from rudp_smtp.experiment.store import Store
from tests.experiment import invented

P = ParamSpec("P")
T = TypeVar("T")

RUNS = invented.runs(replications=4)
EXPECTED = [invented.perform(run) for run in RUNS]


class CtrlC(Serial):
    """Interrupted when the third task is to start."""

    def __init__(self) -> None:
        self.started = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self.started == 2:
            raise KeyboardInterrupt
        self.started += 1
        return super().submit(fn, *args, **kwargs)


class CtrlCWhileSaving(Store):
    """Interrupted once, when the third run is to be stored."""

    saves = 0

    def save(self, record: Record) -> None:
        self.saves += 1
        if self.saves == 3:
            raise KeyboardInterrupt
        super().save(record)


def runner(folder: Path, perform: Perform = invented.perform, reports: list[Progress] | None = None) -> Runner:
    return Runner(Store(folder), report=(reports if reports is not None else []).append, perform=perform)


def no_executor() -> Executor:
    raise AssertionError("all runs are stored: nothing should be started")


@pytest.mark.parametrize("name", ["serial", "local:2"])
def test_records_come_in_plan_order_from_any_executor(tmp_path: Path, name: str) -> None:
    assert runner(tmp_path).run(RUNS, lambda: open_executor(name)) == EXPECTED
    assert len(list(tmp_path.iterdir())) == len(RUNS)


def test_what_is_stored_is_not_run_again(tmp_path: Path) -> None:
    runner(tmp_path).run(RUNS, Serial)
    reports: list[Progress] = []
    again = runner(tmp_path, reports=reports)
    assert again.run(RUNS, no_executor) == EXPECTED
    assert (again.progress.done, again.progress.reused, again.progress.total) == (8, 8, 8)


def test_an_interrupted_plan_goes_on_where_it_stopped(tmp_path: Path) -> None:
    interrupted = runner(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(RUNS, CtrlC)
    assert (interrupted.progress.done, interrupted.progress.total) == (2, 8)
    resumed = runner(tmp_path)
    assert resumed.run(RUNS, Serial) == EXPECTED
    assert resumed.progress.reused == 2


@pytest.mark.parametrize("name", ["serial", "local:2"])
def test_a_run_that_is_being_stored_when_interrupted_is_kept_and_counted(tmp_path: Path, name: str) -> None:
    interrupted = Runner(CtrlCWhileSaving(tmp_path), report=lambda progress: None, perform=invented.perform)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(RUNS, lambda: open_executor(name))
    stored = [run for run in RUNS if Store(tmp_path).load(run.key) is not None]
    assert len(stored) >= 3
    assert interrupted.progress.done == len(stored)


@pytest.mark.parametrize("name", ["serial", "local:2"])
def test_a_run_that_raises_is_named_and_does_not_lose_the_others(tmp_path: Path, name: str) -> None:
    failing = runner(tmp_path, invented.perform_with_a_bug_in_one_run)
    with pytest.raises(RunFailed, match=f"network.both.loss.p=0%, seed {RUNS[1].seed}; .*10%") as caught:
        failing.run(RUNS, lambda: open_executor(name))
    assert isinstance(caught.value.__cause__, AssertionError)
    assert failing.progress.done == 6
    assert runner(tmp_path).run(RUNS, Serial) == EXPECTED


def test_a_run_that_is_in_the_plan_twice_is_run_once(tmp_path: Path) -> None:
    twice = [*RUNS, *RUNS]
    counting = runner(tmp_path)
    assert counting.run(twice, Serial) == [*EXPECTED, *EXPECTED]
    assert counting.progress.total == 8


def test_progress_counts_up_and_tells_rate_and_time_left(tmp_path: Path) -> None:
    reports: list[Progress] = []
    runner(tmp_path, reports=reports).run(RUNS, Serial)
    assert [report.done for report in reports] == [1, 2, 3, 4, 5, 6, 7, 8, 8]
    assert Progress(done=30, total=50, reused=10, seconds=10.0).rate == 2.0
    assert Progress(done=30, total=50, reused=10, seconds=10.0).seconds_left == 10.0
    assert Progress(done=10, total=50, reused=10, seconds=1.0).seconds_left is None


def test_a_run_is_described_by_what_varies_and_its_seed() -> None:
    assert describe(RUNS[0]) == f"network.both.loss.p=0%, seed {RUNS[0].seed}"
