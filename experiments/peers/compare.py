"""Ours beside other people's transports: bulk, a dialogue and one mail on the reference path; a table and a figure.

    python experiments/peers/compare.py [--live] [--quick] [--bulk-size SIZE] [--replications N] [--set KEY=VALUE]
                                        [--output DIR]

rudp (its default, and with CUBIC), aioquic's QUIC (Reno, CUBIC) and KCP (its two presets, and one that flushes at once)
in the simulator: 20 Mbit/s, 20 ms each way, a drop-tail queue of 100 kB; 0, 1, 5 or 10 % of packets lost each way, or
2 % late by 5 ms. Bulk: median goodput. Dialogue: 20 turns of 48 B out and 64 B back from an open connection, mean /
p95. Mail: 4 KB, from connect to the final 250, median / p95. A KCP connection has no handshake and no encryption;
QUIC's handshake is TLS 1.3. Finished runs are kept and not run again.

`--live` is the same in real time, over two network namespaces (root): rudp, the kernel's TCP (CUBIC, BBR), QUIC, KCP.
Then it says whether what runs in both times agrees within 10 %, and how the kernel's TCP stands to what was measured of
it elsewhere (TRANSPORT.md section 2). Runs that the machine made invalid are left out and counted.
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
from rudp_smtp.experiment.statistics import MEDIAN, P95
from rudp_smtp.experiment.study import (
    Row,
    is_complete,
    make_folder,
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
# Fewer and smaller than in virtual time: CUBIC at 10 % takes half a minute for 2 MB.
LIVE = {"bulk": ("3", "2MB"), "dialogue": ("20", None), "mail": ("20", None)}
LIVE_QUICK = {"bulk": ("1", "500kB"), "dialogue": ("3", None), "mail": ("3", None)}
SIMULATED = (
    "{name: rudp}",
    "{name: quic, congestion: cubic, datagram_size: 1472B}",
    "{name: kcp, preset: turbo, datagram_size: 1472B}",
    "{name: kcp, preset: turbo, eager_flush: true, datagram_size: 1472B}",
)
KERNEL = ("{name: tcp, congestion: cubic}", "{name: tcp, congestion: bbr}")
AGREEMENT = 0.10  # stated before the first comparison
# TRANSPORT.md section 2, by condition: median goodput in Mbit/s, mean time of the dialogue in s.
MEASURED_ELSEWHERE = {
    ("bulk", "tcp cubic"): (19.0, 2.9, 1.05, 0.53, 18.7),
    ("bulk", "tcp bbr"): (19.0, 18.4, 17.3, 15.9, 18.7),
    ("dialogue", "tcp cubic"): (0.82, 0.91, 1.31, 2.21),
}
QUICK = {"bulk": ("2", "1MB"), "dialogue": ("10", None), "mail": ("10", None)}  # replications, size
INVALID = "invalid"  # the name that such runs are counted under
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


@dataclass(frozen=True, slots=True)
class Mode:
    """In which time, and what: the files' own transports if none are named."""

    suffix: str
    settings: dict[str, str]
    plans: dict[str, tuple[str | None, str | None]]  # by task: replications and size, the files' own if None


FILES_OWN: dict[str, tuple[str | None, str | None]] = dict.fromkeys(QUICK, (None, None))


def modes(options: argparse.Namespace) -> dict[str, Mode]:
    """What is to be run: in virtual time, or live and what of that can be virtual too."""
    if not options.live:
        return {"virtual": Mode("", {}, dict(QUICK) if options.quick else FILES_OWN)}
    plans: dict[str, tuple[str | None, str | None]] = dict(LIVE_QUICK if options.quick else LIVE)
    live = {"driver": "netns", "executor": "serial", "vary.transport": f"[{', '.join((*KERNEL, *SIMULATED))}]"}
    virtual = {"vary.transport": f"[{', '.join(SIMULATED)}]"}
    return {"live": Mode("-live", live, plans), "virtual": Mode("-virtual", virtual, plans)}


def run(task: Task, mode: Mode, options: argparse.Namespace) -> Cells:
    """Run (or resume) a task over both kinds of path; what the machine made invalid is counted under its own name."""
    settings = dict(mode.settings)
    replications, size = mode.plans[task.name]
    if replications is not None:
        settings["replications"] = str(replications)
    if task.name == "bulk" and options.bulk_size is not None:
        size = options.bulk_size
    if size is not None:
        settings["workload.size"] = size
    cells: Cells = defaultdict(list)
    for suffix, more in (("", {}), ("-reordered", REORDERING)):
        folder = results_folder(options, f"peers-{task.name}{suffix}{mode.suffix}")
        for row in run_file(HERE / f"{task.name}.yaml", folder, settings | more | settings_of(options)):
            condition = REORDERED if suffix else row[LOSS]
            if row["invalid"]:
                cells[INVALID, condition].append(1.0)
            else:
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


