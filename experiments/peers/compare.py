"""Ours beside other people's transports: bulk, a dialogue and one mail on the reference path; a table and a figure.

    python experiments/peers/compare.py [--quick] [--bulk-size SIZE] [--replications N] [--set KEY=VALUE] [--output DIR]

rudp (its default, and with CUBIC), aioquic's QUIC (Reno, CUBIC) and KCP (its two presets, and one that flushes at once)
in the simulator: 20 Mbit/s, 20 ms each way, a drop-tail queue of 100 kB; 0, 1, 5 or 10 % of packets lost each way, or
2 % late by 5 ms. Bulk: median goodput. Dialogue: 20 turns of 48 B out and 64 B back from an open connection, mean /
p95. Mail: 4 KB, from connect to the final 250, median / p95. A KCP connection has no handshake and no encryption;
QUIC's handshake is TLS 1.3. Finished runs are kept and not run again.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from rudp_smtp.experiment.figures import COLOURS, MARKERS, name_panels, save, style
from rudp_smtp.experiment.files import prepare_folder
from rudp_smtp.experiment.statistics import MEDIAN, P95
from rudp_smtp.experiment.study import (
    Row,
    is_complete,
    quantile,
    results_folder,
    run_file,
    settings_of,
    study_arguments,
)

HERE = Path(__file__).parent
LOSS = "network.both.loss.p"
REORDERED = "2 % late"
REORDERING = {"network.both.reorder": "{probability: 2%, hold: 5ms}", f"vary.{LOSS}": "[0%]"}
CONDITIONS = ("0%", "1%", "5%", "10%", REORDERED)
QUICK = {
    "bulk": {"replications": "2", "workload.size": "1MB"},
    "dialogue": {"replications": "10"},
    "mail": {"replications": "10"},
}
NEVER = float("inf")  # later than any other: it was not delivered


@dataclass(frozen=True, slots=True)
class Task:
    """What was asked of the transports, what of a run counts, and how a cell of the table tells it."""

    name: str
    title: str
    unit: str
    metric: str
    scale: float
    tell: Callable[[Sequence[float]], str]
    centre: Callable[[Sequence[float]], float]


def tell_goodput(values: Sequence[float]) -> str:
    return f"{median(values):.2f}"


def tell_mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.2f} / {quantile(values, P95):.2f}"


def tell_median(values: Sequence[float]) -> str:
    return f"{centre(values):.3f} / {quantile(values, P95):.3f}"


def centre(values: Sequence[float]) -> float:
    return quantile(values, MEDIAN)


TASKS = (
    Task("bulk", "Bulk, goodput", "Mbit/s", "goodput_bps", 1e6, tell_goodput, median),
    Task("dialogue", "Dialogue of 20 turns, mean / p95", "s", "completion_ms", 1e3, tell_mean, fmean),
    Task("mail", "One 4 KB mail, median / p95", "s", "completion_ms", 1e3, tell_median, centre),
)
Cells = dict[tuple[str, str], list[float]]  # (transport, condition) -> a value for each run


def run(task: Task, options: argparse.Namespace) -> Cells:
    """Run (or resume) a task over both kinds of path."""
    settings = QUICK[task.name] if options.quick else {}
    if task.name == "bulk" and options.bulk_size is not None:
        settings = settings | {"workload.size": options.bulk_size}
    cells: Cells = defaultdict(list)
    for suffix, more in (("", {}), ("-reordered", REORDERING)):
        folder = results_folder(options, f"peers-{task.name}{suffix}")
        for row in run_file(HERE / f"{task.name}.yaml", folder, settings | more | settings_of(options)):
            condition = REORDERED if suffix else row[LOSS]
            cells[label(row), condition].append(value(row, task))
    return cells


def label(row: Row) -> str:
    """A transport's short name: the datagram's size is the same for all."""
    parts = row["transport"].replace("datagram_size=1472B", "").replace("eager_flush=true", "eager")
    name, _, parameters = parts.rstrip(")").partition("(")
    words = [parameter.partition("=")[2] or parameter for parameter in parameters.split()]
    return " ".join([name, *words])


def value(row: Row, task: Task) -> float:
    """A run's value; one that did not deliver everything is worse than any other."""
    if not is_complete(row):
        return 0.0 if task.metric == "goodput_bps" else NEVER
    return float(row[task.metric]) / task.scale


def table(found: dict[str, Cells]) -> Table:
    shown = Table(title="Peers on 20 Mbit/s, RTT 40 ms, in virtual time")
    for heading in ("task", "transport", *CONDITIONS):
        shown.add_column(heading, justify="left" if heading in ("task", "transport") else "right")
    for task in TASKS:
        cells = found[task.name]
        for place, name in enumerate(names(cells)):
            texts = [task.tell(cells[name, condition]) for condition in CONDITIONS]
            shown.add_row("" if place else f"{task.title}, {task.unit}", name, *texts)
        shown.add_section()
    return shown


def names(cells: Cells) -> list[str]:
    return list(dict.fromkeys(name for name, _ in cells))


def draw(found: dict[str, Cells]) -> Figure:
    """A panel for each task: the middle of the runs, with a line over all but the first and the last twentieth."""
    figure = Figure(figsize=(12.0, 5.0), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(TASKS)), TASKS, strict=True):
        draw_panel(axes, found[task.name], task)
    title = "Ours and other people's transports: 20 Mbit/s, RTT 40 ms; lines span p5 to p95 of the runs"
    name_panels(figure, title, len(names(found[TASKS[0].name])))
    return figure


def draw_panel(axes: Axes, cells: Cells, task: Task) -> None:
    shown = names(cells)
    for place, name in enumerate(shown):
        offset = (place - (len(shown) - 1) / 2) * 0.8 / len(shown)
        at = [group + offset for group in range(len(CONDITIONS))]
        runs = [sorted(value for value in cells[name, condition] if value != NEVER) for condition in CONDITIONS]
        low = [values[len(values) // 20] if values else float("nan") for values in runs]
        high = [quantile(values, P95) if values else float("nan") for values in runs]
        middle = [task.centre(values) if values else float("nan") for values in runs]
        axes.vlines(at, low, high, color=COLOURS[place], linewidth=2)
        axes.plot(at, middle, linestyle="none", marker=MARKERS[place], markersize=5, color=COLOURS[place], label=name)
    axes.set_title(task.title.partition(",")[0], fontweight="normal")
    axes.set_ylabel(f"goodput ({task.unit})" if task.metric == "goodput_bps" else f"time ({task.unit})")
    axes.set_xlabel("packets lost each way, or late by 5 ms")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda number, _: f"{number:g}")
    axes.yaxis.set_minor_formatter(lambda number, _: f"{number:g}" if f"{number:.0e}"[0] in "25" else "")
    axes.set_xticks(
        range(len(CONDITIONS)), [condition.replace("%", " %").replace("  ", " ") for condition in CONDITIONS]
    )
    axes.grid(axis="x", visible=False)


def main() -> None:
    parser = study_arguments(__doc__, quick="few runs of smaller transfers")
    parser.add_argument("--bulk-size", help="instead of the file's own")
    options = parser.parse_args()
    found = {task.name: run(task, options) for task in TASKS}
    console = Console(width=150)
    console.print(table(found))
    folder = results_folder(options, "peers-figure")
    prepare_folder(folder)
    with style():
        for path in save(draw(found), folder / "compare"):
            console.print(path)


if __name__ == "__main__":
    main()
