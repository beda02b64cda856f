"""`driver: udp`: the same run on real sockets and in real time, measured by the same means."""

import csv
from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.__main__ import main
from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.plan import Run, plan
from rudp_smtp.experiment.records import record
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.trace import LinkFate, ListSink, MigrationStateUpdated
from rudp_smtp.units import MILLISECOND

LATE = 50 * MILLISECOND  # a change may be carried out so much later on a busy machine
LOSS10 = Path(__file__).parents[2] / "configs" / "loss10.yaml"
FEW = (("replications", "1"), ("workload.messages", "4"), ("limits.time", "30s"))


def one_run(driver: str, *overrides: tuple[str, str]) -> Run:
    return plan(load_scenario(LOSS10, [*FEW, ("driver", driver), *overrides]))[0]


def lost(sink: ListSink, link: str) -> list[int]:
    return [
        fact.index for fact in sink.facts if isinstance(fact, LinkFate) and (fact.link, fact.fate) == (link, "lost")
    ]


def test_mail_crosses_a_lossy_path_whole_and_each_packet_meets_the_fate_it_has_in_simulation() -> None:
    live_sink, sink = ListSink(), ListSink()
    live, simulated = execute(one_run("udp"), live_sink), execute(one_run("sim"), sink)
    assert live.stop == "done"
    assert [(d.status, d.is_intact, d.copies) for d in live.report.deliveries] == [("delivered", True, 1)] * 4
    for link in ("forward", "reverse"):
        both = min(getattr(live, link).stats.packets_entered, getattr(simulated, link).stats.packets_entered)
        shared = [index for index in lost(sink, link) if index < both]
        assert shared
        assert [index for index in lost(live_sink, link) if index < both] == shared


def test_a_live_run_takes_the_time_its_delays_take_and_has_a_key_of_its_own() -> None:
    run = one_run("udp", ("network.both.loss", "null"))
    facts = execute(run)
    assert facts.end > 4 * 20_000_000  # two round trips at the least
    assert run.key != one_run("sim", ("network.both.loss", "null")).key


def test_limits_end_a_live_run() -> None:
    assert execute(one_run("udp", ("network.both.loss.p", "100%"), ("limits.time", "300ms"))).stop == "time_limit"
    assert execute(one_run("udp", ("limits.events", "5"))).stop == "event_limit"


EVENTS = """[
    {at: 50ms, for: 150ms, blackhole: true}, {at: 300ms, for: 200ms, on: forward, set: {loss: {model: random, p: 50%}}},
    {at: 800ms, every: 300ms, rebind: true}, {at: 600ms, mtu: 1280B}]"""


def test_events_happen_to_a_live_path_as_the_scenario_says() -> None:
    sink = ListSink()
    settings = (("network.both.loss", "null"), ("network.both.rate", "4mbit"), ("workload.size", "160KiB"))
    facts = execute(one_run("udp", *settings, ("network.events", EVENTS)), sink)
    assert facts.stop == "done"
    assert [(d.status, d.is_intact, d.copies) for d in facts.report.deliveries] == [("delivered", True, 1)] * 4
    fates = [fact for fact in sink.facts if isinstance(fact, LinkFate)]
    began = facts.forward.stats.entered_first
    assert began is not None
    swallowed = [fact.time - began for fact in fates if fact.fate == "blackholed"]
    assert swallowed
    assert min(swallowed) >= 50 * MILLISECOND
    assert max(swallowed) < 200 * MILLISECOND + LATE
    assert any(isinstance(fact, MigrationStateUpdated) and fact.host == "server" for fact in sink.facts)
    for fact in fates:
        if fact.fate == "lost":
            assert 300 * MILLISECOND <= fact.time - began < 500 * MILLISECOND + LATE
            assert fact.link == "forward"
        if fact.fate == "too_big":
            assert fact.time - began >= 600 * MILLISECOND
    assert {"lost", "too_big"} <= {fact.fate for fact in fates}


