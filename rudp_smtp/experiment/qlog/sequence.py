"""The current shape: one JSON text sequence (RFC 7464) for each host (draft-ietf-quic-qlog-main-schema-14).

A file has one trace, as the draft wants of a `.sqlog`. Time 0 is the beginning of the run at both hosts, whose clocks
are one. Where a host had several connections each event says which in its `group_id`; of no connection is what came
before there was one.
"""

import json
from collections.abc import Sequence

from rudp_smtp.experiment.metrics import milliseconds
from rudp_smtp.experiment.plan import Run
from rudp_smtp.experiment.qlog.events import Event
from rudp_smtp.experiment.qlog.packets import Fields
from rudp_smtp.experiment.runner import describe, identify

RECORD_SEPARATOR = "\x1e"
FILE_SCHEMA = "urn:ietf:params:qlog:file:sequential"
# Ours have a name and a month in them, as the draft wants of private schemas; `example` is nobody's (RFC 2606).
EVENT_SCHEMAS = [
    "urn:ietf:params:qlog:events:quic-13",
    "urn:ietf:params:qlog:events:simulation",
    "https://rudp-smtp.example/112026/qlog/rudp",
    "https://rudp-smtp.example/112026/qlog/link",
    "https://rudp-smtp.example/112026/qlog/smtp",
]

Entry = tuple[int, int | None, str]  # an event's time, its connection, and its record as far as `encode_event` goes


def encode_json(fields: Fields) -> str:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)


def encode_event(event: Event) -> str:
    """The record but for its group and its last brace."""
    return encode_json({"time": milliseconds(event.time), "name": event.name, "data": event.data})[:-1]


def sequential_file(run: Run, host: str, entries: Sequence[Entry], digest: str = "") -> bytes:
    """A host's log; entries of one time stay in their order. `digest` as `identify` has it."""
    connections = {connection for _, connection, _ in entries if connection is not None}
    common: Fields = {
        "time_format": "relative_to_epoch",
        "reference_time": {"clock_type": "monotonic", "epoch": "unknown"},
    }
    if len(connections) <= 1:
        common["group_id"] = str(min(connections, default=0))
    scenario = Event(0, None, "simulation:scenario", {"name": describe(run), "details": run.parameters()})
    records = [encode_json(_header(run, host, digest) | {"trace": _trace(host, common)}), encode_event(scenario) + "}"]
    for _, connection, text in sorted(entries, key=time_of):
        is_grouped = len(connections) > 1 and connection is not None
        records.append(f'{text},"group_id":"{connection}"}}' if is_grouped else text + "}")
    return "".join(f"{RECORD_SEPARATOR}{record}\n" for record in records).encode()


def time_of(entry: Entry) -> int:
    return entry[0]


def _header(run: Run, host: str, digest: str) -> Fields:
    return {
        "file_schema": FILE_SCHEMA,
        "serialization_format": "application/qlog+json-seq",
        "title": f"run {run.index} at the {host}",
        "description": identify(run, digest),
    }


def _trace(host: str, common: Fields) -> Fields:
    return {
        "vantage_point": {"name": host, "type": host},
        "event_schemas": EVENT_SCHEMAS,
        "common_fields": common,
    }
