"""What --qlog writes is qlog: whole, in order, the same each time, and what the tables and the trace say too."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from rudp_smtp.experiment.__main__ import main
from rudp_smtp.experiment.plan import Run, plan
from rudp_smtp.experiment.qlog.packets import Fields
from rudp_smtp.experiment.qlog.recorder import record_run
from rudp_smtp.experiment.scenario import load_scenario
from tests.experiment.qlog_reading import Log, fields, members, problems, read_log

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
SCENARIO = """schema: 1
name: tiny
seed: 3
replications: 2
network:
  both:
    delay: {time: 5ms}
    rate: 20mbit
    loss: {model: random, p: 5%}
transport: {name: rudp}
workload: {name: smtp, messages: 2, size: 3KiB}
vary:
  network.both.loss.p: [0%, 20%]
executor: serial
"""
HOSTS = ("client", "server")
NAMES = [f"run{run:05}-{host}.sqlog" for run in range(4) for host in HOSTS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenario run with both kinds of log, into `one`; and once more by two processes, into `two`."""
    where = tmp_path_factory.mktemp("qlog")
    (where / "tiny.yaml").write_text(SCENARIO)
    for name, workers in (("one", []), ("two", ["--workers", "2"])):
        logs = ["--qlog", str(where / name / "qlog"), "--qvis", str(where / name / "qvis")]
        assert main([str(where / "tiny.yaml"), "--output", str(where / name), *logs, *workers]) == 0
    return where


def runs_of(where: Path, *settings: tuple[str, str]) -> list[Run]:
    (where / "tiny.yaml").write_text(SCENARIO)
    return plan(load_scenario(where / "tiny.yaml", [("vary", "null"), ("replications", "1"), *settings]))


def logs_of(where: Path, *settings: tuple[str, str]) -> tuple[dict[str, Log], float]:
    """Both hosts' logs of the scenario with other settings, and how many packets its metrics say were sent."""
    (run,) = runs_of(where, *settings)
    record = record_run(run, qlog=where)
    sent = record.metrics["packets_sent_count"]
    assert sent is not None
    logs = {host: read_log(where / f"run00000-{host}.sqlog") for host in HOSTS}
    assert [list(problems(log)) for log in logs.values()] == [[], []]
    return logs, sent


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def number(packet: Fields) -> object:
    return fields(packet["header"]).get("packet_number")


def test_every_run_has_a_log_of_each_host_with_the_same_octets_each_time(folder: Path) -> None:
    assert sorted(path.name for path in (folder / "one" / "qlog").iterdir()) == NAMES
    for kind in ("qlog", "qvis"):
        for path in (folder / "one" / kind).iterdir():
            assert path.read_bytes() == (folder / "two" / kind / path.name).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_log_is_what_the_drafts_say(folder: Path, name: str) -> None:
    path = folder / "one" / "qlog" / name
    log = read_log(path)
    beginning = path.read_text()[:256]
    assert '"file_schema":"urn:ietf:params:qlog:file:sequential"' in beginning
    assert '"serialization_format":"application/qlog+json-seq"' in beginning
    trace = fields(log.header["trace"])
    host = name.removesuffix(".sqlog").split("-")[1]
    assert trace["vantage_point"] == {"name": host, "type": host}
    assert "urn:ietf:params:qlog:events:quic-13" in str(trace["event_schemas"])
    assert fields(trace["common_fields"])["reference_time"] == {"clock_type": "monotonic", "epoch": "unknown"}
    assert list(problems(log)) == []


def test_a_log_says_which_run_it_is_of(folder: Path) -> None:
    for index, row in enumerate(rows(folder / "one" / "runs.csv")):
        log = read_log(folder / "one" / "qlog" / f"run{index:05}-client.sqlog")
        assert row["seed"] in str(log.header["description"])
        (scenario,) = log.named("simulation:scenario")
        assert fields(scenario["details"])["network.forward.loss.p"] == row["network.forward.loss.p"]


