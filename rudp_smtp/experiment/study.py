"""What the studies under experiments/ share: their arguments, running a scenario, reading its tables.

A study draws its own figures and prints its own tables, so unlike `python -m rudp_smtp.experiment` this does neither.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.build import require_machine
from rudp_smtp.experiment.console import progress_reports
from rudp_smtp.experiment.executor import cores_each, open_executor
from rudp_smtp.experiment.files import prepare_folder
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.runner import Runner
from rudp_smtp.experiment.scenario import Scenario, load_scenario, read_setting
from rudp_smtp.experiment.statistics import nearest_rank
from rudp_smtp.experiment.store import Store
from rudp_smtp.experiment.tables import Invocation, Results, write_tables

Row = dict[str, str]


MISUSED = 2


def report_arguments(description: str | None, *, quick: str = "") -> argparse.ArgumentParser:
    """A parser of what every study knows, and of `--quick` if that has a meaning; the study adds its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the results (results/)")
    if quick:
        parser.add_argument("--quick", action="store_true", help=f"for a first look: {quick}")
    return parser


def study_arguments(description: str | None, *, quick: str = "") -> argparse.ArgumentParser:
    """Those and the ones of a study that runs scenario files."""
    parser = report_arguments(description, quick=quick)
    parser.add_argument("--replications", metavar="N", help="of each cell, instead of the files' own number")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="settings", help="change a key in every cell"
    )
    return parser


def end(message: str) -> NoReturn:
    """The study was asked for what it cannot do."""
    sys.stderr.write(f"{message}\n")
    sys.exit(MISUSED)


def settings_of(options: argparse.Namespace) -> dict[str, str]:
    """The keys that the command line sets, whatever the study does."""
    try:
        settings = dict(read_setting(text) for text in options.settings)
    except ConfigError as error:
        end(error.message)
    return settings if options.replications is None else settings | {"replications": options.replications}


def results_folder(options: argparse.Namespace, name: str) -> Path:
    """A first look does not overwrite what took long."""
    output: Path = options.output
    return output / (f"{name}-quick" if getattr(options, "quick", False) else name)


def make_folder(folder: Path) -> Path:
    """For what comes of no scenario alone, or of its facts."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        end(f"cannot make the folder {folder}: {error.strerror}; expected a folder that can be written")
    return folder


def read_scenario(path: Path, settings: Sequence[tuple[str, str]]) -> Scenario:
    """A scenario file with these keys set; end the program if one is wrong."""
    try:
        return load_scenario(path, settings)
    except ConfigError as error:
        end(f"{path}: {error.message}")


def run_file(path: Path, folder: Path, settings: Mapping[str, str]) -> list[Row]:
    """Run (or resume) a scenario file with these keys set, and write its tables; its runs.csv."""
    run_scenario(read_scenario(path, list(settings.items())), folder)
    return read_table(folder / "runs.csv")


def run_scenario(scenario: Scenario, folder: Path) -> Results:
    """Run (or resume) all cells and write the usual tables. What was not delivered is a result like others."""
    try:
        prepare_folder(folder)
        runs = plan(scenario)
        require_machine(runs)
    except ConfigError as error:
        end(f"{scenario.name}: {error.message}")
    console = Console(stderr=True)
    console.print(f"{scenario.name}: {len(runs)} runs, kept in {folder}", highlight=False, markup=False)
    with progress_reports(console) as report:
        runner = Runner(Store(folder / "runs"), report=report)
        cores = cores_each(scenario.driver)
        records = runner.run(runs, lambda: open_executor(scenario.executor, cores_each=cores))
        results = Results(scenario, runs, records)
    write_tables(folder, results, Invocation(sys.argv[1:], runner.progress.reused, runner.progress.seconds))
    return results


def read_table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def is_complete(row: Row) -> bool:
    """Of runs.csv: everything was delivered."""
    return row["stop"] == "done" and row["delivered_count"] == row["messages_count"]


def quantile(values: Sequence[float], share: Fraction) -> float:
    """By nearest rank, of at least one value."""
    found = nearest_rank(values, share)
    assert found is not None
    return found
