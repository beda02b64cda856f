"""The older shape that qvis opens: qlog 0.3, plain JSON, the traces of both hosts in one file.

After draft-ietf-quic-qlog-main-schema-02 and what qvis's loader and its sequence, congestion and multiplexing views
read (`QlogLoaderV2.ts` and the renderers): categories before event names, a frame's length outside of `raw`, an
`error_code` where there now is an `error`, `owner` for `initiator`. A trace is one connection at one host, the client's
before the server's.

Both hosts share a clock, but qvis guesses how far two are apart unless a trace says so itself; hence the server's
`time_offset` of next to nothing, which it takes for an answer.
"""

from collections.abc import Mapping, Sequence

from rudp_smtp.experiment.metrics import milliseconds
from rudp_smtp.experiment.plan import Run
from rudp_smtp.experiment.qlog.events import Event
from rudp_smtp.experiment.qlog.packets import Fields
from rudp_smtp.experiment.qlog.recording import HOSTS
from rudp_smtp.experiment.qlog.sequence import Entry, encode_json, time_of
from rudp_smtp.experiment.runner import identify
from rudp_smtp.workload import SERVER

TIME_OFFSET = "0.000000001"  # ms

_NAMES = {  # the names that changed; others have their category in front
    "quic:recovery_metrics_updated": "recovery:metrics_updated",
    "quic:timer_updated": "recovery:loss_timer_updated",
}
_CATEGORIES = {
    "packet_sent": "transport",
    "packet_received": "transport",
    "packet_dropped": "transport",
    "packets_acked": "transport",
    "parameters_set": "transport",
    "connection_state_updated": "connectivity",
    "mtu_updated": "connectivity",
    "migration_state_updated": "connectivity",
    "congestion_state_updated": "recovery",
    "packet_lost": "recovery",
    "ecn_state_updated": "recovery",
}


def encode_qvis_event(event: Event) -> str:
    """A member of a trace's `events`."""
    return encode_json({"time": milliseconds(event.time), "name": _name(event.name), "data": _data(event.data)})


def qvis_file(run: Run, entries: Mapping[str, Sequence[Entry]], digest: str = "") -> bytes:
    """A run's traces; entries of one time stay in their order. A connection of which a host knows nothing has none.

    `digest` as `identify` has it.
    """
    traces: list[tuple[int, int, str]] = []
    for place, host in enumerate(HOSTS):
        for connection, texts in _by_connection(entries[host]).items():
            traces.append((connection, place, _trace(host, connection, texts)))
    head: Fields = {
        "qlog_version": "0.3",
        "qlog_format": "JSON",
        "title": f"run {run.index}",
        "description": identify(run, digest),
    }
    body = ",\n".join(text for _, _, text in sorted(traces))
    return f'{encode_json(head)[:-1]},"traces":[\n{body}\n]}}\n'.encode()


def _by_connection(entries: Sequence[Entry]) -> dict[int, list[str]]:
    """What is of no connection goes to the host's first."""
    ordered = sorted(entries, key=time_of)
    first = min((connection for _, connection, _ in entries if connection is not None), default=0)
    found: dict[int, list[str]] = {}
    for _, connection, text in ordered:
        found.setdefault(first if connection is None else connection, []).append(text)
    return found


def _trace(host: str, connection: int, texts: Sequence[str]) -> str:
    head: Fields = {
        "title": f"connection {connection} at the {host}",
        "vantage_point": {"name": host, "type": host},
        "configuration": {"time_units": "ms"} | ({"time_offset": TIME_OFFSET} if host == SERVER else {}),
        "common_fields": {"protocol_type": "QUIC", "time_format": "relative", "reference_time": 0},
    }
    events = ",\n".join(texts)
    return f'{encode_json(head)[:-1]},"events":[\n{events}\n]}}'


def _name(name: str) -> str:
    namespace, _, event = name.partition(":")
    if namespace != "quic":
        return name
    return _NAMES.get(name) or f"{_CATEGORIES[event]}:{event}"


def _data(data: Fields) -> Fields:
    older = {"owner" if name == "initiator" else name: value for name, value in data.items()}
    frames = older.get("frames")
    if isinstance(frames, list):
        older["frames"] = [_frame(frame) for frame in frames]
    return older


def _frame(frame: Fields) -> Fields:
    older = {name: value for name, value in frame.items() if name not in ("raw", "error")}
    raw = frame.get("raw")
    if isinstance(raw, dict):
        older["length"] = raw["length"]
    if "error" in frame:
        older.setdefault("error_code", frame["error"])
    return older