def table(found: dict[str, Cells], time: str) -> Table:
    shown = Table(title=f"Peers on 20 Mbit/s, RTT 40 ms, in {time} time")
    for heading in ("task", "transport", *CONDITIONS):
        shown.add_column(heading, justify="left" if heading in ("task", "transport") else "right")
    for task in TASKS:
        cells = found[task.name]
        for place, name in enumerate(names(cells)):
            texts = [task.tell(cells[name, condition]) if cells[name, condition] else "-" for condition in CONDITIONS]
            shown.add_row("" if place else f"{task.title}, {task.unit}", name, *texts)
        shown.add_section()
    return shown


def names(cells: Cells) -> list[str]:
    return list(dict.fromkeys(name for name, _ in cells if name != INVALID))


def agreement(live: dict[str, Cells], virtual: dict[str, Cells]) -> Table:
    """The middle of the live runs less that of the virtual ones, as a share of the latter."""
    shown = Table(title=f"Live less virtual, in % of the virtual; more than {AGREEMENT:.0%} is marked")
    for heading in ("task", "transport", *CONDITIONS):
        shown.add_column(heading, justify="left" if heading in ("task", "transport") else "right")
    for task in TASKS:
        for name in names(virtual[task.name]):
            pairs = [(live[task.name][name, c], virtual[task.name][name, c]) for c in CONDITIONS]
            shown.add_row(task.title.partition(",")[0], name, *[_apart(task, *pair) for pair in pairs])
    return shown


def _apart(task: Task, live: Sequence[float], virtual: Sequence[float]) -> str:
    if not live or not virtual:
        return "-"
    return _marked(task.centre(live), task.centre(virtual))


def _marked(value: float, reference: float) -> str:
    if reference in (0.0, NEVER) or value == NEVER:
        return "undelivered"
    share = value / reference - 1
    return f"{share:+.1%}{' !' if abs(share) > AGREEMENT else ''}"


def elsewhere(live: dict[str, Cells]) -> Table:
    """The kernel's TCP here, beside what TRANSPORT.md has of it."""
    shown = Table(title="The kernel's TCP here / elsewhere (TRANSPORT.md section 2)")
    for heading in ("task", "transport", *CONDITIONS):
        shown.add_column(heading, justify="left" if heading in ("task", "transport") else "right")
    for task in TASKS:
        for (of, name), references in MEASURED_ELSEWHERE.items():
            if of != task.name:
                continue
            pairs = zip(CONDITIONS, references, strict=False)  # some were not measured on the last
            middles = [(live[of][name, condition], reference) for condition, reference in pairs]
            texts = [f"{task.centre(runs):.2f} / {reference}" if runs else "-" for runs, reference in middles]
            shown.add_row(f"{task.title.partition(',')[0]}, {task.unit}", name, *texts)
    return shown


def draw(found: dict[str, Cells], time: str) -> Figure:
    """A panel for each task: the middle of the runs, with a line over all but the first and the last twentieth."""
    figure = Figure(figsize=(12.0, 5.0), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(TASKS)), TASKS, strict=True):
        draw_panel(axes, found[task.name], task)
    path = "20 Mbit/s, RTT 40 ms; lines span p5 to p95 of the runs"
    title = f"Ours and other people's transports, in {time} time: {path}"
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
    parser.add_argument("--live", action="store_true", help="in real time, the kernel's TCP among them; needs root")
    options = parser.parse_args()
    results = {name: {task.name: run(task, mode, options) for task in TASKS} for name, mode in modes(options).items()}
    console = Console(width=150)
    time = "real" if options.live else "virtual"
    found = results["live" if options.live else "virtual"]
    console.print(table(found, time))
    if options.live:
        console.print(agreement(found, results["virtual"]))
        console.print(elsewhere(found))
        invalid = sum(len(runs) for cells in found.values() for (name, _), runs in cells.items() if name == INVALID)
        console.print(f"{invalid} runs were invalid and are left out", highlight=False)
    folder = make_folder(results_folder(options, f"peers-figure{'-live' if options.live else ''}"))
    with style():
        for path in save(draw(found, time), folder / "compare"):
            console.print(path)


if __name__ == "__main__":
    main()
