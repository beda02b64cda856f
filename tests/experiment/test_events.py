"""`network.events`: read, refused, and carried out in whole runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.experiment.build import RunFacts, execute
from rudp_smtp.experiment.plan import plan
from rudp_smtp.link.config import DelayConfig, LinkConfig, RateConfig
from rudp_smtp.link.link import Link
from rudp_smtp.registry import Spec
from rudp_smtp.trace import LinkFate, ListSink, MigrationStateUpdated
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND
from tests.experiment.test_scenario import BASE, load, refusal, the_refusal
from tests.link.traffic import Traffic, datagram

CLEAN = BASE.replace("    loss: {model: random, p: 10%}\n", "").replace(
    "messages: 2, size: 1KiB", "messages: 8, size: 64KiB"
)


def with_events(*events: str, text: str = CLEAN) -> str:
    return text.replace("transport:", "  events:\n" + "".join(f"    - {event}\n" for event in events) + "transport:")


def ran(folder: Path, text: str) -> tuple[RunFacts, ListSink]:
    sink = ListSink()
    return execute(plan(load(folder, text))[0], sink), sink


def entered(sink: ListSink, fate: str, link: str = "forward") -> list[int]:
    return [f.time for f in sink.facts if isinstance(f, LinkFate) and f.fate == fate and f.link == link]


# In whole runs.


def test_a_black_hole_swallows_all_that_enters_while_it_lasts_and_comes_again(tmp_path: Path) -> None:
    facts, sink = ran(tmp_path, with_events("{at: 100ms, for: 50ms, every: 200ms, blackhole: true}"))
    times = entered(sink, "blackholed") + entered(sink, "blackholed", "reverse")
    assert {time // (100 * MILLISECOND) for time in times} <= set(range(1, 1000, 2))
    assert times
    assert all(time % (200 * MILLISECOND) - 100 * MILLISECOND < 50 * MILLISECOND for time in times)
    assert facts.stop == "done"
    assert all(delivery.copies == 1 for delivery in facts.report.deliveries)
    assert facts.forward.stats.packets_blackholed == len(entered(sink, "blackholed"))


def test_a_black_hole_without_an_end_ends_the_run_by_its_limits(tmp_path: Path) -> None:
    text = with_events("{at: 100ms, blackhole: true}") + "limits: {time: 60s}\n"
    facts, _ = ran(tmp_path, text)
    assert facts.stop != "done"


def test_another_loss_holds_for_as_long_as_it_is_said(tmp_path: Path) -> None:
    text = with_events("{at: 80ms, for: 60ms, on: forward, set: {loss: {model: random, p: 50%}}}")
    facts, sink = ran(tmp_path, text)
    lost = entered(sink, "lost")
    assert lost
    assert all(80 * MILLISECOND <= time < 140 * MILLISECOND for time in lost)
    assert not entered(sink, "lost", "reverse")
    assert 0 < facts.forward.expected_loss < 0.5


def test_a_server_goes_on_with_a_client_that_a_nat_has_renamed(tmp_path: Path) -> None:
    facts, _ = ran(tmp_path, with_events("{at: 120ms, every: 150ms, rebind: true}"))
    plain, _ = ran(tmp_path, CLEAN)
    assert facts.stop == "done"
    assert all(delivery.copies == 1 and delivery.is_intact for delivery in facts.report.deliveries)
    assert facts.end > plain.end


def test_a_server_goes_on_with_a_client_that_changes_its_address_and_starts_the_path_anew(tmp_path: Path) -> None:
    """A NAT's other port is the same path (RFC 9000 section 9.4): what was learnt of it is kept."""
    facts, sink = ran(tmp_path, with_events("{at: 120ms, every: 150ms, address_change: true}"))
    rebound, _ = ran(tmp_path, with_events("{at: 120ms, every: 150ms, rebind: true}"))
    assert facts.stop == rebound.stop == "done"
    assert all(delivery.copies == 1 and delivery.is_intact for delivery in facts.report.deliveries)
    states = [fact.state for fact in sink.facts if isinstance(fact, MigrationStateUpdated)]
    assert {"migration_started", "migration_complete"} <= set(states)
    assert facts.end > rebound.end


