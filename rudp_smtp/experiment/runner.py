"""list[Run] -> list[Record], in plan order whatever the executor; each finished run is stored at once."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue

from rudp_smtp.errors import DriverError, RunFailed
from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.executor import interrupts_held
from rudp_smtp.experiment.plan import Run
from rudp_smtp.experiment.records import Record, record
from rudp_smtp.experiment.store import Store

AHEAD = 256  # runs handed over and not back yet: several for every core of any machine
NAMED_MAX = 10  # failed runs named in one message
REPORT_EVERY = 0.25  # seconds between reports when no run finishes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it has come. `reused` of the `done` runs were stored before; wall time is for people only."""

    done: int
    total: int
    reused: int
    seconds: float

    @property
    def rate(self) -> float:
        """New runs per second."""
        return (self.done - self.reused) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate else None


Perform = Callable[[Run], Record]
Report = Callable[[Progress], None]


def perform(run: Run) -> Record:
    """What a worker does."""
    return record(execute(run))


class Runner:
    """Runs what is not stored yet; without a store everything. `perform` must be a function of a module, or a partial
    of one: workers find it by its name."""

    def __init__(self, store: Store | None, *, report: Report, perform: Perform = perform) -> None:
        self._store = store
        self._report = report
        self._perform = perform
        self._records: dict[str, Record] = {}
        self._failures: list[tuple[Run, BaseException]] = []
        self._finished: SimpleQueue[Future[Record]] = SimpleQueue()
        self._started = time.monotonic()
        self.progress = Progress(0, 0, 0, 0.0)  # the last reported

    def run(self, runs: Sequence[Run], open_executor: Callable[[], Executor]) -> list[Record]:
        """One record for each run, in order. A run that raises does not stop the others; it is named at the end."""
        self._started = time.monotonic()
        wanted = {run.key: run for run in runs}
        for key in wanted:
            stored = None if self._store is None else self._store.load(key)
            if stored is not None:
                self._records[key] = stored
        self.progress = Progress(len(self._records), len(wanted), len(self._records), 0.0)
        missing = [run for key, run in wanted.items() if key not in self._records]
        if missing:
            self._run_missing(missing, open_executor())
        if self._failures:
            raise self._run_failed()
        return [self._records[run.key] for run in runs]

    def _run_missing(self, missing: list[Run], executor: Executor) -> None:
        pending: dict[Future[Record], Run] = {}
        waiting = iter(missing)
        is_complete = False
        try:
            self._submit(executor, waiting, pending)
            while pending:
                for future in self._next_finished():
                    self._keep(pending[future], future)
                    del pending[future]  # only now: Ctrl-C in between leaves it to the last look below
                self._submit(executor, waiting, pending)
                self._tell()
            is_complete = True
        finally:
            executor.shutdown(cancel_futures=not is_complete)
            for future, run in pending.items():  # after Ctrl-C: what finished meanwhile is kept too
                if future.done() and not future.cancelled() and future.exception() is None:
                    self._keep(run, future)
            self._tell()

    def _submit(self, executor: Executor, waiting: Iterator[Run], pending: dict[Future[Record], Run]) -> None:
        for run in islice(waiting, AHEAD - len(pending)):
            future = executor.submit(self._perform, run)
            pending[future] = run
            with interrupts_held():
                future.add_done_callback(self._finished.put)
            if not self._finished.empty():  # keep and report it first: with a serial executor, before the next starts
                break

    def _next_finished(self) -> Iterator[Future[Record]]:
        """What has finished, after waiting a little for it.

        `concurrent.futures.wait` would hold a lock of every future under way: Ctrl-C while it takes them leaves one
        taken for ever, and the executor can then neither finish that future nor be shut down.
        """
        try:
            yield self._finished.get(timeout=REPORT_EVERY)
            while True:
                yield self._finished.get_nowait()
        except Empty:
            return

    def _keep(self, run: Run, future: Future[Record]) -> None:
        error = future.exception()
        if isinstance(error, BrokenExecutor):
            message = f"a worker process died, perhaps for want of memory, near {describe(run)}; finished runs are kept"
            raise DriverError(message) from error
        if error is not None:
            self._failures.append((run, error))
            return
        if self._store is not None:
            self._store.save(future.result())
        self._records[run.key] = future.result()  # after it is stored: what is counted as done is kept

    def _tell(self) -> None:
        last = self.progress
        seconds = time.monotonic() - self._started
        self.progress = Progress(len(self._records), last.total, last.reused, seconds)
        self._report(self.progress)

    def _run_failed(self) -> RunFailed:
        """Plan order again: which failure came first must not depend on the executor."""
        self._failures.sort(key=lambda failure: failure[0].index)
        named = [describe(run) for run, _ in self._failures[:NAMED_MAX]]
        more = len(self._failures) - len(named)
        runs = "; ".join([*named, f"and {more} more"] if more else named)
        failed = RunFailed(f"{len(self._failures)} runs failed, which is a bug here, not in the scenario: {runs}")
        failed.__cause__ = self._failures[0][1]
        return failed


def identify(run: Run, digest: str = "") -> str:
    """Which run it was; of a live one, which is never the same again, the record's digest says so too."""
    return f"{describe(run)}; key {run.key}" + (f"; record {digest}" if digest else "")


def describe(run: Run) -> str:
    """A run by what it varies, as a person would look it up."""
    return f"{run.cell_label}, seed {run.seed}" if run.cell else f"seed {run.seed}"
