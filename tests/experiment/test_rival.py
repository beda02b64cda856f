"""Hosts that share the links of a run: read, planned, put together, and measured beside it."""

from dataclasses import astuple
from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.metrics import METRICS
from rudp_smtp.experiment.plan import Run, plan
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.trace import LinkFate, ListSink, PacketSent
from rudp_smtp.units import SECOND

BASE = """\
schema: 1
name: shared
seed: 7
replications: 1
network:
  both:
    delay: {time: 20ms}
    rate: 20mbit
    queue: {discipline: droptail, limit: 100kB}
transport: {name: rudp, congestion: cubic}
workload: {name: bulk, duration: 4s}
"""
BULK = "rival:\n  transport: {name: rudp, congestion: cubic}\n  workload: {name: bulk, duration: 10s}\n"
MAIL = "rival: {transport: rudp, workload: {name: smtp, messages: 2, size: 1KiB}, start: 1s, count: 2}\n"


def runs(folder: Path, text: str, *overrides: tuple[str, str]) -> list[Run]:
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return plan(load_scenario(path, overrides))


def the_run(folder: Path, text: str, *overrides: tuple[str, str]) -> Run:
    (run,) = runs(folder, text, *overrides)
    return run


def test_without_a_rival_nothing_says_that_there_might_be_one(tmp_path: Path) -> None:
    run = the_run(tmp_path, BASE)
    assert run.configuration.rival is None
    assert "rival" not in run.document
    assert the_run(tmp_path, BASE + "rival: null\n").key == run.key != the_run(tmp_path, BASE + BULK).key


def test_a_rival_is_in_the_rows_with_every_default_written_out(tmp_path: Path) -> None:
    parameters = the_run(tmp_path, BASE + BULK).parameters()
    assert parameters["rival.start"] == "0ns"
    assert parameters["rival.count"] == 1
    assert parameters["rival.transport.congestion.model"] == "cubic"
    assert parameters["rival.workload.duration"] == "10s"


def test_any_key_of_a_rival_may_be_varied_and_set(tmp_path: Path) -> None:
    grid = "vary: {rival.transport.congestion: [new_reno, cubic], rival.count: [1, 3]}\n"
    planned = runs(tmp_path, BASE + BULK + grid, ("rival.start", "2s"))
    assert [[value for _, value in run.cell] for run in planned] == [
        ["new_reno", "1"],
        ["new_reno", "3"],
        ["cubic", "1"],
        ["cubic", "3"],
    ]
    rivals = [run.configuration.rival for run in planned]
    assert [(rival.count, rival.start) for rival in rivals if rival is not None] == [
        (1, 2 * SECOND),
        (3, 2 * SECOND),
    ] * 2


def test_a_rival_may_be_there_in_some_cells_only(tmp_path: Path) -> None:
    grid = "vary: {rival: [null, {transport: rudp, workload: {name: bulk, size: 1MB}}]}\n"
    alone, accompanied = runs(tmp_path, BASE + grid)
    assert alone.configuration.rival is None
    assert accompanied.configuration.rival is not None
    assert alone.key == the_run(tmp_path, BASE).key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rival: {workload: bulk}\n", "x.yaml:12: rival: needs the key 'transport'"),
        (
            "rival:\n  transport: rudp\n  workload: bulk\n  cuont: 2\n",
            "x.yaml:15: rival.cuont: unknown key 'cuont'; did",
        ),
        ("rival:\n  transport: rudp\n  workload: bulk\n  count: 0\n", "x.yaml:15: rival.count: 0 rivals; expected"),
        (
            "rival:\n  transport: rudp\n  workload:\n    name: bulk\n    flows: 0\n",
            "x.yaml:16: rival.workload.flows: 0",
        ),
        ("rival: {transport: {name: rudp, congestion: rneo}, workload: bulk}\n", "x.yaml:12: rival.transport.congesti"),
    ],
)
def test_a_wrong_rival_is_refused_where_it_stands(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        the_run(tmp_path, BASE + text)
    assert message in str(caught.value)


def test_two_flows_share_a_link_and_the_run_ends_with_its_own(tmp_path: Path) -> None:
    facts = execute(the_run(tmp_path, BASE + BULK))
    assert facts.stop == "done"
    assert facts.report.finished_at == 4 * SECOND
    assert facts.end < 5 * SECOND
    (rival,) = facts.rivals
    assert rival.finished_at is None
    assert rival.flows[0].ended_at is None
    own, other = (METRICS.load(name)(facts) for name in ("goodput_bps", "rival_goodput_bps"))
    assert own is not None
    assert other is not None
    assert 1e6 < own < 18e6
    assert 1e6 < other < 18e6
    fairness = METRICS.load("fairness_ratio")(facts)
    assert fairness is not None
    assert 0.5 <= fairness <= 1


def test_rivals_start_when_told_do_their_own_work_and_may_end_before(tmp_path: Path) -> None:
    facts = execute(the_run(tmp_path, BASE + MAIL))
    assert facts.report.finished_at == 4 * SECOND
    assert len(facts.rivals) == 2
    for rival in facts.rivals:
        assert [row.status for row in rival.deliveries] == ["delivered"] * 2
        assert all(row.submitted_at == SECOND for row in rival.deliveries)
    first, second = facts.rivals
    assert [row.size for row in first.deliveries] == [row.size for row in second.deliveries]
    assert [row.completed_at for row in first.deliveries] != [row.completed_at for row in second.deliveries]


def test_a_shared_run_is_the_same_every_time(tmp_path: Path) -> None:
    run = the_run(tmp_path, BASE + BULK, ("workload.duration", "1s"))
    first, again = execute(run), execute(run)
    assert first.report == again.report
    assert first.rivals == again.rivals
    assert astuple(first.forward.stats) == astuple(again.forward.stats)


def test_a_rival_that_sends_nothing_before_its_start_leaves_the_run_as_it_is(tmp_path: Path) -> None:
    alone = execute(the_run(tmp_path, BASE, ("workload.duration", "1s")))
    before = execute(the_run(tmp_path, BASE + BULK, ("workload.duration", "1s"), ("rival.start", "100s")))
    assert before.report == alone.report


def test_facts_name_the_host_and_come_in_the_order_of_the_link(tmp_path: Path) -> None:
    sink = ListSink()
    execute(the_run(tmp_path, BASE + BULK, ("workload.duration", "500ms")), sink)
    sent = [fact for fact in sink.facts if isinstance(fact, PacketSent) and fact.host.endswith("client")]
    fates = {fact.index: fact for fact in sink.facts if isinstance(fact, LinkFate) and fact.link == "forward"}
    assert {fact.host for fact in sent} == {"client", "rival-client"}
    for index, fact in enumerate(sent[: len(fates) // 2]):
        assert fates[index].size == fact.size + 28
