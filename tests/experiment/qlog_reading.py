"""Reading qlog as a tool would, and what the drafts say must be in an event: their CDDL, as far as we write it."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rudp_smtp.experiment.qlog.packets import Fields

Check = Callable[[object], bool]

PACKET_TYPES = {"initial", "1RTT", "retry", "version_negotiation"}
NUMBERED = {"initial", "1RTT"}


@dataclass(frozen=True, slots=True)
class Log:
    """A sequential file: its header, and its events in the order of the file."""

    header: Fields
    events: list[Fields]

    def named(self, name: str) -> list[Fields]:
        return [data(event) for event in self.events if event["name"] == name]


def read_log(path: Path) -> Log:
    """RFC 7464: a record separator, a JSON text, a line feed."""
    content = path.read_text(encoding="utf-8")
    assert content.startswith("\x1e")
    assert content.endswith("\n")
    header, *events = [json.loads(record) for record in content.split("\x1e")[1:]]
    return Log(header, events)


def data(event: Fields) -> Fields:
    return fields(event["data"])


def fields(value: object) -> Fields:
    assert isinstance(value, dict)
    return value


def members(value: object) -> list[Fields]:
    assert isinstance(value, list)
    return [fields(member) for member in value]


def uint(value: object) -> bool:
    return type(value) is int and value >= 0


def duration(value: object) -> bool:
    return type(value) in (int, float) and isinstance(value, int | float) and value >= 0


def text(value: object) -> bool:
    return isinstance(value, str)


def flag(value: object) -> bool:
    return isinstance(value, bool)


def octets(value: object) -> bool:
    return isinstance(value, str) and value == bytes.fromhex(value).hex()


def one_of(*words: str) -> Check:
    return lambda value: value in words


def mapping(value: object) -> bool:
    return isinstance(value, dict)


def numbers(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(uint, value))


def raw(value: object) -> bool:
    return conforms(fields(value), {}, {"length": uint, "payload_length": uint, "data": octets})


def token(value: object) -> bool:
    return conforms(fields(value), {}, {"raw": raw})


def header(value: object) -> bool:
    given = fields(value)
    is_initial = given["packet_type"] == "initial"
    required = {"packet_type": one_of(*PACKET_TYPES)} | (
        {"packet_number": uint} if given["packet_type"] in NUMBERED else {}
    )
    optional = {"version": octets, "scid": octets, "dcid": octets, "token": token} if is_initial else {}
    return conforms(given, required, optional)


def ranges(value: object) -> bool:
    return isinstance(value, list) and all(
        numbers(pair) and (len(pair) == 1 or (len(pair) == 2 and pair[0] < pair[1])) for pair in value
    )


STREAM: dict[str, Check] = {"stream_id": uint}
ERROR: dict[str, Check] = {"error": text}
FRAMES: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {  # type -> its required fields and its optional ones
    "padding": ({}, {"raw": raw}),
    "ping": ({}, {}),
    "syn": ({}, {}),
    "syn_ack": ({}, {}),
    "ack": ({}, {"ack_delay": duration, "acked_ranges": ranges, "ect0": uint, "ect1": uint, "ce": uint}),
    "reset_stream": (STREAM | ERROR | {"final_size": uint}, {"error_code": uint}),
    "stop_sending": (STREAM | ERROR, {"error_code": uint}),
    "crypto": ({"offset": uint, "raw": raw}, {}),
    "new_token": ({"token": token}, {}),
    "stream": (STREAM, {"offset": uint, "fin": flag, "raw": raw}),
    "max_data": ({"maximum": uint}, {}),
    "max_stream_data": (STREAM | {"maximum": uint}, {}),
    "max_streams": ({"stream_type": one_of("bidirectional"), "maximum": uint}, {}),
    "data_blocked": ({"limit": uint}, {}),
    "stream_data_blocked": (STREAM | {"limit": uint}, {}),
    "streams_blocked": ({"stream_type": one_of("bidirectional"), "limit": uint}, {}),
    "path_challenge": ({}, {"data": octets}),
    "path_response": ({}, {"data": octets}),
    "connection_close": (
        {},
        {"error_space": one_of("transport", "application"), "error": text, "error_code": uint, "reason": text},
    ),
    "ack_frequency": (
        {
            "sequence_number": uint,
            "ack_eliciting_threshold": uint,
            "request_max_ack_delay": duration,
            "reordering_threshold": uint,
        },
        {},
    ),
    "immediate_ack": ({}, {}),
}


def frame(value: object) -> bool:
    given = fields(value)
    required, optional = FRAMES[str(given["frame_type"])]
    return conforms(given, required | {"frame_type": text}, optional)


def frames(value: object) -> bool:
    return isinstance(value, list) and all(map(frame, value))


def versions(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(octets, value))


PACKET: tuple[dict[str, Check], dict[str, Check]] = (
    {"header": header},
    {"frames": frames, "raw": raw, "supported_versions": versions},
)
STATE: tuple[dict[str, Check], dict[str, Check]] = ({"new": text}, {"old": text})
EVENTS: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    "simulation:scenario": ({}, {"name": text, "details": mapping}),
    "quic:packet_sent": (
        PACKET[0],
        PACKET[1] | {"is_mtu_probe_packet": flag, "trigger": one_of("pto_probe")},
    ),
    "quic:packet_received": PACKET,
    "quic:packet_dropped": (
        {},
        {
            "header": header,
            "raw": raw,
            "details": mapping,
            "trigger": one_of("rejected", "unsupported", "invalid", "duplicate", "connection_unknown", "general"),
        },
    ),
    "quic:packets_acked": ({}, {"packet_numbers": numbers}),
    "quic:packet_lost": (
        {},
        {
            "header": header,
            "is_mtu_probe_packet": flag,
            "trigger": one_of("reordering_threshold", "time_threshold", "pto_expired"),
        },
    ),
    "quic:recovery_metrics_updated": (
        {},
        {
            "min_rtt": duration,
            "smoothed_rtt": duration,
            "latest_rtt": duration,
            "rtt_variance": duration,
            "pto_count": uint,
            "congestion_window": uint,
            "bytes_in_flight": uint,
            "ssthresh": uint,
        },
    ),
    "quic:timer_updated": (
        {"event_type": one_of("expired")},
        {"timer_type": one_of("ack", "pto")},
    ),
    "quic:parameters_set": (
        {},
        {
            "initiator": one_of("local", "remote"),
            "max_idle_timeout": uint,
            "max_udp_payload_size": uint,
            "max_ack_delay": uint,
            "initial_max_data": uint,
            "initial_max_stream_data_bidi_local": uint,
            "initial_max_stream_data_bidi_remote": uint,
            "initial_max_streams_bidi": uint,
        },
    ),
    "quic:connection_state_updated": STATE,
    "quic:congestion_state_updated": STATE,
    "quic:ecn_state_updated": (
        {"new": one_of("testing", "unknown", "failed", "capable")},
        {"old": one_of("testing", "unknown", "failed", "capable")},
    ),
    "quic:migration_state_updated": STATE,
    "quic:mtu_updated": ({"new": uint}, {"old": uint}),
    "rudp:spurious_loss": ({"header": header}, {"is_mtu_probe_packet": flag}),
    "smtp:command": (STREAM | {"line": text}, {}),
    "smtp:reply": (STREAM | {"code": uint, "text": text}, {}),
    "smtp:content": (STREAM | {"raw": raw}, {}),
    "link:packet_fate": (
        {"link": one_of("forward", "reverse"), "fate": text, "index": uint, "raw": raw},
        {"header": header, "is_mtu_probe_packet": flag},
    ),
}


def conforms(given: Fields, required: Mapping[str, Check], optional: Mapping[str, Check]) -> bool:
    """Every field that must be there, none that is unknown, each of its type."""
    checks = {**required, **optional}
    assert required.keys() <= given.keys() <= checks.keys(), given
    for name, value in given.items():
        assert checks[name](value), (name, value)
    return True


def problems(log: Log) -> Iterator[str]:
    """What the main schema and our own promises forbid in a file; nothing comes of a right one."""
    trace = fields(log.header["trace"])
    schemas = trace["event_schemas"]
    assert isinstance(schemas, list)
    namespaces = {str(uri).rpartition("/")[2].rpartition(":")[2].split("-")[0] for uri in schemas}
    last = 0.0
    for event in log.events:
        if not {"time", "name", "data"} <= event.keys() <= {"time", "name", "data", "group_id"}:
            yield f"fields of {event}"
        time, name = event["time"], str(event["name"])
        if not isinstance(time, float) or time < last:
            yield f"{time} after {last}"
        else:
            last = time
        if name.split(":")[0] not in namespaces:
            yield f"{name} is of none of {schemas}"
        conforms(data(event), *EVENTS[name])
