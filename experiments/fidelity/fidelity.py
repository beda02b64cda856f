"""Does the harness agree with itself? The same runs simulated, over loopback (udp) and over two namespaces (netns).

    python experiments/fidelity/fidelity.py [--drivers udp,netns] [--quick] [--replications N] [--set KEY=VALUE]
                                            [--output DIR]

2 MB of bulk and a dialogue of 20 turns on 20 Mbit/s, 20 ms each way; no losses or 5 %, in order or with 2 % of packets
held back by 5 ms. Tolerance, stated before the first comparison: a live driver's median lies within 5 % or 2 ms of the
simulator's, whichever is larger. Runs that are marked invalid, because the machine was late or the kernel dropped
something, are counted and left out. Exit status 1 where a median is outside. `netns` needs root.

A packet's fate is the same by all three; when it is sent is not, so of two runs with losses one may lose what the other
repeats. Differences are of runs with the same seed, their interval is of the median difference.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from rudp_smtp.experiment.figures import COLOURS, save, style
from rudp_smtp.experiment.files import prepare_folder
from rudp_smtp.experiment.statistics import MEDIAN, Interval, nearest_rank, quantile_interval
from rudp_smtp.experiment.study import Row, results_folder, run_file, settings_of, study_arguments

HERE = Path(__file__).parent
RELATIVE, ABSOLUTE_MS = 0.05, 2.0
LIVE = ("udp", "netns")
LOSS, REORDER = "network.both.loss.p", "network.both.reorder"
QUICK = "5"  # replications


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    title: str
    metric: str


TASKS = (
    Task("bulk", "Bulk, completion", "completion_ms"),
    Task("dialogue", "Dialogue, completion", "completion_ms"),
    Task("dialogue", "Dialogue, one turn", "latency_median_ms"),
)


@dataclass(frozen=True, slots=True)
class Runs:
    """One cell by one driver: a value for each seed whose run may be believed."""

    values: dict[str, float]
    invalid: int

    @property
    def median(self) -> float | None:
        found = nearest_rank(list(self.values.values()), MEDIAN)
        return None if found is None else float(found)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A live driver beside the simulator in one cell."""

    task: Task
    condition: str
    driver: str
    simulated: Runs
    live: Runs

    @property
    def differences(self) -> list[float]:
        both = [seed for seed in self.live.values if seed in self.simulated.values]
        return [self.live.values[seed] - self.simulated.values[seed] for seed in both]

    @property
    def interval(self) -> Interval:
        return quantile_interval(self.differences, MEDIAN)

    @property
    def tolerance(self) -> float:
        return max(RELATIVE * (self.simulated.median or 0.0), ABSOLUTE_MS)

    @property
    def verdict(self) -> str:
        if self.live.median is None or self.simulated.median is None:
            return "no valid run"
        return "agrees" if abs(self.live.median - self.simulated.median) <= self.tolerance else "DIFFERS"


def run(name: str, driver: str, options: argparse.Namespace) -> list[Row]:
    """Run (or resume) a task by one driver; live runs one after the other, or they would make each other late."""
    settings = {"driver": driver, "executor": "local" if driver == "sim" else "serial"}
    if options.quick:
        settings["replications"] = QUICK
    folder = results_folder(options, f"fidelity-{name}-{driver}")
    return run_file(HERE / f"{name}.yaml", folder, settings | settings_of(options))


def gather(rows: Sequence[Row], metric: str) -> dict[str, Runs]:
    """By condition. A run that was not finished has no value, and so no seed here."""
    found: dict[str, Runs] = {}
    for row in rows:
        told = [f"{row[LOSS]} lost" if row[LOSS] != "0%" else "", "2 % late" if row[REORDER] != "none" else ""]
        condition = ", ".join(filter(None, told)) or "no losses"
        runs = found.get(condition, Runs({}, 0))
        if row["invalid"]:
            found[condition] = Runs(runs.values, runs.invalid + 1)
        else:
            values = {row["seed"]: float(row[metric])} if row["stop"] == "done" else {}
            found[condition] = Runs(runs.values | values, runs.invalid)
    return found


