"""The reference path's two tables, for every congestion controller and timer there is.

    python experiments/path/tables.py [--replications N] [--bulk-size SIZE] [--output DIR]

Bulk: median goodput in Mbit/s. Dialogue: 20 turns of 48 B out and 64 B back, mean / p95 in seconds. The path:
20 Mbit/s, 20 ms each way, a drop-tail queue of 100 kB, loss both ways after serialisation. Finished runs are kept and
not run again.
"""

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median

from rich.console import Console
from rich.table import Table

from rudp_smtp.experiment.__main__ import main as run_experiment

HERE = Path(__file__).parent
LOSS = "network.forward.loss.p"
LOSSES = ("0%", "1%", "5%", "10%")

Rows = list[dict[str, str]]


def run(name: str, options: argparse.Namespace) -> Rows:
    """Run (or resume) one scenario; its runs.csv."""
    output = options.output / f"path-{name.replace('_', '-')}"
    arguments = [str(HERE / f"{name}.yaml"), "--output", str(output)]
    if options.replications is not None:
        arguments += ["--replications", str(options.replications)]
    if options.bulk_size is not None and name != "dialogue":
        arguments += ["--set", f"workload.size={options.bulk_size}"]
    status = run_experiment(arguments)
    if status not in (0, 1):
        sys.exit(status)
    with (output / "runs.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def nearest_rank(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1]


def grouped(rows: Rows, key: str, metric: str, scale: float) -> dict[tuple[str, str], list[float]]:
    """(row label, loss) -> the metric of every replication that finished within its limits."""
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        values = cells[row[key], row.get(LOSS) or "0%"]
        if row["stop"] == "done":
            values.append(float(row[metric]) / scale)
    return cells


def bulk_table(bulk: Rows, reordered: Rows) -> Table:
    table = Table(title="Bulk goodput, Mbit/s, median (wire bytes / payload)")
    for heading in ("congestion", *LOSSES, "2 % late by 5 ms"):
        table.add_column(heading, justify="left" if heading == "congestion" else "right")
    key = "transport.congestion.model"
    columns = [(bulk, loss) for loss in LOSSES] + [(reordered, "0%")]
    for name in dict.fromkeys(row[key] for row in bulk):
        cells = []
        for rows, loss in columns:
            goodput = grouped(rows, key, "goodput_bps", 1e6)[name, loss]
            overhead = grouped(rows, key, "wire_overhead_ratio", 1)[name, loss]
            cells.append(f"{median(goodput):.2f} ({1 + median(overhead):.2f})" if goodput else "not finished")
        table.add_row(name, *cells)
    return table


def dialogue_table(rows: Rows) -> Table:
    table = Table(title="A dialogue of 20 turns, seconds, mean / p95")
    for heading in ("timer", *LOSSES):
        table.add_column(heading, justify="left" if heading == "timer" else "right")
    key = "transport.timer.model"
    seconds = grouped(rows, key, "completion_ms", 1e3)
    for name in dict.fromkeys(row[key] for row in rows):
        cells = [seconds[name, loss] for loss in LOSSES]
        table.add_row(name, *(f"{fmean(c):.3f} / {nearest_rank(c, 95):.3f}" if c else "not finished" for c in cells))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, help="of each cell (the files' own number if not given)")
    parser.add_argument("--bulk-size", help="instead of the files' 20MB: smaller is faster and flatters nobody")
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the results (results/)")
    options = parser.parse_args()
    bulk, reordered, dialogue = (run(name, options) for name in ("bulk", "bulk_reordered", "dialogue"))
    console = Console(width=110)
    console.print(bulk_table(bulk, reordered))
    console.print(dialogue_table(dialogue))


if __name__ == "__main__":
    main()
