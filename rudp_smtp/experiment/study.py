"""What the studies under experiments/ share: their arguments, running a scenario, reading one of its tables."""

import argparse
import csv
import sys
from collections.abc import Mapping
from pathlib import Path

from rudp_smtp.experiment.__main__ import INCOMPLETE, OK
from rudp_smtp.experiment.__main__ import main as run_experiment

Row = dict[str, str]


def study_arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows `--output`; the study adds its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the results (results/)")
    return parser


def run_scenario(scenario: Path, folder: Path, settings: Mapping[str, str]) -> None:
    """Run (or resume) it with these keys set; end the program if it cannot be run to its end.

    Runs that did not deliver everything are results like others.
    """
    written = folder / "runs.csv"
    written.unlink(missing_ok=True)  # what is there afterwards is of this call: a run that fails has the same status
    arguments = [str(scenario), "--output", str(folder)]
    for key, value in settings.items():
        arguments += ["--set", f"{key}={value}"]
    status = run_experiment(arguments)
    if status not in (OK, INCOMPLETE) or not written.exists():
        sys.exit(status)


def read_table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