def test_the_counts_are_those_of_the_tables(folder: Path) -> None:
    for index, row in enumerate(rows(folder / "one" / "runs.csv")):
        logs = [read_log(folder / "one" / "qlog" / f"run{index:05}-{host}.sqlog") for host in HOSTS]
        assert sum(len(log.named("quic:packet_sent")) for log in logs) == int(row["packets_sent_count"])
        links = rows(folder / "one" / "links.csv")[2 * index : 2 * index + 2]
        assert [link["direction"] for link in links] == ["forward", "reverse"]
        for link, log in zip(links, logs, strict=True):
            fates = Counter(fate["fate"] for fate in log.named("link:packet_fate"))
            assert (fates["lost"], fates.total()) == (int(link["lost_count"]), int(link["entered_count"]))


def test_times_and_packets_are_those_of_the_trace(folder: Path) -> None:
    trace = rows(folder / "one" / "trace.csv")
    for host in HOSTS:
        log = read_log(folder / "one" / "qlog" / f"run00000-{host}.sqlog")
        for name in ("packet_sent", "packet_received"):
            told = [
                (float(row["time_ms"]), int(row["packet_number"]), int(row["size_bytes"]))
                for row in trace
                if (row["event"], row["host"]) == (name, host)
            ]
            logged = [
                (event["time"], number(fields(event["data"])), fields(fields(event["data"])["raw"])["length"])
                for event in log.events
                if event["name"] == f"quic:{name}"
            ]
            assert told == logged


def test_what_one_host_received_the_other_sent_frame_by_frame(folder: Path) -> None:
    logs = {host: read_log(folder / "one" / "qlog" / f"run00003-{host}.sqlog") for host in HOSTS}
    for near, far in (HOSTS, HOSTS[::-1]):
        sent = {number(packet): packet for packet in logs[near].named("quic:packet_sent")}
        received = logs[far].named("quic:packet_received")
        assert len(received) < len(sent)  # 20 % loss
        for packet in received:
            twin = sent[number(packet)]
            assert (packet["header"], packet["frames"]) == (twin["header"], twin["frames"])


def test_a_packet_that_is_lost_is_one_that_was_sent_and_the_link_says_how(folder: Path) -> None:
    log = read_log(folder / "one" / "qlog" / "run00002-client.sqlog")
    sent = {number(packet) for packet in log.named("quic:packet_sent")}
    fates = {number(fate): fate["fate"] for fate in log.named("link:packet_fate")}
    lost = [number(packet) for packet in log.named("quic:packet_lost")]
    spurious = {number(packet) for packet in log.named("rudp:spurious_loss")}
    assert lost
    assert set(lost) <= sent
    assert all(fates[packet] == "lost" for packet in lost if packet not in spurious)


def test_acknowledged_packets_are_those_of_the_ack_frames(folder: Path) -> None:
    log = read_log(folder / "one" / "qlog" / "run00002-client.sqlog")
    named: set[int] = set()
    for packet in log.named("quic:packet_received"):
        if any(frame["frame_type"] == "connection_close" for frame in members(packet["frames"])):
            continue  # nothing else in it is listened to
        for frame in members(packet["frames"]):
            for pair in frame.get("acked_ranges", []):  # type: ignore[attr-defined]
                named.update(range(pair[0], pair[-1] + 1))
    acked = [one for event in log.named("quic:packets_acked") for one in event["packet_numbers"]]  # type: ignore[attr-defined]
    spurious = [number(packet) for packet in log.named("rudp:spurious_loss")]
    assert sorted([*acked, *spurious]) == sorted(named)
    assert len(acked) == len(set(acked))


def test_the_parameters_of_each_side_are_told_once_at_each_host(folder: Path) -> None:
    for host in HOSTS:
        told = read_log(folder / "one" / "qlog" / f"run00000-{host}.sqlog").named("quic:parameters_set")
        assert sorted(str(parameters["initiator"]) for parameters in told) == ["local", "remote"]


