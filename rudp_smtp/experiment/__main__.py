"""Arguments and exit codes: python -m rudp_smtp.experiment configs/loss10.yaml.

Exit status: 0 everything was delivered, 1 it ran but something was not, 2 bad input, 130 interrupted, 141 nobody
reads the output. Only argparse is imported at once: `--help` must not wait for numpy.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rudp_smtp import __version__
from rudp_smtp.errors import ConfigError, DriverError, RunFailed

if TYPE_CHECKING:
    from rudp_smtp.experiment.plan import Run
    from rudp_smtp.experiment.runner import Runner
    from rudp_smtp.experiment.scenario import Scenario
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

        from rudp_smtp.experiment.console import progress_reports
        from rudp_smtp.experiment.executor import open_executor
        from rudp_smtp.experiment.files import prepare_folder
        from rudp_smtp.experiment.runner import Runner
        from rudp_smtp.experiment.store import Store
        from rudp_smtp.experiment.tables import Results

        scenario, runs = self._plan()
        prepare_folder(self._folder)
        for option, folder in (("--capture", self._options.capture), ("--export-fate", self._options.export_fate)):
            if folder is not None:
                _prepare_second_look(scenario, folder, option)
        store = Store(self._folder / "runs")
        if self._options.fresh:
            store.discard(planned.key for planned in runs)
        with progress_reports(Console(stderr=True)) as report:
            self._runner = Runner(store, report=report)
            workers = self._options.workers
            records = self._runner.run(runs, lambda: open_executor(scenario.executor, workers))
        return self._finish(Results(scenario, runs, records))

    def _plan(self) -> tuple["Scenario", list["Run"]]:
        from rudp_smtp.experiment.plan import plan
        from rudp_smtp.experiment.scenario import load_scenario

        options = self._options
        settings = [_setting(text) for text in options.settings]
        settings += [(key, value) for key in ("replications", "seed") if (value := getattr(options, key)) is not None]
        scenario = load_scenario(options.scenario, settings)
        self._folder = options.output if options.output is not None else Path("results") / scenario.name
        return scenario, plan(scenario)

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

    def _capture(self, runs: Sequence["Run"]) -> None:
        """Do the first run of each cell once more, with every host watched: stored runs have no packets."""
        from rudp_smtp.drivers.capture import Capture
        from rudp_smtp.experiment.build import execute
        from rudp_smtp.experiment.files import write_atomic

        if (folder := self._options.capture) is None:
            return
        for planned in runs:
            if planned.replication == 0:
                capture = Capture()
                execute(planned, capture=capture)
                write_atomic(folder / f"run{planned.index:05}.pcapng", capture.octets())

    def _export_fate(self, results: "Results") -> None:
        """Do every run once more, with its links watched."""
        from rudp_smtp.experiment.export import export_fate

        if (folder := self._options.export_fate) is None:
            return
        for planned in results.runs:
            export_fate(planned, f"{results.scenario.name}-run{planned.index:05}", folder)
        print(f"in {folder}: {len(results.runs)} scenarios that replay these runs")

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


def _prepare_second_look(scenario: "Scenario", folder: Path, option: str) -> None:
    """Make the folder for what is found when runs are done once more; before any run starts, as the results folder."""
    if scenario.driver != "sim":
        text = f"driver {scenario.driver} does no run twice alike, to be looked at again; expected driver: sim"
        raise ConfigError(text, key=option)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}", key=option) from error


def _setting(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {text}: expected KEY=VALUE, such as --set network.both.loss.p=5%")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
