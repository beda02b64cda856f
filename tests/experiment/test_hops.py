"""Store and forward: every relay holds what it answered for, and a message arrives once, intact, behind all hops."""

from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.build import RunFacts, execute
from rudp_smtp.experiment.plan import Run, plan
from rudp_smtp.experiment.records import MessageRow, record
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.workload.smtp.mail import client_domain, domain_session

BASE = """\
schema: 1
name: hops
seed: 7
replications: 1
network:
  both:
    delay: {time: 20ms}
    rate: 20mbit
    loss: {model: random, p: 10%}
transport: rudp
workload: {name: smtp, messages: 6, sessions: 2}
"""
EVENTS = "  events: [{at: 100ms, for: 500ms, blackhole: true}, {at: 1s, rebind: true}]\n"
THREE = ("workload.hops", "3")


def the_run(folder: Path, *overrides: tuple[str, str], text: str = BASE) -> Run:
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8")
    (run,) = plan(load_scenario(path, overrides))
    return run


def rows(facts: RunFacts) -> tuple[MessageRow, ...]:
    return record(facts).messages


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
@pytest.mark.parametrize(("manner", "value"), [("multiplex", "connection"), ("multiplex", "stream"),
                                               ("connect", "per_message"), ("interval", "700ms")])  # fmt: skip
def test_every_message_arrives_intact_and_once_at_a_tenth_lost(
    tmp_path: Path, tls: str, manner: str, value: str
) -> None:
    facts = execute(the_run(tmp_path, THREE, ("workload.tls", tls), (f"workload.{manner}", value)))
    assert facts.stop == "done"
    for row in rows(facts):
        assert (row.status, row.is_intact, row.copies_count) == ("delivered", True, 1)


def test_the_hops_make_up_the_way_to_the_mailbox(tmp_path: Path) -> None:
    for row in rows(execute(the_run(tmp_path, THREE))):
        assert row.hop_times_ms is not None
        assert row.mailbox_latency_ms is not None
        times = [float(time) for time in row.hop_times_ms.split()]
        assert len(times) == 3
        assert min(times) > 20
        assert sum(times) == pytest.approx(row.mailbox_latency_ms)


def test_the_first_hop_is_what_it_is_alone_and_the_others_have_fates_of_their_own(tmp_path: Path) -> None:
    alone, relayed = execute(the_run(tmp_path)), execute(the_run(tmp_path, THREE))
    assert all(row.hop_times_ms is None for row in rows(alone))
    for one, other in zip(rows(alone), rows(relayed), strict=True):
        assert (one.submitted_ms, one.completed_ms) == (other.submitted_ms, other.completed_ms)
        assert other.hop_times_ms is not None
        assert float(other.hop_times_ms.split()[0]) == one.mailbox_latency_ms
    links = {row.direction: row for row in record(relayed).links}
    assert list(links) == [f"{hop}{way}" for hop in ("", "hop-2-", "hop-3-") for way in ("forward", "reverse")]
    assert len({row.lost_count / row.judged_count for row in links.values()}) == len(links)


def test_events_come_over_every_hop(tmp_path: Path) -> None:
    facts = execute(the_run(tmp_path, THREE, text=BASE.replace("transport:", f"{EVENTS}transport:")))
    assert facts.stop == "done"
    assert all((row.status, row.is_intact, row.copies_count) == ("delivered", True, 1) for row in rows(facts))


def test_what_a_relay_still_has_when_the_run_ends_is_not_delivered(tmp_path: Path) -> None:
    facts = execute(the_run(tmp_path, THREE, ("limits.time", "800ms")))
    assert facts.stop == "time_limit"
    held = [row for row in rows(facts) if row.completed_ms is not None and row.delivered_ms is None]
    assert held
    assert all((row.status, row.copies_count) == ("pending", 0) for row in held)
    assert facts.report.finished_at is None


def test_one_hop_is_not_said_and_a_live_run_has_no_more(tmp_path: Path) -> None:
    assert "hops" not in the_run(tmp_path).document
    assert the_run(tmp_path, ("workload.hops", "1")).key == the_run(tmp_path).key != the_run(tmp_path, THREE).key
    with pytest.raises(ConfigError, match="hops"):
        the_run(tmp_path, ("workload.hops", "0"))
    with pytest.raises(ConfigError, match="one pair of hosts"):
        the_run(tmp_path, THREE, ("driver", "udp"), text=BASE.replace("name: hops\n", "name: hops\ndriver: sim\n"))


@pytest.mark.parametrize("domain", ["", "session-.client.example", "session-01.client.example", "session-²", "x"])
def test_a_name_that_is_no_session_s_is_none(domain: str) -> None:
    assert domain_session(domain) is None
    assert domain_session(client_domain(12)) == 12


def test_a_grid_of_hops_calls_its_cells_by_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(BASE + "vary: {workload.hops: [1, 3]}\n", encoding="utf-8")
    assert [dict(cell.parameters) for cell in load_scenario(path).cells] == [
        {"workload.hops": "1"},
        {"workload.hops": "3"},
    ]