def test_the_dialogue_is_told_at_both_ends_and_not_what_the_mail_says(folder: Path) -> None:
    logs = [read_log(folder / "one" / "qlog" / f"run00000-{host}.sqlog") for host in HOSTS]
    said, heard = ([str(command["line"]) for command in log.named("smtp:command")] for log in logs)
    words = [line.split(":")[0].split(" ")[0] for line in said if not line.startswith("RCPT TO:<")]
    assert words == ["EHLO", *["MAIL", "DATA"] * 2, "QUIT"]
    assert said == heard
    replies = [[(reply["code"], reply["text"]) for reply in log.named("smtp:reply")] for log in logs]
    assert replies[0] == replies[1]
    assert [code for code, _ in replies[0] if code != 250] == [220, 354, 354, 221]
    assert len(replies[0]) == len(said) + 3  # the greeting, and a reply to each message
    sizes = [[fields(content["raw"])["length"] for content in log.named("smtp:content")] for log in logs]
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) == 2
    for message, size in zip(rows(folder / "one" / "messages.csv")[:2], sizes[0], strict=True):
        assert int(message["size_bytes"]) <= int(str(size)) <= int(message["size_bytes"]) + 8  # with its dots stuffed


def test_connections_are_groups_where_there_are_several(tmp_path: Path) -> None:
    logs, _ = logs_of(tmp_path, ("workload.connect", "per_message"))
    assert "group_id" not in fields(fields(logs["client"].header["trace"])["common_fields"])
    groups = {event["group_id"] for event in logs["client"].events if event["name"] == "quic:packet_sent"}
    assert groups == {"0", "1"}
    logs, _ = logs_of(tmp_path)
    assert fields(fields(logs["client"].header["trace"])["common_fields"])["group_id"] == "0"
    assert not any("group_id" in event for event in logs["client"].events)


def test_a_retry_is_told_at_both_hosts_and_is_of_no_connection_where_there_is_none(tmp_path: Path) -> None:
    logs, sent = logs_of(tmp_path, ("transport.retry", "always"), ("network.both.loss", "null"))
    assert sum(len(log.named("quic:packet_sent")) for log in logs.values()) == sent
    for host, name in (("server", "quic:packet_sent"), ("client", "quic:packet_received")):
        assert logs[host].named(name)[0]["header"] == {"packet_type": "retry"}
    second = logs["client"].named("quic:packet_sent")[1]
    assert fields(fields(fields(second["header"])["token"])["raw"])["length"]


def test_damage_is_a_dropped_packet_of_which_only_the_size_is_believed(tmp_path: Path) -> None:
    logs, _ = logs_of(tmp_path, ("network.both.corrupt", "{probability: 30%}"))
    dropped = logs["server"].named("quic:packet_dropped")
    damaged = [packet for packet in dropped if packet["trigger"] == "invalid"]
    assert damaged
    assert all(packet.keys() == {"raw", "trigger", "details"} for packet in damaged)
    assert "corrupted" in {fate["fate"] for fate in logs["client"].named("link:packet_fate")}


@pytest.mark.parametrize("transport", ["stop_and_wait", "go_back_n", "selective_repeat", "quic", "kcp"])
def test_other_transports_are_logged_with_the_facts_they_have(tmp_path: Path, transport: str) -> None:
    """What they receive is numbered as its sender numbered it, so that the two can be put side by side."""
    logs, sent = logs_of(tmp_path, ("transport", f"{{name: {transport}}}"), ("network.both.loss.p", "10%"))
    assert sum(len(log.named("quic:packet_sent")) for log in logs.values()) == sent
    for near, far in (HOSTS, HOSTS[::-1]):
        fates: dict[object, set[object]] = {}
        for fate in logs[near].named("link:packet_fate"):
            fates.setdefault(number(fate), set()).add(fate["fate"])
        received = [number(packet) for packet in logs[far].named("quic:packet_received")]
        assert received
        assert all("passed" in fates[packet] for packet in received)
    streams = [f for p in logs["client"].named("quic:packet_sent") for f in members(p["frames"]) if "stream_id" in f]
    assert streams


