"""`driver: netns`: the same run through two network namespaces; and the kernel's TCP, which only runs there."""

import csv
import os
import signal
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.__main__ import main
from rudp_smtp.experiment.build import RunFacts, execute
from rudp_smtp.experiment.plan import Run, plan
from rudp_smtp.experiment.records import record
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.trace import LinkFate, ListSink, MigrationStateUpdated
from tests.live import live, namespaces

ROOT = Path(__file__).parents[2]
LOSS1, LOSS10 = ROOT / "configs" / "loss1.yaml", ROOT / "configs" / "loss10.yaml"
COMMAND = [sys.executable, "-m", "rudp_smtp.experiment"]


def one_run(driver: str, *overrides: tuple[str, str], path: Path = LOSS10) -> Run:
    return plan(load_scenario(path, [("replications", "1"), ("limits.time", "60s"), ("driver", driver), *overrides]))[0]


def tcp(workload: str, *overrides: tuple[str, str], congestion: str = "cubic") -> RunFacts:
    transport = ("transport", f"{{name: tcp, congestion: {congestion}}}")
    return execute(one_run("netns", transport, ("workload", workload), *overrides, path=LOSS1))


def decisions(sink: ListSink) -> dict[str, list[tuple[int, int, str]]]:
    """By link: the packet's index, its size and its fate, in order of the index."""
    fates = [fact for fact in sink.facts if isinstance(fact, LinkFate)]
    found = sorted((fact.link, fact.index, fact.size, fact.fate) for fact in fates)
    return {link: [row[1:] for row in rows] for link, rows in groupby(found, key=lambda row: row[0])}


@live
def test_equal_traffic_meets_the_same_fates_packet_by_packet_as_in_simulation() -> None:
    """Stop-and-wait with a fixed timer, one way: what is sent next depends on fates alone.

    Until the close: there both hosts wait for the other, and their timers end at the same moment.
    """
    impairments = (
        ("transport", "{name: stop_and_wait, timer: {model: fixed, interval: 150ms}}"),
        ("workload", "{name: bulk, size: 40kB}"),
        ("network.both.duplicate", "5%"),
        ("network.both.corrupt", "{probability: 5%}"),
        ("network.both.reorder", "{probability: 5%, hold: 5ms}"),
    )
    live_sink, sink = ListSink(), ListSink()
    crossed, simulated = execute(one_run("netns", *impairments), live_sink), execute(one_run("sim", *impairments), sink)
    assert (crossed.stop, simulated.stop) == ("done", "done")
    until = {"forward": 44, "reverse": 34}
    log, live_log = (
        {link: [row for row in decisions(facts)[link] if row[0] < count] for link, count in until.items()}
        for facts in (sink, live_sink)
    )
    fates = {"passed", "lost", "duplicated", "corrupted", "reordered"}
    assert {fate for rows in log.values() for _, _, fate in rows} == fates
    assert live_log == log
    assert "checksum" not in crossed.invalid


@live
def test_mail_crosses_whole_and_the_same_packets_are_lost_as_in_simulation() -> None:
    live_sink, sink = ListSink(), ListSink()
    few = ("workload.messages", "4")
    crossed, simulated = execute(one_run("netns", few), live_sink), execute(one_run("sim", few), sink)
    assert [(d.status, d.is_intact, d.copies) for d in crossed.report.deliveries] == [("delivered", True, 1)] * 4
    for link in ("forward", "reverse"):
        both = min(getattr(facts, link).stats.packets_entered for facts in (crossed, simulated))
        lost, lost_live = (
            [index for index, _, fate in decisions(facts)[link] if fate == "lost" and index < both]
            for facts in (sink, live_sink)
        )
        assert lost
        assert lost_live == lost


@live
def test_rules_look_into_our_packets_through_the_headers_around_them() -> None:
    rule = ("network.forward.match", "[{frame: stream, nth: 2, action: drop}]")
    facts = execute(one_run("netns", ("network.both.loss", "null"), ("workload.messages", "1"), rule))
    assert facts.stop == "done"
    assert facts.forward.stats.packets_matched == 1