def test_a_live_client_changes_its_address_and_its_mail_arrives() -> None:
    sink = ListSink()
    events = ("network.events", "[{at: 100ms, every: 300ms, address_change: true}, {at: 250ms, rebind: true}]")
    settings = (("network.both.loss", "null"), ("network.both.rate", "4mbit"), ("workload.size", "160KiB"))
    facts = execute(one_run("udp", *settings, events), sink)
    assert facts.stop == "done"
    assert [(d.status, d.is_intact, d.copies) for d in facts.report.deliveries] == [("delivered", True, 1)] * 4
    states = {(f.host, f.state) for f in sink.facts if isinstance(f, MigrationStateUpdated)}
    assert ("server", "migration_complete") in states
    assert "address" not in facts.invalid


def test_queues_mark_the_packets_of_a_live_run() -> None:
    queue = ("network.both.queue", "{discipline: codel, ecn: true, target: 1ms, interval: 5ms}")
    settings = (("network.both.loss", "null"), ("network.both.rate", "4mbit"), ("transport.congestion", "cubic"))
    facts = execute(one_run("udp", *settings, queue, ("workload.size", "160KiB")))
    assert facts.stop == "done"
    assert facts.forward.stats.packets_marked > 0


def test_what_the_machine_did_is_told_beside_the_notes() -> None:
    facts = execute(one_run("udp", ("limits.events", "5")))
    facts.invalid = "3 datagrams dropped by the kernel"
    assert (record(facts).invalid, record(facts).notes) == ("3 datagrams dropped by the kernel", "")


def test_rows_say_which_driver_moved_them(tmp_path: Path) -> None:
    settings = ["--set", "driver=udp", "--set", "workload.messages=2", "--set", "executor=serial"]
    status = main([str(LOSS10), "--replications", "1", "--output", str(tmp_path), *settings])
    with (tmp_path / "runs.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["driver"], row["stop"], row["delivered_count"]) == ("udp", "done", "2")
    assert status == (1 if row["invalid"] else 0)  # a machine that is busy with others is late


@pytest.mark.parametrize("executor", ["serial", "local:2"])
def test_the_trace_is_of_the_very_run_that_the_row_is_of(tmp_path: Path, executor: str) -> None:
    command = [str(LOSS10), "--replications", "2", "--output", str(tmp_path)]
    command += ["--set", "driver=udp", "--set", "workload.messages=1", "--set", f"executor={executor}"]

    def traced() -> tuple[bytes, bool]:
        main(command)
        with (tmp_path / "runs.csv").open(newline="") as file:
            row = next(csv.DictReader(file))
        with (tmp_path / "trace.csv").open(newline="") as file:
            sent = sum(fact["event"] == "packet_sent" for fact in csv.DictReader(file))
        return (tmp_path / "trace.csv").read_bytes(), int(row["packets_sent_count"]) == sent

    first, is_of_the_row = traced()
    assert is_of_the_row
    assert traced() == (first, True)
    (tmp_path / "trace.csv").unlink()
    another, is_of_the_row = traced()
    assert is_of_the_row
    assert another != first  # a live run is never the same


def test_a_rate_beyond_what_real_packets_are_moved_at_is_refused_and_not_distorted() -> None:
    for rate in (("network.both.rate", "1gbit"), ("network.events", "[{at: 1s, set: {rate: 10gbit}}]")):
        with pytest.raises(ConfigError, match=r"driver udp: 83\d+ full packets a second.* expected at most 600mbit"):
            one_run("udp", rate)
        one_run("sim", rate)
    one_run("udp", ("network.both.rate", "600mbit"))


def test_rivals_are_for_the_simulator() -> None:
    rival = ("rival", "{transport: {name: rudp}, workload: {name: bulk}}")
    with pytest.raises(ConfigError, match="driver udp moves one pair of hosts"):
        one_run("udp", rival)