@pytest.mark.parametrize("transport", ["stop_and_wait", "go_back_n", "selective_repeat"])
def test_acknowledgements_of_arq_name_the_packets_they_are_for(tmp_path: Path, transport: str) -> None:
    """A frame says a sequence number; the log, which packet bore it. What the peer took is what it acknowledges."""
    logs, _ = logs_of(tmp_path, ("transport", f"{{name: {transport}}}"), ("network.both.loss.p", "10%"))
    for near, far in (HOSTS, HOSTS[::-1]):
        received = {number(packet) for packet in logs[far].named("quic:packet_received")}
        told, heard = (
            [
                acked
                for packet in logs[host].named(name)
                for frame in members(packet["frames"])
                for (acked,) in frame.get("acked_ranges", ())  # type: ignore[attr-defined]
            ]
            for host, name in ((far, "quic:packet_sent"), (near, "quic:packet_received"))
        )
        assert told
        assert heard
        assert set(told) <= received
        sent = {number(packet) for packet in logs[near].named("quic:packet_sent") if packet["frames"]}
        assert set(heard) <= sent
    first = [members(logs["client"].named("quic:packet_sent")[0]["frames"])[0]["frame_type"]]
    assert first == ["syn"]


def test_the_rivals_of_a_run_are_not_in_its_logs(tmp_path: Path) -> None:
    rival = "{transport: {name: rudp}, workload: {name: bulk, size: 30KiB}, count: 2}"
    logs, sent = logs_of(tmp_path, ("rival", rival))
    assert sum(len(log.named("quic:packet_sent")) for log in logs.values()) == sent
    for host in HOSTS:
        fates = logs[host].named("link:packet_fate")
        assert {number(fate) for fate in fates} == {number(p) for p in logs[host].named("quic:packet_sent")}
        assert max(int(str(fate["index"])) for fate in fates) >= len(fates)  # others entered the link as well


@pytest.mark.parametrize("option", ["--qlog", "--qvis", "--capture"])
def test_a_folder_that_cannot_be_written_is_refused_before_any_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(SCENARIO)
    results = ["--output", str(tmp_path / "out")]
    assert main([str(tmp_path / "tiny.yaml"), *results, option, str(tmp_path / "tiny.yaml" / "logs")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{option}: cannot write to the {option[2:]} folder ")
    assert "Not a directory; expected a folder that can be written" in error
    assert not list((tmp_path / "out" / "runs").iterdir())


def test_a_small_log_still_has_the_bytes_it_had(tmp_path: Path) -> None:
    """When behaviour changes on purpose, write them anew: python -m tests.experiment.test_qlog."""
    write_golden(tmp_path)
    for path in sorted(GOLDEN.iterdir()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    assert len(list(GOLDEN.iterdir())) == 3


def write_golden(where: Path) -> None:
    """One short message over a lossless path with everything else plain."""
    scenario = where / "dialogue.yaml"
    scenario.write_text(json.dumps(DIALOGUE))
    (run,) = plan(load_scenario(scenario, []))
    scenario.unlink()
    record_run(run, qlog=where, qvis=where)


DIALOGUE = {
    "schema": 1,
    "name": "dialogue",
    "seed": 1,
    "replications": 1,
    "network": {"both": {"delay": {"time": "10ms"}, "rate": "10mbit"}},
    "transport": {
        "name": "rudp",
        "congestion": "new_reno",
        "timer": "pto",
        "ack": "immediate",
        "ack_frequency": False,
        "ecn": False,
        "mtu_discovery": False,
        "resumption": False,
    },
    "workload": {"name": "smtp", "messages": 1, "size": "1KiB"},
}


if __name__ == "__main__":
    write_golden(GOLDEN)