@live
def test_events_and_marks_come_about_on_whole_packets() -> None:
    """A rebinding is a NAT's: TCP could not survive it, our own transport does."""
    sink = ListSink()
    facts = execute(
        one_run(
            "netns",
            ("network.both.loss", "null"),
            ("network.both.rate", "4mbit"),
            ("network.both.queue", "{discipline: codel, ecn: true, target: 1ms, interval: 5ms}"),
            ("network.events", "[{at: 500ms, every: 300ms, rebind: true}, {at: 50ms, for: 100ms, blackhole: true}]"),
            ("transport.congestion", "cubic"),
            ("workload.messages", "4"),
            ("workload.size", "160KiB"),
        ),
        sink,
    )
    assert facts.stop == "done"
    assert [(d.status, d.is_intact, d.copies) for d in facts.report.deliveries] == [("delivered", True, 1)] * 4
    assert any(isinstance(fact, MigrationStateUpdated) and fact.host == "server" for fact in sink.facts)
    assert any(isinstance(fact, LinkFate) and fact.fate == "blackholed" for fact in sink.facts)
    assert facts.forward.stats.packets_marked > 0
    assert "checksum" not in facts.invalid


@live
def test_the_clients_interface_changes_its_address_and_its_mail_arrives() -> None:
    sink = ListSink()
    events = ("network.events", "[{at: 100ms, every: 400ms, address_change: true}, {at: 300ms, rebind: true}]")
    settings = (("network.both.loss", "null"), ("network.both.rate", "4mbit"), ("workload.size", "160KiB"))
    facts = execute(one_run("netns", *settings, ("workload.messages", "4"), events), sink)
    assert facts.stop == "done"
    assert [(d.status, d.is_intact, d.copies) for d in facts.report.deliveries] == [("delivered", True, 1)] * 4
    states = {(f.host, f.state) for f in sink.facts if isinstance(f, MigrationStateUpdated)}
    assert ("server", "migration_complete") in states
    assert "checksum" not in facts.invalid
    assert "dropped" not in facts.invalid


