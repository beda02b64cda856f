"""The reference path's two tables: every congestion controller, timer and textbook transport beside the targets.

    python experiments/path/tables.py [--all] [--bulk-size SIZE] [--replications N] [--set KEY=VALUE] [--output DIR]

Bulk: median goodput in Mbit/s, and in brackets the stream octets sent beyond what the path's own losses make
necessary. Dialogue: 20 turns of 48 B out and 64 B back, mean / p95 in seconds. The path: 20 Mbit/s, 20 ms each way, a
drop-tail queue of 100 kB, loss both ways after serialisation. What is not varied is the default; rows that are the
default throughout are bold. Finished runs are kept and not run again.

`--all` runs every combination of the plug-ins instead, with fewer replications of smaller transfers.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median

from rich.console import Console
from rich.table import Table

from rudp_smtp.ack.policy import ACK_POLICIES
from rudp_smtp.experiment.statistics import P95
from rudp_smtp.experiment.study import (
    Row,
    is_complete,
    quantile,
    results_folder,
    run_file,
    settings_of,
    study_arguments,
)
from rudp_smtp.recovery.loss_detection import LOSS_DETECTORS
from rudp_smtp.transport import TRANSPORTS

HERE = Path(__file__).parent
LOSS = "network.forward.loss.p"
LOSSES = ("0%", "1%", "5%", "10%")
BULK_AXES = ("congestion", "loss_detection", "ack")
DIALOGUE_AXES = ("timer", "redundancy", "loss_detection", "ack")
ALL_BULK = {
    "transport.loss_detection": f"[{', '.join(LOSS_DETECTORS.names())}]",
    "transport.ack": f"[{', '.join(ACK_POLICIES.names())}]",
}

Label = tuple[str, ...]  # the plug-ins of a row, by axis


def run(name: str, options: argparse.Namespace, settings: dict[str, str]) -> list[Row]:
    """Run (or resume) one scenario; its runs.csv."""
    folder = results_folder(options, f"path-{name.replace('_', '-')}{'-all' if options.all else ''}")
    if options.bulk_size is not None and name != "dialogue":
        settings = settings | {"workload.size": options.bulk_size}
    return run_file(HERE / f"{name}.yaml", folder, settings | settings_of(options))


def results(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Every scenario's rows, by its name."""
    if not options.all:
        return {name: run(name, options, {}) for name in ("bulk", "bulk_reordered", "flood", "arq", "dialogue")}
    vary = {f"vary.{key}": values for key, values in ALL_BULK.items()}
    bulk = vary | {"replications": "1", "workload.size": "4MB"}
    return {
        "bulk": run("bulk", options, bulk),
        "bulk_reordered": run("bulk_reordered", options, bulk),
        "flood": run("flood", options, {"replications": "1"}),
        "arq": run("arq", options, {"replications": "1"}),
        "dialogue": run("dialogue", options, vary | {"replications": "50"}),
    }


def label(row: Row, axes: tuple[str, ...]) -> Label:
    return tuple(row[f"transport.{axis}.model"] for axis in axes)


def cells(rows: list[Row], axes: tuple[str, ...]) -> dict[tuple[Label, str], list[Row]]:
    """(label, loss) -> the replications."""
    found: dict[tuple[Label, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[label(row, axes), row.get(LOSS) or "0%"].append(row)
    return found


def default_profile(axes: tuple[str, ...]) -> Label:
    described = TRANSPORTS.describe(TRANSPORTS.spec("rudp"))
    models = []
    for axis in axes:
        plugin = described[axis]
        assert isinstance(plugin, dict)
        models.append(str(plugin["model"]))
    return tuple(models)


def bulk_cell(rows: list[Row]) -> str:
    finished = list(filter(is_complete, rows))
    if not finished:
        return "gave up" if rows else ""
    goodput = median(float(row["goodput_bps"]) for row in finished) / 1e6
    excess = median(float(row["excess_wire_ratio"]) for row in finished)
    return f"{goodput:.2f} ({excess:+.1%}){gave_up(rows, finished)}"


def gave_up(rows: list[Row], finished: list[Row]) -> str:
    """How many were left out of a figure: it stands beside those that are in."""
    return f", {len(rows) - len(finished)} of {len(rows)} gave up" if len(finished) < len(rows) else ""


def bulk_table(rows: dict[str, list[Row]]) -> Table:
    table = Table(title="Bulk goodput, Mbit/s, median (octets sent beyond the necessary)")
    for heading in (*BULK_AXES, *LOSSES, "2 % late by 5 ms"):
        table.add_column(heading, justify="left" if heading in BULK_AXES else "right")
    table.add_row("target", "", "", ">= 19.0", ">= 18.5", ">= 17.4", ">= 16.3", ">= 18.7", style="dim")
    bulk, reordered = cells(rows["bulk"] + rows["flood"], BULK_AXES), cells(rows["bulk_reordered"], BULK_AXES)
    default = default_profile(BULK_AXES)
    for name in dict.fromkeys(name for name, _ in (*bulk, *reordered)):
        shown = [bulk_cell(bulk.get((name, loss), [])) for loss in LOSSES]
        shown.append(bulk_cell(reordered.get((name, "0%"), [])))
        table.add_row(*name, *shown, style="bold" if name == default else None)
    for transport in dict.fromkeys(row["transport.name"] for row in rows["arq"]):
        own = [row for row in rows["arq"] if row["transport.name"] == transport]
        shown = [bulk_cell([row for row in own if row[LOSS] == loss]) for loss in LOSSES]
        table.add_row(f"({transport})", "", "", *shown, "")
    return table


def dialogue_cell(rows: list[Row]) -> str:
    finished = list(filter(is_complete, rows))
    if not finished:
        return "gave up"
    seconds = [float(row["completion_ms"]) / 1e3 for row in finished]
    return f"{fmean(seconds):.3f} / {quantile(seconds, P95):.3f}{gave_up(rows, finished)}"


def dialogue_table(rows: list[Row]) -> Table:
    table = Table(title="A dialogue of 20 turns, seconds, mean / p95")
    for heading in (*DIALOGUE_AXES, *LOSSES):
        table.add_column(heading, justify="left" if heading in DIALOGUE_AXES else "right")
    table.add_row("target", "none", "", "", ".80", ".83 / .89", ".92 / 1.10", "1.04 / 1.30", style="dim")
    table.add_row("target", "sparse_duplicate", "", "", ".80", ".81 / .84", ".82 / .88", ".85 / 1.00", style="dim")
    found = cells(rows, DIALOGUE_AXES)
    default = default_profile(DIALOGUE_AXES)
    for name in dict.fromkeys(name for name, _ in found):
        shown = [dialogue_cell(found[name, loss]) for loss in LOSSES]
        table.add_row(*name, *shown, style="bold" if name == default else None)
    return table


def main() -> None:
    parser = study_arguments(__doc__)
    parser.add_argument("--all", action="store_true", help="every combination of the plug-ins")
    parser.add_argument("--bulk-size", help="instead of the files' own: smaller is faster and flatters nobody")
    options = parser.parse_args()
    rows = results(options)
    console = Console(width=150)
    console.print(bulk_table(rows))
    console.print(dialogue_table(rows["dialogue"]))


if __name__ == "__main__":
    main()
