"""Who gets how much: two flows share a bottleneck, one of each controller of every pair, each also beside its like.

    python experiments/fairness/pairs.py [--replications N] [--set KEY=VALUE] [--output DIR]

20 Mbit/s, RTT 40 ms, a drop-tail queue of 0.5, 1 and 2 times their product. The second flow starts 2 s after the first;
a quarter of the time they share is left out as warm-up, the 60 s after it are measured. Prints Jain's index, what each
of the two got, how long packets waited in the queue, and the share of them that found it full, as means over the
replications (marked with !: an index below the target); draws the share of the row's controller. Finished runs are
kept and not run again.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from rudp_smtp.experiment.figures import DIVERGING, HeatMap, draw_heat_maps, save, style
from rudp_smtp.experiment.study import Row, read_table, results_folder, run_file, settings_of, study_arguments
from rudp_smtp.units import MILLISECOND, SECOND, parse_duration, parse_rate, parse_size

HERE = Path(__file__).parent
NAME = "fairness-pairs"
QUEUE, OWN, RIVAL = "network.both.queue.limit", "transport.congestion", "rival.transport.congestion"
RATE, DELAY = "network.forward.rate.value", "network.forward.delay.time"
TARGET = 0.9  # TRANSPORT.md section 3: Jain's index beside its like and beside new_reno

Rows = list[Row]
Cells = dict[tuple[str, str, str], dict[str, float]]  # (queue, own, rival) -> mean by column


def run(options: argparse.Namespace) -> Rows:
    """Run (or resume) the scenario; its runs.csv with the forward link's columns of links.csv."""
    folder = results_folder(options, NAME)
    runs = run_file(HERE / "pairs.yaml", folder, settings_of(options))
    forward = [row for row in read_table(folder / "links.csv") if row["direction"] == "forward"]
    return [link | row for row, link in zip(runs, forward, strict=True)]


def means(rows: Rows) -> Cells:
    cells: dict[tuple[str, str, str], Rows] = defaultdict(list)
    for row in rows:
        cells[row[QUEUE], row[OWN], row[RIVAL]].append(row)
    return {cell: mean(found) for cell, found in cells.items()}


def mean(rows: Rows) -> dict[str, float]:
    columns = ("fairness_ratio", "own_share_ratio", "rival_goodput_bps", "queue_delay_mean_ms", "queue_delay_max_ms")
    values = {column: fmean(float(row[column]) for row in rows) for column in columns}
    values["fairness_worst"] = min(float(row["fairness_ratio"]) for row in rows)
    values["full_ratio"] = fmean(int(row["queue_dropped_count"]) / int(row["entered_count"]) for row in rows)
    values["own_goodput_bps"] = fmean(own_goodput(row) for row in rows)
    values["queue_bdp"] = in_bdp(rows[0])
    return values


def own_goodput(row: Row) -> float:
    """Over the same time as the rival's; where that got nothing at all, over the whole run."""
    share, rival = float(row["own_share_ratio"]), float(row["rival_goodput_bps"])
    return rival * share / (1 - share) if share < 1 else float(row["goodput_bps"])


def table(cells: Cells, path: str) -> Table:
    shown = Table(title=f"Two flows on {path}; means after the warm-up")
    headings = ("queue, BDP", "first", "second", "Jain", "worst run", "first Mbit/s", "second Mbit/s")
    for heading in (*headings, "wait ms", "longest ms", "queue full"):
        shown.add_column(heading, justify="left" if heading in ("first", "second") else "right")
    for (_, own, rival), cell in cells.items():
        is_claimed = own == rival or "new_reno" in (own, rival)
        jain = f"{cell['fairness_ratio']:.3f}"
        shown.add_row(
            f"{cell['queue_bdp']:g}",
            own,
            rival,
            f"[bold red]! {jain}[/]" if is_claimed and cell["fairness_ratio"] < TARGET else jain,
            f"{cell['fairness_worst']:.3f}",
            f"{cell['own_goodput_bps'] / 1e6:.2f}",
            f"{cell['rival_goodput_bps'] / 1e6:.2f}",
            f"{cell['queue_delay_mean_ms']:.1f}",
            f"{cell['queue_delay_max_ms']:.1f}",
            f"{cell['full_ratio']:.2%}",
        )
    return shown


def in_bdp(row: Row) -> float:
    """How long the queue is, in products of the path's rate and its two delays."""
    rtt = 2 * parse_duration(row[DELAY])
    return parse_size(row[QUEUE]) * 8 * SECOND / (parse_rate(row[RATE]) * rtt)


def path_label(row: Row) -> str:
    return f"{parse_rate(row[RATE]) / 1e6:g} Mbit/s, RTT {2 * parse_duration(row[DELAY]) / MILLISECOND:g} ms"


def draw(cells: Cells, where: str, path: Path) -> list[Path]:
    """A matrix for each queue."""
    queues, own, rival = (list(dict.fromkeys(key[place] for key in cells)) for place in range(3))
    panels = [
        HeatMap(
            f"queue of {cells[queue, own[0], rival[0]]['queue_bdp']:g} BDP",
            own,
            rival,
            [[cells[queue, row, column]["own_share_ratio"] for column in rival] for row in own],
        )
        for queue in queues
    ]
    head = ("Share of the row's controller beside the column's", f"{where}; means; 50 % is even")
    with style():
        return save(draw_heat_maps(panels, ("first flow", "second flow"), head, DIVERGING), path)


def main() -> None:
    options = study_arguments(__doc__).parse_args()
    rows = run(options)
    cells, where = means(rows), path_label(rows[0])
    console = Console(width=120)
    console.print(table(cells, where))
    paths = draw(cells, where, results_folder(options, NAME) / "shares")
    console.print(f"drawn: {', '.join(map(str, paths))}")


if __name__ == "__main__":
    main()