@live
def test_a_row_says_which_driver_moved_it_and_no_host_is_left(tmp_path: Path) -> None:
    settings = ["--set", "driver=netns", "--set", "workload.messages=2", "--set", "executor=serial"]
    status = main([str(LOSS10), "--replications", "1", "--output", str(tmp_path), *settings])
    with (tmp_path / "runs.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["driver"], row["stop"], row["delivered_count"]) == ("netns", "done", "2")
    assert status == (1 if row["invalid"] else 0)  # a machine that is busy with others is late
    assert f"rudp-{os.getpid()}-" not in namespaces()


@live
@pytest.mark.parametrize("executor", ["serial", "local:2"])
def test_a_run_that_is_asked_to_end_leaves_no_host(tmp_path: Path, executor: str) -> None:
    endless = ["--set", "network.both.loss.p=100%", "--set", "driver=netns", "--set", f"executor={executor}"]
    command = [*COMMAND, str(LOSS10), "--replications", "2", "--output", str(tmp_path), *endless]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        deadline = time.monotonic() + 30
        own: list[str] = []
        while not own and time.monotonic() < deadline:
            time.sleep(0.02)
            there = namespaces()
            own = [f"rudp-{pid}-" for pid in (run.pid, *children.read_text().split()) if f"rudp-{pid}-" in there]
        assert own
        run.send_signal(signal.SIGTERM)
        _, errors = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "interrupted" in errors
    assert not [name for name in own if name in namespaces()]


@live
def test_what_a_killed_run_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    endless = ["--set", "network.both.loss.p=100%", "--set", "driver=netns", "--set", "executor=serial"]
    command = [*COMMAND, str(LOSS10), "--replications", "1", "--output", str(tmp_path), *endless]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 30
        while f"rudp-{run.pid}-b" not in namespaces() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert f"rudp-{run.pid}-b" in namespaces()
        run.send_signal(signal.SIGKILL)
    assert execute(one_run("netns", ("workload.messages", "1"))).stop == "done"
    assert f"rudp-{run.pid}-" not in namespaces()


def test_where_there_can_be_no_namespaces_that_is_said_before_any_run(tmp_path: Path) -> None:
    """Nobody is root without `ip`: one of the two is missing for everybody here."""
    command = [*COMMAND, str(LOSS10), "--set", "driver=netns", "--output", str(tmp_path)]
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.returncode == 2
    assert "use driver udp or sim" in done.stderr
    assert not list(tmp_path.iterdir())


@live
@pytest.mark.parametrize(
    "workload",
    [
        "{name: bulk, size: 300kB, flows: 2}",
        "{name: request_response, turns: 5}",
        "{name: smtp, messages: 4, size: 16KiB, sessions: 2}",
        "{name: smtp, messages: 3, size: 4KiB, connect: per_message}",
    ],
)
def test_the_kernels_tcp_carries_every_workload(workload: str) -> None:
    facts = tcp(workload)
    assert facts.stop == "done"
    assert {(d.status, d.is_intact, d.copies) for d in facts.report.deliveries} == {("delivered", True, 1)}
    assert facts.packets == sum(link.stats.packets_entered for link in (facts.forward, facts.reverse))


@live
def test_tcp_is_measured_by_what_the_kernel_tells() -> None:
    facts = tcp("{name: bulk, size: 1MB}", ("network.both.loss", "{model: list, packets: [20, 40]}"))
    client = facts.report.client
    metrics = record(facts).metrics
    assert metrics["goodput_bps"]
    assert client.stream_bytes_sent == 1_000_000
    assert 0 < client.stream_bytes_retransmitted <= 10 * 1460
    assert 40_000_000 <= client.min_rtt < 60_000_000
    assert (
        metrics["retransmitted_bytes"]
        == client.stream_bytes_retransmitted + facts.report.server.stream_bytes_retransmitted
    )
    for untold in ("wire_bytes", "wire_overhead_ratio", "acks_count", "spurious_count", "probes_count"):
        assert metrics[untold] is None


@live
def test_a_packet_of_tcp_is_never_larger_than_the_link_takes() -> None:
    """Segmentation left to a device that has none would show whole send buffers."""
    sink = ListSink()
    transport = ("transport", "{name: tcp, congestion: bbr}")
    bulk = ("workload", "{name: bulk, size: 1MB}")
    assert execute(one_run("netns", transport, bulk, path=LOSS1), sink).stop == "done"
    assert max(fact.size for fact in sink.facts if isinstance(fact, LinkFate)) == 1500


@live
def test_the_congestion_control_is_the_one_that_was_asked_for() -> None:
    """1 % of losses: Reno's window stays near 1.2 / sqrt(0.01) packets, BBR does not look at single losses."""
    times = {}
    for congestion in ("reno", "bbr"):
        facts = tcp("{name: bulk, size: 2MB}", congestion=congestion)
        times[congestion] = record(facts).metrics["completion_ms"]
    assert times["reno"] is not None
    assert times["bbr"] is not None
    assert times["bbr"] < times["reno"] / 1.5


@live
def test_a_transfer_that_ends_by_the_clock_resets_its_connection() -> None:
    facts = tcp("{name: bulk, duration: 500ms}")
    assert facts.stop == "done"
    (row,) = facts.report.deliveries
    assert row.status == "delivered"
    assert row.size > 100_000


@live
def test_a_server_that_is_not_heard_ends_the_run_by_its_limit() -> None:
    facts = tcp("{name: bulk, size: 1kB}", ("network.reverse.loss.p", "100%"), ("limits.time", "500ms"))
    assert facts.stop == "time_limit"
    assert facts.report.deliveries[0].status == "pending"


@live
def test_a_congestion_control_the_kernel_has_not_is_told_with_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--set", "driver=netns", "--set", "transport={name: tcp, congestion: wishful}"]
    assert main([str(LOSS1), "--output", str(tmp_path), *settings]) == 2
    assert "transport.congestion: the kernel has TCP congestion control" in (told := capsys.readouterr().err)
    assert "modprobe tcp_wishful" in told


@pytest.mark.parametrize("driver", ["sim", "udp"])
def test_tcp_is_refused_where_there_is_no_kernel_to_speak_it(driver: str) -> None:
    with pytest.raises(ConfigError, match=r"transport: transport 'tcp' is the kernel's own.*expected driver: netns"):
        one_run(driver, ("transport", "tcp"))


def test_tcp_carries_no_streams_beside_each_other() -> None:
    workload = ("workload", "{name: bulk, flows: 2, multiplex: stream}")
    with pytest.raises(ConfigError, match=r"one stream to a connection; expected multiplex: connection"):
        one_run("netns", ("transport", "tcp"), workload)


def test_a_rival_of_the_kernel_is_refused() -> None:
    rival = ("rival", "{transport: tcp, workload: bulk}")
    with pytest.raises(ConfigError, match="a rival is simulated, and transport 'tcp' cannot be"):
        one_run("sim", rival)


def test_what_is_no_name_of_a_congestion_control_is_refused() -> None:
    with pytest.raises(ConfigError, match="no name of a congestion control"):
        one_run("netns", ("transport", "{name: tcp, congestion: 'Cubic!'}"))
