"""How long one mail takes: from connect to the final 250, with and without PIPELINING, redundancy and 0-RTT.

    python experiments/mail/figure.py [--quick] [--replications N] [--set KEY=VALUE] [--output DIR]

4 KB to one recipient over an RTT of 100 ms that loses 0, 1, 5 or 10 % of packets each way, and has no rate limit.
Prints the median, p95 and p99 beside the lower bound, and draws them. Finished runs are kept and not run again.

The bound counts round trips. One for HELLO, whose answer brings the greeting; one for EHLO, unless it rides with HELLO
(0-RTT); one each for MAIL, RCPT and DATA, or one for all three with PIPELINING; one for the mail data, which fits into
the first window, and its 250:

    1 + (0 with 0-RTT, else 1) + (1 with PIPELINING, else 1 + recipients + 1) + 1
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from rudp_smtp.experiment.figures import COLOURS, GREY, MARKERS, name_panels, save, style
from rudp_smtp.experiment.statistics import MEDIAN, P95, P99
from rudp_smtp.experiment.study import (
    Row,
    quantile,
    read_table,
    results_folder,
    run_file,
    settings_of,
    study_arguments,
)

HERE = Path(__file__).parent
LOSS = "network.forward.loss.p"
RTT_MS = 100
MEASURED = "1"  # the second message
QUICK_REPLICATIONS = "40"
WIDTH = 0.8  # of a group, where the next one begins at 1


@dataclass(frozen=True, slots=True)
class Variant:
    pipelining: bool
    redundancy: bool
    early: bool

    @property
    def label(self) -> str:
        extras = [name for name, is_on in (("redundancy", self.redundancy), ("0-RTT", self.early)) if is_on]
        return " and ".join(extras) or "plain"

    @property
    def bound_rtt(self) -> int:
        """The lower bound in round trips, for one recipient."""
        return 1 + (0 if self.early else 1) + (1 if self.pipelining else 3) + 1


VARIANTS = [
    Variant(p, r, e) for p in (True, False) for r, e in ((False, False), (True, False), (False, True), (True, True))
]
Cells = dict[tuple[Variant, str], list[float]]  # milliseconds


def run(options: argparse.Namespace, *, early: bool) -> Cells:
    """Run (or resume) the scenario without or with 0-RTT; what each cell measured."""
    folder = results_folder(options, "mail-0rtt" if early else "mail")
    settings = {key: str(early).lower() for key in ("transport.resumption", "workload.early_ehlo")}
    if options.quick:
        settings["replications"] = QUICK_REPLICATIONS
    run_file(HERE / "mail.yaml", folder, settings | settings_of(options))
    cells: Cells = defaultdict(list)
    for row in read_table(folder / "messages.csv"):
        if row["message"] == MEASURED:
            redundancy = row["transport.redundancy.model"] != "none"
            one = Variant(row["workload.pipelining"] == "true", redundancy, early)
            cells[one, row[LOSS]].append(latency(row))
    return cells


def latency(row: Row) -> float:
    """A mail that never got its 250 counts as later than any other."""
    is_once = (row["status"], row["copies_count"], row["is_intact"]) == ("delivered", "1", "true")
    return float(row["latency_ms"]) if is_once else float("inf")


def quantiles(latencies: Sequence[float]) -> list[float]:
    """Median, p95 and p99."""
    return [quantile(latencies, share) for share in (MEDIAN, P95, P99)]


def table(cells: Cells) -> Table:
    losses = list(dict.fromkeys(loss for _, loss in cells))
    count = min(map(len, cells.values()))
    shown = Table(title=f"Connect to the final 250, ms: median / p95 / p99 of {count} mails; RTT {RTT_MS} ms")
    for heading in ("PIPELINING", "with", "bound", *losses):
        shown.add_column(heading, justify="left" if heading in ("PIPELINING", "with") else "right")
    for one in VARIANTS:
        texts = [" / ".join(f"{value:.0f}" for value in quantiles(cells[one, loss])) for loss in losses]
        shown.add_row(
            "yes" if one.pipelining else "no", one.label, f"{one.bound_rtt * RTT_MS} ({one.bound_rtt} RTT)", *texts
        )
    return shown


def draw(cells: Cells) -> Figure:
    """A panel with PIPELINING and one without; medians, with whiskers to p95 and, thinner, to p99."""
    figure = Figure(figsize=(9.2, 5.0), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, pipelining in zip(panels, (True, False), strict=True):
        draw_panel(axes, cells, [one for one in VARIANTS if one.pipelining is pipelining])
        axes.set_title("with PIPELINING" if pipelining else "one command at a time", fontweight="normal")
        axes.set_xlabel("packets lost each way")
    panels[0].set_ylabel("connect to the final 250 (ms)")
    panels[0].set_ylim(0)
    count = min(map(len, cells.values()))
    title = f"One 4 KB mail over an RTT of {RTT_MS} ms: median, p95 (thick) and p99 (thin) of {count} mails"
    name_panels(figure, title, 3)
    return figure


def draw_panel(axes: Axes, cells: Cells, variants: list[Variant]) -> None:
    losses = list(dict.fromkeys(loss for _, loss in cells))
    step = WIDTH / len(variants)
    for place, one in enumerate(variants):
        offset = (place - (len(variants) - 1) / 2) * step
        at = [group + offset for group in range(len(losses))]
        median, p95, p99 = zip(*(quantiles(cells[one, loss]) for loss in losses), strict=True)
        colour = COLOURS[place]
        axes.vlines(at, p95, p99, color=colour, linewidth=1)
        axes.vlines(at, median, p95, color=colour, linewidth=3)
        axes.plot(at, p99, linestyle="none", marker="_", markersize=7, color=colour)
        axes.plot(
            at, median, linestyle="none", marker=MARKERS[place], markersize=6, color=colour, label=one.label, zorder=3
        )
    for early, line in ((False, "--"), (True, ":")):
        rounds = next(one.bound_rtt for one in variants if one.early is early)
        label = "lower bound with 0-RTT" if early else "lower bound"
        axes.axhline(rounds * RTT_MS, color=GREY, linestyle=line, linewidth=1.2, label=label, zorder=1)
    axes.set_xticks(range(len(losses)), [loss.replace("%", " %") for loss in losses])
    axes.grid(axis="x", visible=False)


def main() -> None:
    options = study_arguments(__doc__, quick=f"{QUICK_REPLICATIONS} replications").parse_args()
    cells = run(options, early=False) | run(options, early=True)
    console = Console(width=130)
    console.print(table(cells))
    with style():
        for path in save(draw(cells), results_folder(options, "mail") / "delivery_time"):
            console.print(path)


if __name__ == "__main__":
    main()