def compare(options: argparse.Namespace) -> list[Comparison]:
    drivers = options.drivers.split(",")
    rows = {(name, driver): run(name, driver, options) for name in ("bulk", "dialogue") for driver in ("sim", *drivers)}
    found = []
    for task in TASKS:
        simulated = gather(rows[task.name, "sim"], task.metric)
        live = {driver: gather(rows[task.name, driver], task.metric) for driver in drivers}
        found += [
            Comparison(task, condition, driver, like(runs, live[driver][condition]), live[driver][condition])
            for condition, runs in simulated.items()
            for driver in drivers
        ]
    return found


def like(simulated: Runs, live: Runs) -> Runs:
    """The simulations of the seeds whose live run has a value: an invalid one must not shift a median."""
    return Runs({seed: value for seed, value in simulated.values.items() if seed in live.values}, 0)


def table(found: Sequence[Comparison]) -> Table:
    shown = Table(title="Live beside simulated: medians in ms, their difference with its 95 % interval")
    for heading in ("task", "path", "driver", "simulated", "live", "difference", "interval", "allowed", "runs", ""):
        shown.add_column(heading, justify="left" if heading in ("task", "path", "driver", "") else "right")
    for comparison in found:
        live, simulated = comparison.live, comparison.simulated
        low, high = comparison.interval.low, comparison.interval.high
        shown.add_row(
            comparison.task.title,
            comparison.condition,
            comparison.driver,
            _told(simulated.median),
            _told(live.median),
            "" if live.median is None or simulated.median is None else f"{live.median - simulated.median:+.2f}",
            f"{_told(low, '+')} to {_told(high, '+')}",
            f"{comparison.tolerance:.2f}",
            f"{len(live.values)}" + (f", {live.invalid} invalid" if live.invalid else ""),
            comparison.verdict,
        )
    return shown


def _told(value: float | None, sign: str = "") -> str:
    return "?" if value is None else f"{value:{sign}.2f}"


def draw(found: Sequence[Comparison]) -> Figure:
    """A panel for each task: every run's difference from its simulation, and the band it should lie in by median."""
    figure = Figure(figsize=(12.0, 4.5), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(TASKS)), TASKS, strict=True):
        draw_panel(axes, [comparison for comparison in found if comparison.task == task])
        axes.set_title(task.title, fontweight="normal")
    figure.suptitle(
        "What live runs take longer than simulated ones: single runs, median, and what was allowed",
        x=0.01,
        ha="left",
        fontsize=11,
        fontweight="bold",
    )
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)))
    return figure


def draw_panel(axes: Axes, found: Sequence[Comparison]) -> None:
    conditions = list(dict.fromkeys(comparison.condition for comparison in found))
    drivers = list(dict.fromkeys(comparison.driver for comparison in found))
    for comparison in found:
        driver = drivers.index(comparison.driver)
        place = conditions.index(comparison.condition) + (driver - (len(drivers) - 1) / 2) * 0.3
        label = comparison.driver if comparison.condition == conditions[0] else None
        axes.plot([], [], "_", color=COLOURS[driver], markersize=16, markeredgewidth=2, label=label)
        if comparison.simulated.median is None:
            continue
        share = 100 / comparison.simulated.median
        allowed, shares = comparison.tolerance * share, [value * share for value in comparison.differences]
        axes.vlines(place, -allowed, allowed, color=COLOURS[driver], linewidth=12, alpha=0.15)
        axes.plot([place] * len(shares), shares, ".", color=COLOURS[driver], markersize=4, alpha=0.6)
        middle = nearest_rank(shares, MEDIAN)
        assert middle is not None, "a simulation is there only beside its live run"
        axes.plot(place, middle, "_", color=COLOURS[driver], markersize=16, markeredgewidth=2)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_xticks(range(len(conditions)), [condition.replace(", ", ",\n") for condition in conditions])
    axes.set_ylabel("live less simulated (% of its median)")
    axes.grid(axis="x", visible=False)


def main() -> int:
    parser = study_arguments(__doc__, quick=f"{QUICK} replications")
    parser.add_argument("--drivers", default=",".join(LIVE), help="which to compare with sim (%(default)s)")
    options = parser.parse_args()
    found = compare(options)
    console = Console(width=150)
    console.print(table(found))
    folder = results_folder(options, "fidelity-figure")
    prepare_folder(folder)
    with style():
        for path in save(draw(found), folder / "fidelity"):
            console.print(path)
    return 1 if any(comparison.verdict != "agrees" for comparison in found) else 0


if __name__ == "__main__":
    sys.exit(main())
