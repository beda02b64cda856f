"""What a person reads: progress while runs finish, a short table when all have, and what did not go well."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from rudp_smtp.experiment.records import Record
from rudp_smtp.experiment.runner import Progress, Report, describe
from rudp_smtp.experiment.statistics import MEDIAN, P95, P99, Number, nearest_rank
from rudp_smtp.experiment.tables import Cell, Results

PLAIN_EVERY = 5.0  # seconds between lines where there is no terminal
PLAIN_WIDTH = 160
WIDTH_MAX = 10_000
PROBLEMS_MAX = 10

_HEADINGS = (
    "\ndelivered", "\nrefused", "\nintact", "\ndupl.", "latency\np50 ms", "\np95 ms", "\np99 ms", "goodput\nMbit/s",
    "sent\nagain", "loss\nasked", "loss\nfound",
)  # fmt: skip
_CAPTION = """latency: from hand-over to the final reply, over the messages of all runs
goodput, octets sent again: the median run; loss: of packets, both directions"""


class Output(Console):
    """Standard output. A reader that left is the command's business, not rich's, which would exit on the spot."""

    def __init__(self) -> None:
        super().__init__(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


@contextmanager
def progress_reports(console: Console) -> Iterator[Report]:
    """A bar on a terminal; elsewhere a line every few seconds."""
    if not console.is_terminal:
        yield _PlainLines(console).report
        return
    columns = (BarColumn(bar_width=40), TextColumn("{task.description}"))
    with Bar(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=None)

        def report(progress: Progress) -> None:
            bar.update(task, completed=progress.done, total=progress.total, description=_describe(progress))
            bar.refresh()

        yield report


class _PlainLines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = 0.0

    def report(self, progress: Progress) -> None:
        if progress.seconds - self._last >= PLAIN_EVERY:
            self._last = progress.seconds
            self._console.print(_describe(progress), highlight=False)


def _describe(progress: Progress) -> str:
    left = progress.seconds_left
    time_left = f", {_duration(left)} left" if left is not None and progress.done < progress.total else ""
    return f"{progress.done}/{progress.total} runs, {progress.rate:.1f} runs/s{time_left}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def summary_table(results: Results) -> Table:
    """A row for each cell: delivery first, then what it cost. Without axes it fits a terminal of 80 columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.caption, table.caption_justify, table.caption_style = _CAPTION, "left", "dim"
    for axis in results.scenario.axes:
        table.add_column(f"\n{axis.key}", no_wrap=True)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for cell, records in results.by_cell().items():
        table.add_row(*_values(cell), *_cells(records))
    return table


def print_whole(table: Table, console: Console) -> None:
    """Print it as wide as it is: a terminal may break its lines, but no number is cut short."""
    unbounded = console.options.update_width(WIDTH_MAX)
    console.width = max(console.width, console.measure(table, options=unbounded).maximum)
    console.print(table)


def _values(cell: Cell) -> list[str]:
    return [value for _, value in cell]


def _cells(records: Sequence[Record]) -> list[str]:
    messages = _total(records, "messages_count")
    wanted = [row for record in records for row in record.messages if row.status != "refused"]
    latencies = [math.inf if row.latency_ms is None else row.latency_ms for row in wanted]
    links = [row for record in records for row in record.links]
    judged = sum(row.judged_count for row in links)
    return [
        f"{_total(records, 'delivered_count')}/{messages}",
        str(_total(records, "refused_count")),
        str(_total(records, "intact_count")),
        str(_total(records, "duplicated_count")),
        *(_number(nearest_rank(latencies, share), 1, 0) for share in (MEDIAN, P95, P99)),
        _number(_median(records, "goodput_bps"), 1e6, 2),
        _percent(_median(records, "retransmit_ratio")),
        _percent(
            sum((row.theoretical_loss_ratio or 0) * row.judged_count for row in links) / judged if judged else None
        ),
        _percent(sum(row.lost_count for row in links) / judged if judged else None),
    ]


def _total(records: Sequence[Record], metric: str) -> Number:
    return sum(record.metrics[metric] or 0 for record in records)


def _median(records: Sequence[Record], metric: str) -> Number | None:
    values = [record.metrics[metric] for record in records]
    return nearest_rank([value for value in values if value is not None], Fraction(MEDIAN))


def _number(value: Number | None, scale: float, digits: int) -> str:
    if value is None or math.isinf(value):
        return "-"
    scaled = value / scale
    return f"{scaled:.1g}" if 0 < scaled < 10**-digits else f"{scaled:,.{digits}f}"


def _percent(value: Number | None) -> str:
    return "-" if value is None else f"{value * 100:.1f}%"


def problems(results: Results) -> list[str]:
    """What keeps the exit status from 0: a line for each run that did not deliver everything."""
    lines = []
    for run, record in zip(results.runs, results.records, strict=True):
        faults = _faults(record)
        if faults:
            lines.append(f"{describe(run)}: {', '.join(faults)}")
    if len(lines) > PROBLEMS_MAX:
        more = f"and {len(lines) - PROBLEMS_MAX} more runs: see runs.csv and messages.csv"
        lines = [*lines[:PROBLEMS_MAX], more]
    return lines


def _faults(record: Record) -> list[str]:
    faults = [f"stopped by {record.stop}"] if record.is_censored else []
    total = len(record.messages)
    pending = sum(row.status == "pending" for row in record.messages)
    damaged = sum(row.status == "delivered" and not row.is_intact for row in record.messages)
    refused = [row for row in record.messages if row.status == "refused"]
    faults += [f"{pending} of {total} messages undelivered"] if pending else []
    faults += [f"{damaged} of {total} messages damaged"] if damaged else []
    faults += [f"invalid: {record.invalid}"] if record.invalid else []
    faults += [record.notes] if record.notes else []
    if refused:
        faults.append(f"{len(refused)} of {total} messages refused (first: {refused[0].name}: {refused[0].reply})")
    return faults


def listing(cells: Sequence[tuple[str, int, int]]) -> Table:
    """What would run: (cell, runs, how many of them are stored)."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cell", overflow="fold")
    table.add_column("runs", justify="right")
    table.add_column("stored", justify="right")
    for cell, runs, stored in cells:
        table.add_row(cell, str(runs), str(stored))
    return table
