from dataclasses import astuple
from fractions import Fraction
from pathlib import Path

import pytest

from rudp_smtp.experiment.build import RunFacts, execute
from rudp_smtp.experiment.plan import Run, plan
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.trace import LinkFate, ListSink, PacketSent
from rudp_smtp.units import SECOND

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
LOSS10 = next(path for path in CONFIGS if path.stem == "loss10")


def first_run(path: Path, *overrides: tuple[str, str]) -> Run:
    return plan(load_scenario(path, [("replications", "1"), *overrides]))[0]


def outcome(facts: RunFacts) -> tuple[object, ...]:
    """All that happened, comparable."""
    report = facts.report
    links = [(link.expected_loss, link.packets_judged, astuple(link.stats)) for link in (facts.forward, facts.reverse)]
    transports = [astuple(report.client), astuple(report.server)]
    return facts.stop, facts.end, facts.events, facts.packets, report.deliveries, transports, links


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_scenario_delivers_each_message_intact_and_once(path: Path) -> None:
    facts = execute(first_run(path))
    assert facts.stop == "done"
    assert facts.report.finished_at is not None
    assert len(facts.report.deliveries) == 20
    for delivery in facts.report.deliveries:
        assert (delivery.status, delivery.is_intact, delivery.copies) == ("delivered", True, 1)


def test_a_run_is_the_same_every_time_and_whether_or_not_it_is_watched() -> None:
    run, sink = first_run(LOSS10, ("workload.messages", "4")), ListSink()
    watched = execute(run, sink)
    assert outcome(watched) == outcome(execute(run))
    sent = sum(isinstance(fact, PacketSent) for fact in sink.facts)
    assert sent == watched.packets == watched.forward.stats.packets_entered + watched.reverse.stats.packets_entered


def test_another_seed_is_another_run() -> None:
    one, other = plan(load_scenario(LOSS10, [("replications", "2"), ("workload.messages", "4")]))
    assert outcome(execute(one)) != outcome(execute(other))


def test_each_direction_has_its_own_link() -> None:
    sink = ListSink()
    facts = execute(first_run(LOSS10, ("network.forward.loss", "null"), ("workload.messages", "4")), sink)
    lost = [fact.link for fact in sink.facts if isinstance(fact, LinkFate) and fact.fate == "lost"]
    assert set(lost) == {"reverse"}
    assert facts.forward.expected_loss == facts.forward.stats.packets_lost == 0
    assert float(facts.reverse.expected_loss) == pytest.approx(0.1)
    assert facts.reverse.stats.packets_lost == len(lost)


def test_the_expected_loss_of_a_list_is_exact() -> None:
    facts = execute(first_run(LOSS10, ("network.both.loss", "{model: list, packets: [1, 3]}")))
    assert facts.forward.expected_loss == Fraction(2, facts.forward.stats.packets_entered)
    assert facts.forward.stats.packets_lost == 2


def test_a_run_that_cannot_finish_ends_by_its_time() -> None:
    facts = execute(first_run(LOSS10, ("network.both.loss.p", "100%"), ("limits.time", "90s")))
    assert (facts.stop, facts.end) == ("time_limit", 90 * SECOND)
    assert facts.report.finished_at is None
    assert {delivery.status for delivery in facts.report.deliveries} == {"pending"}
    assert facts.forward.stats.packets_delivered == 0


def test_a_run_that_takes_too_many_steps_ends_by_its_events() -> None:
    facts = execute(first_run(LOSS10, ("limits.events", "100")))
    assert (facts.stop, facts.events) == ("event_limit", 100)


def test_a_corpus_is_delivered_octet_for_octet(tmp_path: Path) -> None:
    corpus = tmp_path / "post"
    corpus.mkdir()
    (corpus / "crlf").write_bytes(b"Subject: x\r\n\r\n.\r\n..dots\r\n")
    (corpus / "text").write_bytes(b"From: <a@one.example>\nTo: b@two.example\n\nhello\n")
    facts = execute(first_run(LOSS10, ("workload", f"{{name: smtp, corpus: {corpus}}}")))
    assert [(row.name, row.status, row.is_intact, row.copies) for row in facts.report.deliveries] == [
        ("crlf", "delivered", True, 1),
        ("text", "delivered", True, 1),
    ]