def test_who_changes_its_address_behind_a_nat_is_seen_at_a_port_of_the_new_one(tmp_path: Path) -> None:
    """Both in turn: what is on its way to any former place arrives nowhere, and mail goes on."""
    facts, _ = ran(
        tmp_path,
        with_events("{at: 120ms, every: 400ms, address_change: true}", "{at: 320ms, every: 400ms, rebind: true}"),
    )
    assert facts.stop == "done"
    assert all(delivery.copies == 1 and delivery.is_intact for delivery in facts.report.deliveries)


def test_a_path_that_narrows_is_found_out(tmp_path: Path) -> None:
    facts, sink = ran(tmp_path, with_events("{at: 100ms, mtu: 1280B}"))
    assert facts.stop == "done"
    assert facts.forward.stats.packets_too_big > 0
    assert min(entered(sink, "too_big")) >= 100 * MILLISECOND


def test_a_run_with_events_is_the_same_again(tmp_path: Path) -> None:
    text = with_events(
        "{at: 60ms, for: 40ms, every: 90ms, set: {delay.time: 40ms, rate: 5mbit}}",
        "{at: 150ms, rebind: true}",
        text=CLEAN.replace("rate: 20mbit", "rate: 20mbit\n    loss: {model: random, p: 1%}"),
    )
    facts = [ran(tmp_path, text) for _ in range(2)]
    assert facts[0][1].facts == facts[1][1].facts


def test_events_are_part_of_a_runs_key_in_the_way_they_are_said_once(tmp_path: Path) -> None:
    texts = [CLEAN] + [
        with_events(f"{{at: {at}, set: {{rate: {rate}}}}}")
        for at, rate in (("1s", "5mbit"), ("1000ms", "5000kbit"), ("1s", "{value: 5mbit}"), ("1s", "6mbit"))
    ]
    keys = [plan(load(tmp_path, text))[0].key for text in texts]
    assert keys[1] == keys[2] == keys[3]
    assert len(set(keys)) == 3


# What is refused.


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            "{at: 1s}",
            "events[0]: changes nothing; expected the key 'blackhole', 'mtu', 'set', 'rebind' or 'address_change'",
        ),
        ("{blackhole: true}", "network.events[0]: needs the key 'at'"),
        ("{at: 1, blackhole: true}", "network.events[0].at: 1 has no unit; expected a duration"),
        ("{at: 1s, blackhole: true, fro: 2s}", "unknown key 'fro'; did you mean 'for'?"),
        ("{at: 1s, blackhole: true, on: forwards}", "on 'forwards' does not exist; did you mean 'forward'?"),
        ("{at: 1s, every: 2s, blackhole: true}", "events[0].every: what stays cannot come again; expected 'for' too"),
        ("{at: 1s, for: 2s, every: 2s, blackhole: true}", "every: comes again before it is over"),
        ("{at: 1s, for: 1us, every: 2us, blackhole: true}", "every: more often than the time is worth"),
        ("{at: 1s, for: 2s, rebind: true}", "for: an address does not come back"),
        ("{at: 1s, on: forward, rebind: true}", "rebind: is about the client's address alone"),
        ("{at: 1s, rebind: true, address_change: true}", "address_change: is about the client's address alone"),
        ("{at: 1s, for: 2s, address_change: true}", "for: an address does not come back; expected 'address_change'"),
        ("{at: 1s, set: {los.p: 3%}}", "events[0].set.los.p: 'los.p' is no key of a link; did you mean 'loss'?"),
        ("{at: 1s, set: {loss.p: 3%}}", "expected the name of a loss model"),
        ("{at: 1s, set: {delay.time: 3}}", "3 has no unit; expected a duration such as 20ms"),
        ("{at: 1s, set: {mtu: 10B}}", "no datagram gets through"),
        ("{at: 1s, set: {match: [{frame: akc, action: drop}]}}", "match[0].frame: unknown frame 'akc'; did you mean"),
        ("{at: 1s, set: {match: [{field: IP.tll, equals: 5, action: drop}]}}", "IP has no field 'tll'; did you mean"),
    ],
)
def test_an_event_that_cannot_be_is_refused_where_it_stands(tmp_path: Path, event: str, words: str) -> None:
    lines = refusal(tmp_path, with_events(event))
    assert words in lines[0]
    assert lines[0].startswith("x.yaml:10: network.events[0]")


