"""Records -> CSV and manifest: fixed column order, units in the names, every row with all parameters and its seed.

The tables are the same bytes for the same plan, on any machine, however its runs were spread or interrupted
(DETERMINISM rule 5). What differs from one invocation to the next is in manifest.json.
"""

import csv
import io
import json
import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from rudp_smtp import __version__
from rudp_smtp.draws import DRAW_SCHEME
from rudp_smtp.experiment.files import write_atomic
from rudp_smtp.experiment.metrics import METRICS
from rudp_smtp.experiment.plan import MODEL_VERSION, Run
from rudp_smtp.experiment.records import LinkRow, MessageRow, Record, Value
from rudp_smtp.experiment.scenario import Scenario, canonical
from rudp_smtp.experiment.statistics import (
    MEDIAN,
    P95,
    P99,
    UNKNOWN,
    Interval,
    Number,
    differences,
    mean,
    mean_interval,
    nearest_rank,
    quantile_interval,
)

SUMMARY_COLUMNS = (
    "metric", "runs_count", "censored_count", "missing_count",
    "mean", "mean_low", "mean_high", "median", "median_low", "median_high",
    "p95", "p95_low", "p95_high", "p99", "p99_low", "p99_high",
)  # fmt: skip
DIFFERENCE_COLUMNS = ("pairs_count", "difference_mean", "difference_mean_low", "difference_mean_high")

Cell = tuple[tuple[str, str], ...]
Row = MessageRow | LinkRow


@dataclass(frozen=True, slots=True)
class Results:
    """A plan and what came of it: `records[i]` belongs to `runs[i]`."""

    scenario: Scenario
    runs: Sequence[Run]
    records: Sequence[Record]

    def by_cell(self) -> dict[Cell, list[Record]]:
        """Plan order, so that the n-th records of two cells are a pair."""
        pairs = zip(self.runs, self.records, strict=True)
        return {cell: [record for _, record in group] for cell, group in groupby(pairs, key=lambda pair: pair[0].cell)}


@dataclass(frozen=True, slots=True)
class Invocation:
    """How the tables came to be this time: for the manifest only."""

    command: Sequence[str]
    reused: int
    seconds: float


def write_tables(folder: Path, results: Results, invocation: Invocation) -> list[Path]:
    """Write every table, then the manifest that vouches for them; their paths."""
    tables = {
        "runs.csv": runs_csv(results),
        "messages.csv": messages_csv(results),
        "links.csv": links_csv(results),
        "summary.csv": summary_csv(results),
    }
    for name, content in tables.items():
        write_atomic(folder / name, content)
    write_atomic(folder / "manifest.json", manifest(results, invocation, tables))
    return [folder / name for name in (*tables, "manifest.json")]


def runs_csv(results: Results) -> bytes:
    """A row for each run: its parameters, its seed, every metric."""
    prefix = _Prefix(results)
    rows = [
        [
            *prefix.values(run, record),
            record.stop,
            record.invalid,
            record.notes,
            *(record.metrics[metric] for metric in METRICS.names()),
        ]
        for run, record in zip(results.runs, results.records, strict=True)
    ]
    return encode_csv([*prefix.columns, "stop", "invalid", "notes", *METRICS.names()], rows)


def messages_csv(results: Results) -> bytes:
    """A row for each message of each run."""
    return _inner_rows_csv(results, MessageRow, lambda record: record.messages)


def links_csv(results: Results) -> bytes:
    """A row for each run and direction."""
    return _inner_rows_csv(results, LinkRow, lambda record: record.links)


def _inner_rows_csv(results: Results, kind: type[Row], rows_of: Callable[[Record], Sequence[Row]]) -> bytes:
    """The rows of one kind inside each record, behind what every row begins with.

    A column that came later is there only where some row has something to say in it.
    """
    prefix = _Prefix(results)
    inner = [row for record in results.records for row in rows_of(record)]
    columns = [
        item.name
        for item in fields(kind)
        if not item.metadata.get("unsaid") or any(getattr(row, item.name) is not None for row in inner)
    ]
    rows = []
    for run, record in zip(results.runs, results.records, strict=True):
        values = prefix.values(run, record)
        rows += [[*values, *(getattr(row, column) for column in columns)] for row in rows_of(record)]
    return encode_csv([*prefix.columns, *columns], rows)


