"""What --qvis writes is what qvis reads: the fields its loader and its views ask for, by the names they ask for them.

After qvis's own source, at its commit 72c8c4b: data/QlogLoaderV2.ts and the three views' renderers.
"""

import json
from pathlib import Path

import pytest

from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.qlog.packets import Fields
from rudp_smtp.experiment.qlog.recorder import record_run
from rudp_smtp.experiment.scenario import load_scenario
from tests.experiment.qlog_reading import data, fields, members, read_log
from tests.experiment.test_qlog import HOSTS, SCENARIO

CATEGORIES = {"transport", "connectivity", "recovery", "rudp", "link", "smtp"}
SETTINGS = [("vary", "null"), ("replications", "1"), ("network.both.loss.p", "20%")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("qvis")
    (where / "tiny.yaml").write_text(SCENARIO)
    (run,) = plan(load_scenario(where / "tiny.yaml", SETTINGS))
    record_run(run, qlog=where, qvis=where)
    return where


@pytest.fixture(scope="module")
def traces(folder: Path) -> list[Fields]:
    content = fields(json.loads((folder / "run00000.qlog").read_bytes()))
    assert (content["qlog_version"], content["qlog_format"]) == ("0.3", "JSON")
    return members(content["traces"])


def events(trace: Fields, *names: str) -> list[Fields]:
    return [event for event in members(trace["events"]) if event["name"] in names]


def packets(trace: Fields, name: str) -> list[Fields]:
    return [data(event) for event in events(trace, f"transport:{name}")]


def identity(packet: Fields) -> tuple[object, object]:
    """By what the views know a packet again."""
    header = fields(packet["header"])
    return header["packet_type"], header["packet_number"]


def test_the_loader_finds_what_kind_of_file_it_is_in_its_first_octets(folder: Path) -> None:
    beginning = (folder / "run00000.qlog").read_text()[:1024]
    assert "qlog_version" in beginning
    assert "qlog_format" in beginning
    assert "NDJSON" not in beginning
    assert "JSON-SEQ" not in beginning


def test_the_client_is_left_and_the_server_right_on_one_clock(traces: list[Fields]) -> None:
    """The sequence view takes the first two traces, and a `time_offset` other than 0 as proof that the clocks agree."""
    assert [fields(trace["vantage_point"])["type"] for trace in traces] == list(HOSTS)
    for trace in traces:
        common = fields(trace["common_fields"])
        assert (common["time_format"], common["reference_time"]) == ("relative", 0)
    assert "time_offset" not in fields(traces[0]["configuration"])
    assert 0 < float(str(fields(traces[1]["configuration"])["time_offset"])) < 1e-6


def test_events_have_names_of_a_category_and_are_in_order(traces: list[Fields]) -> None:
    for trace in traces:
        told = members(trace["events"])
        assert told
        assert all(event.keys() == {"time", "name", "data"} for event in told)
        assert {str(event["name"]).split(":")[0] for event in told} <= CATEGORIES
        times = [float(str(event["time"])) for event in told]
        assert times == sorted(times)


def test_the_loader_finds_nothing_to_correct(traces: list[Fields]) -> None:
    for trace in traces:
        for event in map(data, members(trace["events"])):
            assert "packet_type" not in event
            assert not {"packet_size", "payload_length"} & fields(event.get("header", {})).keys()


def test_the_sequence_view_can_draw_an_arrow_to_every_packet_received(traces: list[Fields]) -> None:
    for near, far in (traces, traces[::-1]):
        sent = {
            identity(packet): event["time"]
            for event in events(near, "transport:packet_sent")
            for packet in [data(event)]
        }
        arrivals = events(far, "transport:packet_received")
        assert arrivals
        for event in arrivals:
            assert float(str(sent[identity(data(event))])) < float(str(event["time"]))


def test_the_congestion_view_has_sizes_acknowledgements_losses_and_metrics(traces: list[Fields]) -> None:
    client = traces[0]
    sent = packets(client, "packet_sent")
    assert all(int(str(fields(packet["raw"])["length"])) > 0 for packet in sent)
    acked = {
        number
        for packet in packets(client, "packet_received")
        for frame in members(packet["frames"])
        if frame["frame_type"] == "ack"
        for pair in frame["acked_ranges"]  # type: ignore[attr-defined]
        for number in range(pair[0], pair[-1] + 1)
    }
    assert acked <= {fields(packet["header"])["packet_number"] for packet in sent}
    lost = [identity(data(event)) for event in events(client, "recovery:packet_lost")]
    assert lost
    assert set(lost) <= {identity(packet) for packet in sent}
    metrics = [data(event) for event in events(client, "recovery:metrics_updated")]
    for name in ("congestion_window", "bytes_in_flight", "min_rtt", "smoothed_rtt", "latest_rtt"):
        assert any(update.get(name) for update in metrics), name
    owners = {str(data(event)["owner"]): data(event) for event in events(client, "transport:parameters_set")}
    assert int(str(owners["remote"]["initial_max_data"])) > 0


def test_the_multiplexing_view_has_every_stream_frames_place_and_size(traces: list[Fields]) -> None:
    """It takes a stream for one of data if its ID is a multiple of four, as an opener's of ours is."""
    for trace in traces:
        for name in ("packet_sent", "packet_received"):
            carried = [
                f for packet in packets(trace, name) for f in members(packet["frames"]) if f["frame_type"] == "stream"
            ]
            assert carried
            for frame in carried:
                assert (
                    {"stream_id", "offset", "length"}
                    <= frame.keys()
                    <= {"frame_type", "stream_id", "offset", "length", "fin"}
                )
                assert int(str(frame["stream_id"])) % 4 == 0


def test_both_shapes_tell_the_same_in_the_same_order(folder: Path, traces: list[Fields]) -> None:
    for host, trace in zip(HOSTS, traces, strict=True):
        _, *current = read_log(folder / f"run00000-{host}.sqlog").events  # the scenario comes first
        older = members(trace["events"])
        assert [event["time"] for event in older] == [event["time"] for event in current]
        for one, other in zip(older, current, strict=True):
            before, after = str(one["name"]).partition(":")[2], str(other["name"]).partition(":")[2]
            assert after.endswith(before.removeprefix("loss_"))
