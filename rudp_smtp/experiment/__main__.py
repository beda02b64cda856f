"""Arguments and exit codes: python -m rudp_smtp.experiment configs/loss10.yaml.

Exit status: 0 everything was delivered, 1 it ran but something was not, 2 bad input, 130 interrupted, 141 nobody
reads the output. Only argparse is imported at once: `--help` must not wait for numpy.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rudp_smtp import __version__
from rudp_smtp.errors import ConfigError, DriverError, RunFailed

if TYPE_CHECKING:
    from rudp_smtp.experiment.plan import Run
    from rudp_smtp.experiment.runner import Perform, Runner
    from rudp_smtp.experiment.scenario import Scenario
    from rudp_smtp.experiment.store import Store
    from rudp_smtp.experiment.tables import Results

OK, INCOMPLETE, BAD_INPUT, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141

DESCRIPTION = """Run a scenario: every cell of its grid times its replications, spread over the cores. Finished runs are
kept, so the same command goes on after an interruption. Writes CSV tables, a manifest and figures."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m rudp_smtp.experiment", description=DESCRIPTION)
    configure(parser)
    return run(parser.parse_args(arguments), sys.argv[1:] if arguments is None else arguments)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that `run` obeys."""
    add = parser.add_argument
    add("scenario", type=Path, help="the scenario file, such as configs/loss10.yaml")
    add("--fresh", action="store_true", help="forget the stored runs of this plan and run them again")
    add("--replications", metavar="N", help="runs for each cell, instead of the scenario's number")
    add("--seed", metavar="N", help="instead of the scenario's seed")
    add("--set", metavar="KEY=VALUE", action="append", default=[], dest="settings", help="change any dotted key")
    add("--output", metavar="DIR", type=_folder, help="where to write (default: results/NAME)")
    add("--workers", metavar="N", type=_positive, help="processes (default: the scenario's executor)")
    add("--capture", metavar="DIR", type=_folder, help="write each cell's first run as a pcapng file there")
    add("--qlog", metavar="DIR", type=_folder, help="write every run as each host saw it there, as qlog (.sqlog)")
    add("--qvis", metavar="DIR", type=_folder, help="write every run there as the older qlog that qvis opens (.qlog)")
    add("--export-fate", metavar="DIR", type=_folder, help="write each run as a scenario there that replays it exactly")
    add("--list", action="store_true", dest="only_list", help="print what would run, and stop")
    add("--schema", action=_PrintSchema, nargs=0, help="print the JSON Schema of a scenario file, and stop")
    add("--version", action="version", version=f"rudp_smtp {__version__}")


class _PrintSchema(argparse.Action):
    """Like --version: needs no scenario."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        import json

        from rudp_smtp.experiment.json_schema import scenario_schema

        try:
            print(json.dumps(scenario_schema(), indent=2))
            sys.stdout.flush()
        except BrokenPipeError:
            parser.exit(_leave_unread())
        parser.exit()


def _leave_unread() -> int:
    """Whoever read our output has seen enough, as `| head` has: the exit status for it."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for what is still flushed at exit
    return UNREAD


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("'' is not the name of a folder")
    return Path(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Do what the arguments say, parsed and as they were given; the exit status."""
    command = _Command(options, arguments)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is made has to be removed then too
    try:
        status = command.list_runs() if options.only_list else command.run()
        sys.stdout.flush()
        return status
    except ConfigError as error:
        place = f"{error.key}: " if error.key and error.key not in error.message else ""
        print(f"{place}{error.message}", file=sys.stderr)
        return BAD_INPUT
    except DriverError as error:
        print(error, file=sys.stderr)
        return INCOMPLETE
    except RunFailed as error:
        command.tell_failure(error)
        return INCOMPLETE
    except BrokenPipeError:
        return _leave_unread()
    except KeyboardInterrupt:
        command.tell_interruption()
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


