"""The facts of one run -> trace.csv, from which its time-sequence figure is drawn and redrawn without running."""

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.files import write_atomic
from rudp_smtp.experiment.metrics import milliseconds
from rudp_smtp.experiment.plan import Run
from rudp_smtp.experiment.records import Value
from rudp_smtp.experiment.tables import encode_csv
from rudp_smtp.trace import Fact, Sink, SmtpCommand, SmtpContent, SmtpReply, TimerExpired

NAME = "trace.csv"
FACTS_MAX = 100_000  # a trace is for looking at: of a long run its beginning is kept

COLUMNS = {  # a fact's field -> its column
    "time": "time_ms",
    "host": "host",
    "connection": "connection",
    "packet_number": "packet_number",
    "size": "size_bytes",
    "is_ack_eliciting": "is_ack_eliciting",
    "is_retransmission": "is_retransmission",
    "is_probe": "is_probe",
    "streams": "streams",
    "trigger": "trigger",
    "smoothed_rtt": "smoothed_rtt_ms",
    "min_rtt": "min_rtt_ms",
    "congestion_window": "congestion_window_bytes",
    "bytes_in_flight": "in_flight_bytes",
    "state": "state",
    "link": "link",
    "index": "index",
    "fate": "fate",
}
UNTABLED = (
    TimerExpired,
    SmtpCommand,
    SmtpReply,
    SmtpContent,
)  # for qlog: a figure has no use for these, nor for fields that are no column
_HEADER = ["run", "seed", "event", *COLUMNS.values()]


class FirstFacts:
    """A sink that keeps the beginning."""

    def __init__(self, limit: int) -> None:
        self.facts: list[Fact] = []
        self._limit = limit

    def emit(self, fact: Fact) -> None:
        if len(self.facts) < self._limit and not isinstance(fact, UNTABLED):
            self.facts.append(fact)


def write_trace(folder: Path, run: Run, simulate: Callable[[Run, Sink], object] = execute) -> Path:
    """Do the run once more, listening, unless the trace that is there is of this very run."""
    if not is_traced(folder, run):
        sink = FirstFacts(FACTS_MAX)
        simulate(run, sink)
        save_trace(folder, run, sink)
    return folder / NAME


def save_trace(folder: Path, run: Run, sink: FirstFacts) -> None:
    write_atomic(folder / NAME, trace_csv(run, sink.facts))


def is_traced(folder: Path, run: Run) -> bool:
    """Whole it is if it is there at all; ours if the header and the first row's key say so."""
    try:
        with (folder / NAME).open(encoding="utf-8") as file:
            return file.readline() == ",".join(_HEADER) + "\n" and file.readline().startswith(f"{run.key},")
    except (OSError, ValueError):
        return False


def trace_csv(run: Run, facts: Sequence[Fact]) -> bytes:
    """A row for each fact in order; a column it does not have is empty."""
    return encode_csv(_HEADER, ([run.key, run.seed, *_cells(fact)] for fact in facts))


def _cells(fact: Fact) -> list[Value]:
    values: dict[str, Value] = {
        field.name: _value(field.name, getattr(fact, field.name)) for field in fields(fact) if field.name in COLUMNS
    }
    event = re.sub(r"(?<!^)(?=[A-Z])", "_", type(fact).__name__).lower()
    return [event, *(values.get(name) for name in COLUMNS)]


def _value(name: str, value: Value | tuple[tuple[int, int, int], ...]) -> Value:
    if isinstance(value, tuple):
        return " ".join(f"{stream}:{start}-{stop}" for stream, start, stop in value)
    if COLUMNS[name].endswith("_ms"):
        assert isinstance(value, int)
        return milliseconds(value)
    return value