def test_events_must_not_undo_each_other(tmp_path: Path) -> None:
    line = the_refusal(
        tmp_path,
        with_events("{at: 1s, on: forward, set: {rate: 5mbit}}", "{at: 2s, on: forward, set: {rate.value: 6mbit}}"),
    )
    assert line.startswith("x.yaml:11: network.events[1].set.rate.value: would undo 'rate'")


# The link's own part.

PLAIN = LinkConfig(rate=RateConfig(value=1_000_000), delay=DelayConfig(time=50 * MILLISECOND))


def test_a_shorter_delay_lets_later_packets_overtake() -> None:
    traffic = Traffic(PLAIN)
    traffic.send(datagram(0), 0)
    traffic.link.change(replace(PLAIN, delay=DelayConfig(time=MILLISECOND)), MILLISECOND)
    traffic.send(datagram(1), MILLISECOND)
    traffic.run()
    assert traffic.numbers() == [1, 0]
    assert traffic.times() == [MILLISECOND + 800_000 + MILLISECOND, 800_000 + 50 * MILLISECOND]


def test_waiting_packets_leave_at_the_new_rate_and_the_one_under_way_at_the_old() -> None:
    traffic = Traffic(replace(PLAIN, delay=DelayConfig()))
    for number in range(3):
        traffic.send(datagram(number), 0)
    traffic.link.change(replace(PLAIN, delay=DelayConfig(), rate=RateConfig(value=8_000_000)), 100_000)
    traffic.run()
    assert traffic.times() == [800_000, 900_000, 1_000_000]


def test_without_a_rate_what_waits_leaves_at_once_and_with_one_again_later_packets_wait() -> None:
    traffic = Traffic(replace(PLAIN, delay=DelayConfig()))
    for number in range(3):
        traffic.send(datagram(number), 0)
    traffic.link.change(LinkConfig(), 100_000)
    traffic.send(datagram(3), 200_000)
    traffic.run(300_000)
    assert sorted(traffic.times()) == [100_000, 100_000, 200_000]
    traffic.link.change(replace(PLAIN, delay=DelayConfig()), MILLISECOND)
    traffic.send(datagram(4), MILLISECOND)
    traffic.run()
    assert traffic.times()[-1] == MILLISECOND + 800_000


def test_a_smaller_queue_drops_what_has_no_place_in_it() -> None:
    traffic = Traffic(PLAIN)
    for number in range(10):
        traffic.send(datagram(number), 0)
    traffic.link.change(replace(PLAIN, queue=Spec("droptail", (("packets", 2),))), 100_000)
    traffic.run()
    assert traffic.numbers() == [0, 1, 2]
    assert traffic.fates("queue_full") == list(range(3, 10))


def test_the_expected_loss_is_of_all_the_models_there_were() -> None:
    link = Link(LinkConfig(), name="forward", draws=DrawKey(1))
    for now in range(100):
        link.push(datagram(now), now)
    link.change(LinkConfig(loss=Spec("random", (("p", PROBABILITY_ONE // 2),))), 100)
    for now in range(100, 400):
        link.push(datagram(now), now)
    link.change(LinkConfig(), SECOND)
    assert link.expected_loss() == pytest.approx(150 / 400)