class _Prefix:
    """What every row begins with: the varied keys in the file's order, every other parameter, the run and its seed."""

    def __init__(self, results: Results) -> None:
        self.varied = [axis.key for axis in results.scenario.axes]
        parameters = {key for record in results.records for key in record.parameters}
        self.others = sorted(parameters.difference(self.varied))
        self._driver = results.scenario.driver
        self.columns = [*self.varied, *self.others, "driver", "replication", "seed"]

    def of_cell(self, cell: Cell, record: Record) -> list[Value]:
        varied = dict(cell)
        others = [record.parameters.get(key) for key in self.others]
        return [*(varied[key] for key in self.varied), *others, self._driver]

    def values(self, run: Run, record: Record) -> list[Value]:
        return [*self.of_cell(run.cell, record), run.replication, run.seed]


def summary_csv(results: Results) -> bytes:
    """A row for each cell and metric: over its runs, quantiles by nearest rank, each with its 95 % interval.

    A run that has no value, because it was stopped before, counts as greater than any other in quantiles and leaves
    the mean unknown: it is never dropped.
    """
    prefix = _Prefix(results)
    cells = results.by_cell()
    baselines = _baselines(results.scenario, cells)
    rows = []
    for cell, records in cells.items():
        for metric in METRICS.names():
            values = [record.metrics[metric] for record in records]
            row = [*prefix.of_cell(cell, records[0]), metric, len(values)]
            row += [sum(record.is_censored for record in records), values.count(None), *_statistics(values)]
            if baselines:
                row += _difference(values, [record.metrics[metric] for record in cells[baselines[cell]]])
            rows.append(row)
    columns = [*prefix.varied, *prefix.others, "driver", *SUMMARY_COLUMNS]
    return encode_csv([*columns, *(DIFFERENCE_COLUMNS if baselines else ())], rows)


def _statistics(values: Sequence[Number | None]) -> list[Value]:
    row: list[Value] = []
    known = [value for value in values if value is not None]
    is_whole = len(known) == len(values)
    row += [mean(known) if is_whole else None, *_bounds(mean_interval(known) if is_whole else UNKNOWN)]
    ranked = [math.inf if value is None else value for value in values]
    for share in (MEDIAN, P95, P99):
        row += [_finite(nearest_rank(ranked, share)), *_bounds(quantile_interval(ranked, share))]
    return row


def _difference(values: Sequence[Number | None], baseline: Sequence[Number | None]) -> list[Value]:
    paired = differences(values, baseline)
    return [len(paired), mean(paired), *_bounds(mean_interval(paired))]


def _baselines(scenario: Scenario, cells: Mapping[Cell, object]) -> dict[Cell, Cell]:
    """For each cell the one it is compared to: the same but for the varied keys the baseline fixes."""
    if scenario.compare is None:
        return {}
    fixed = dict(scenario.compare.baseline)
    return {cell: tuple((key, fixed.get(key, value)) for key, value in cell) for cell in cells}


def _bounds(interval: Interval) -> tuple[Value, Value]:
    return _finite(interval.low), _finite(interval.high)


def _finite(value: Number | None) -> Number | None:
    return None if value is None or math.isinf(value) else value


def encode_csv(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> bytes:
    """UTF-8 with LF; whole numbers raw, floats by repr (they were rounded once already), nothing for None."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_field(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")  # a file name need not be text


def _field(value: Value) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value + 0.0)  # -0.0 is 0.0
        case _:
            return str(value)


def manifest(results: Results, invocation: Invocation, tables: Mapping[str, bytes]) -> bytes:
    """The resolved scenario and its hash, versions, and how this invocation went."""
    scenario = results.scenario.document()
    document = {
        "scenario": scenario,
        "scenario_sha256": sha256(canonical(scenario).encode()).hexdigest(),
        "versions": {
            "rudp_smtp": __version__,
            "model": MODEL_VERSION,
            "draws": DRAW_SCHEME,
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            **{package: version(package) for package in ("numpy", "matplotlib")},
        },
        "command": list(invocation.command),
        "runs": {
            "total": len(results.runs),
            "reused": invocation.reused,
            "censored": sum(record.is_censored for record in results.records),
            "invalid": sum(bool(record.invalid) for record in results.records),
        },
        "wall_seconds": round(invocation.seconds, 3),
        "sha256": {name: sha256(content).hexdigest() for name, content in tables.items()},
    }
    return (json.dumps(document, indent=2) + "\n").encode()