class _Command:
    """One invocation."""

    def __init__(self, options: argparse.Namespace, arguments: Sequence[str]) -> None:
        self._options = options
        self._arguments = arguments
        self._runner: Runner | None = None
        self._folder = Path()

    def list_runs(self) -> int:
        from rudp_smtp.experiment.console import Output, listing, print_whole
        from rudp_smtp.experiment.store import Store

        scenario, runs = self._plan()
        store = Store(self._folder / "runs")
        cells: dict[str, list[bool]] = {}
        for planned in runs:
            cells.setdefault(planned.cell_label or scenario.name, []).append(store.load(planned.key) is not None)
        print_whole(listing([(cell, len(stored), sum(stored)) for cell, stored in cells.items()]), Output())
        total = sum(sum(stored) for stored in cells.values())
        print(f"{scenario.name}: {len(runs) - total} of {len(runs)} runs to do; output in {self._folder}")
        return OK

    def run(self) -> int:
        from rich.console import Console

        from rudp_smtp.experiment.build import clear_machine, require_machine
        from rudp_smtp.experiment.console import progress_reports
        from rudp_smtp.experiment.executor import cores_each, interrupts_held, open_executor
        from rudp_smtp.experiment.files import prepare_folder
        from rudp_smtp.experiment.runner import Runner
        from rudp_smtp.experiment.store import Store
        from rudp_smtp.experiment.tables import Results

        scenario, runs = self._plan()
        require_machine(runs)
        prepare_folder(self._folder)
        self._prepare_recordings(scenario)
        store = Store(self._folder / "runs")
        if self._options.fresh:
            store.discard(planned.key for planned in runs)
        with progress_reports(Console(stderr=True)) as report:
            self._runner = Runner(store, report=report, perform=self._performance(runs, store))
            workers = self._options.workers
            cores = cores_each(scenario.driver)
            try:
                records = self._runner.run(runs, lambda: open_executor(scenario.executor, workers, cores_each=cores))
            except KeyboardInterrupt:
                with interrupts_held():
                    clear_machine(runs)
                raise
        self._record_every_run(scenario, runs)
        return self._finish(Results(scenario, runs, records))

    def _plan(self) -> tuple["Scenario", list["Run"]]:
        from rudp_smtp.experiment.plan import plan
        from rudp_smtp.experiment.scenario import load_scenario, read_setting

        options = self._options
        settings = [read_setting(text) for text in options.settings]
        settings += [(key, value) for key in ("replications", "seed") if (value := getattr(options, key)) is not None]
        scenario = load_scenario(options.scenario, settings)
        self._folder = options.output if options.output is not None else Path("results") / scenario.name
        return scenario, plan(scenario)

    def _performance(self, runs: Sequence["Run"], store: "Store") -> "Perform":
        """How to do a run. It is the first whose trace is drawn, and a live one can only be recorded while it runs.

        So a live one that is stored without what is wanted of it now is done anew.
        """
        from functools import partial

        from rudp_smtp.experiment.recordings import Recordings, perform_recorded
        from rudp_smtp.experiment.runner import perform

        first, options = runs[0], self._options
        if first.driver == "sim":
            return perform
        recordings = Recordings(self._folder, first.key, options.capture, options.qlog, options.qvis)
        store.discard(recordings.lacking(runs, store))
        return partial(perform_recorded, recordings)

    def _finish(self, results: "Results") -> int:
        from rudp_smtp.experiment.console import Output, print_whole, problems, summary_table
        from rudp_smtp.experiment.figures import draw_figures
        from rudp_smtp.experiment.tables import Invocation, write_tables
        from rudp_smtp.experiment.trace_table import write_trace

        assert self._runner is not None
        progress = self._runner.progress
        invocation = Invocation(self._arguments, progress.reused, progress.seconds)
        paths = write_tables(self._folder, results, invocation)
        paths += [write_trace(self._folder, results.runs[0]), *draw_figures(self._folder)]
        self._capture(results.runs)
        self._export_fate(results)
        times = f"{progress.reused} of them stored before, {progress.seconds:.1f} s"
        print(f"{results.scenario.name}: {progress.total} runs, {times}")
        print_whole(summary_table(results), Output())
        print(f"in {self._folder}: {', '.join(path.name for path in paths)}")
        incomplete = problems(results)
        if incomplete:
            print("not everything was delivered:", *incomplete, sep="\n  ", file=sys.stderr)
        return INCOMPLETE if incomplete else OK

    def _prepare_recordings(self, scenario: "Scenario") -> None:
        """Before any run starts, as the results folder is."""
        from rudp_smtp.experiment.files import prepare_folder

        if self._options.export_fate is not None and scenario.driver != "sim":
            text = f"driver {scenario.driver} cannot be exported here; expected driver: sim"
            raise ConfigError(text, key="--export-fate")
        for option in ("capture", "qlog", "qvis", "export-fate"):
            folder: Path | None = getattr(self._options, option.replace("-", "_"))
            if folder is not None:
                prepare_folder(folder, key=f"--{option}", inner="")

    def _record_every_run(self, scenario: "Scenario", runs: Sequence["Run"]) -> None:
        """Do every simulated run once more, listening, as widely spread as the first time: no events are stored."""
        from functools import partial

        from rich.console import Console

        from rudp_smtp.experiment.console import progress_reports
        from rudp_smtp.experiment.executor import open_executor
        from rudp_smtp.experiment.qlog.recorder import record_run
        from rudp_smtp.experiment.runner import Runner

        options = self._options
        if scenario.driver != "sim" or (options.qlog is None and options.qvis is None):
            return
        with progress_reports(Console(stderr=True)) as report:
            recorder = Runner(None, report=report, perform=partial(record_run, qlog=options.qlog, qvis=options.qvis))
            recorder.run(runs, lambda: open_executor(scenario.executor, options.workers))

    def _capture(self, runs: Sequence["Run"]) -> None:
        """Do each cell's first run once more, if simulated, with every host watched: stored runs have no packets."""
        from rudp_smtp.drivers.capture import Capture
        from rudp_smtp.experiment.build import execute
        from rudp_smtp.experiment.files import write_atomic
        from rudp_smtp.experiment.recordings import capture_path

        if (folder := self._options.capture) is None:
            return
        for planned in runs:
            if planned.driver == "sim" and planned.replication == 0:
                capture = Capture()
                execute(planned, watcher=capture)
                write_atomic(capture_path(folder, planned), capture.octets())

    def _export_fate(self, results: "Results") -> None:
        """Do every run once more, with its links watched."""
        from rudp_smtp.experiment.export import export_fate

        if (folder := self._options.export_fate) is None:
            return
        for planned in results.runs:
            export_fate(planned, f"{results.scenario.name}-run{planned.index:05}", folder)
        count = len(results.runs)
        print(
            f"in {folder}: "
            + ("a scenario that replays this run" if count == 1 else f"{count} scenarios that replay these runs")
        )

    def tell_interruption(self) -> None:
        if self._runner is None:
            print("interrupted before the first run", file=sys.stderr)
            return
        progress = self._runner.progress
        again = "the same command without --fresh" if self._options.fresh else "the same command"
        done = f"{progress.done} of {progress.total} runs are finished and kept in {self._folder / 'runs'}"
        print(f"interrupted: {done}; {again} goes on from there", file=sys.stderr)

    def tell_failure(self, error: RunFailed) -> None:
        import traceback

        assert self._runner is not None
        assert error.__cause__ is not None
        traceback.print_exception(error.__cause__)
        print(f"{error}; {self._runner.progress.done} finished runs are kept", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
