"""A record survives JSON, and every metric keeps the contract of its folder."""

import json
import math
from dataclasses import replace
from importlib import import_module

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.build import RunFacts
from rudp_smtp.experiment.metrics import METRICS, UNITS
from rudp_smtp.experiment.records import Record, columns, record
from rudp_smtp.transport import TransportStats, add_stats
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.workload import FlowReport, Progress
from tests.experiment import invented

RUN = invented.runs()[0]


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_ends_in_its_unit_and_is_a_function_of_its_file_s_name(name: str) -> None:
    assert name.rsplit("_", 1)[-1] in UNITS
    assert METRICS.load(name).__name__ == name
    assert import_module(f"rudp_smtp.experiment.metrics.{name}").__doc__


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_of_an_empty_run_is_finite_or_none(name: str) -> None:
    value = METRICS.load(name)(invented.empty_facts(RUN))
    assert value is None or math.isfinite(value)


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_counts_in_whole_numbers_and_rounds_the_rest_once(name: str) -> None:
    value = METRICS.load(name)(invented.facts(RUN))
    assert value is not None
    if name.endswith(("_count", "_bytes", "_bps")):
        assert type(value) is int
    else:
        assert type(value) is float
        assert value == round(value, 6)


def test_an_unknown_metric_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'goodput_bps'"):
        METRICS.load("goodput_bits")


def test_a_record_is_the_same_after_json() -> None:
    original = record(invented.facts(RUN))
    assert Record.from_document(json.loads(json.dumps(original.document()))) == original
    assert not original.is_censored
    assert record(invented.empty_facts(RUN)).is_censored


def test_columns_name_every_field_of_every_row() -> None:
    assert {"MessageRow.latency_ms", "LinkRow.achieved_loss_ratio", "goodput_bps"} <= set(columns())


def test_a_message_row_measures_from_hand_over_to_reply_and_to_mailbox() -> None:
    row = record(invented.facts(RUN)).messages[1]
    assert row.submitted_ms == 1.0
    assert row.completed_ms is not None
    assert row.latency_ms == row.completed_ms - 1.0
    assert row.mailbox_latency_ms == row.latency_ms - 20.0


def test_a_link_row_certifies_what_was_asked() -> None:
    lossy = invented.runs(replications=1)[1]
    link = record(invented.facts(lossy)).links[0]
    assert link.direction == "forward"
    assert link.asked_loss == "random p=10%"
    assert (link.theoretical_loss_ratio, link.achieved_loss_ratio) == (0.1, link.lost_count / 100)
    assert link.achieved_loss_low_ratio is not None
    assert link.achieved_loss_high_ratio is not None
    assert link.achieved_loss_low_ratio <= link.lost_count / 100 <= link.achieved_loss_high_ratio
    assert (link.asked_delay_ms, link.achieved_delay_ms) == (20.0, 20.0)
    assert (link.asked_rate_bps, link.achieved_rate_bps) == (20_000_000, 20_000_000)
    assert (link.delay_verdict, link.rate_verdict) == ("agrees", "agrees")
    assert link.loss_verdict == "too few packets"  # a hundred cannot tell 10 % from 5 %
    assert link.reorder_verdict == link.duplicate_verdict == link.corrupt_verdict == ""
    assert link.asked_duplicate_ratio is link.achieved_duplicate_ratio is None


def test_a_message_without_an_answer_is_later_than_any_other() -> None:
    facts = invented.facts(RUN)
    facts.report.deliveries[0].completed_at = None
    facts.report.deliveries[0].status = "pending"
    assert METRICS.load("latency_median_ms")(facts) is not None
    assert METRICS.load("latency_p99_ms")(facts) is None
    facts.report.deliveries[0].status = "refused"
    assert METRICS.load("latency_p99_ms")(facts) is not None


def test_copies_and_damage_are_counted() -> None:
    facts = invented.facts(RUN)
    facts.report.deliveries[0].copies = 3
    facts.report.deliveries[1].is_intact = False
    row = record(facts)
    assert row.metrics["duplicated_count"] == 2
    assert row.metrics["delivered_count"] == 5
    assert row.metrics["intact_count"] == 4


def test_goodput_counts_intact_octets_over_the_work_and_over_the_run_where_it_never_ended() -> None:
    facts = invented.facts(RUN)
    facts.report.finished_at = 400_000_000
    assert METRICS.load("goodput_bps")(facts) == 5 * 16_384 * 8 * 10 // 4
    facts = replace(facts, stop="time_limit", end=800_000_000)
    facts.report.finished_at = None
    assert METRICS.load("goodput_bps")(facts) == 5 * 16_384 * 8 * 10 // 8
    assert METRICS.load("completion_ms")(facts) is None


# Flows side by side


def metric(name: str, facts: RunFacts) -> float | None:
    return METRICS.load(name)(facts)


def test_fairness_is_jain_s_index_over_the_run_s_flows_and_its_rivals() -> None:
    facts = invented.facts(RUN)  # flows of 3, 1 and, of a rival, 4
    assert metric("fairness_ratio", facts) == pytest.approx((3 + 1 + 4) ** 2 / (3 * (9 + 1 + 16)), abs=1e-6)
    assert metric("own_share_ratio", facts) == 0.5
    assert metric("rival_goodput_bps", facts) == 4_000 * 8 * 100


def test_one_flow_alone_is_neither_fair_nor_unfair_and_has_no_share() -> None:
    facts = replace(invented.facts(RUN), rivals=())
    assert metric("fairness_ratio", facts) == 0.8
    assert metric("own_share_ratio", facts) is None
    assert metric("rival_goodput_bps", facts) is None
    facts.report.flows.pop()
    assert metric("fairness_ratio", facts) is None


def test_flows_are_compared_only_while_all_of_them_are_running() -> None:
    facts = invented.facts(RUN)
    late, short = invented.flow("late", 3_000, 200 * MILLISECOND, None), invented.flow("short", 3_000)
    facts = replace(facts, end=SECOND, rivals=())
    facts.report.flows = [late, short]
    assert metric("fairness_ratio", facts) == 1.0
    facts.report.flows = [invented.flow("one", 1_000, 0, 100 * MILLISECOND), late]
    assert metric("fairness_ratio", facts) is None
    facts.report.flows = [FlowReport("never", None, None, Progress()), short]
    assert metric("fairness_ratio", facts) is None


def test_a_flow_that_broke_off_got_nothing_from_then_on() -> None:
    facts = replace(invented.facts(RUN), end=800 * MILLISECOND, rivals=())
    broken = invented.flow("broken", 1_000)
    broken.ended_at = None
    facts.report.flows = [broken, invented.flow("whole", 1_000, 0, 800 * MILLISECOND)]
    got = {"broken": 20, "whole": 60}  # steps from 200 ms, after the warm-up
    expected = sum(got.values()) ** 2 / (2 * sum(steps**2 for steps in got.values()))
    assert metric("fairness_ratio", facts) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "counter"),
    [("spurious_count", "packets_spurious"), ("probes_count", "probes_sent"), ("declared_lost_count", "packets_lost")],
)
def test_a_counter_that_a_transport_does_not_tell_stays_empty(name: str, counter: str) -> None:
    facts = invented.facts(RUN)
    facts.report.client, facts.report.server = TransportStats(), TransportStats()
    setattr(facts.report.client, counter, 3)
    assert metric(name, facts) == 3
    total = TransportStats()
    add_stats(total, TransportStats(untold=frozenset({counter})))
    facts.report.server = total
    assert metric(name, facts) is None


def test_excess_is_what_was_sent_beyond_what_the_losses_take() -> None:
    facts = invented.facts(RUN)
    facts.report.server = TransportStats()
    facts.report.client = TransportStats(stream_bytes_sent=900, stream_bytes_retransmitted=100)
    facts.forward.packets_judged, facts.forward.stats.packets_lost = 1000, 100
    assert metric("excess_wire_ratio", facts) == 0.0
    facts.forward.stats.packets_lost = 0
    assert metric("excess_wire_ratio", facts) == pytest.approx(0.1 / 0.9, abs=1e-6)


def test_what_a_queue_has_no_room_for_is_no_excuse() -> None:
    facts = invented.facts(RUN)
    facts.report.server = TransportStats()
    facts.report.client = TransportStats(stream_bytes_sent=900, stream_bytes_retransmitted=100)
    facts.forward.packets_judged, facts.forward.stats.packets_lost = 900, 0
    facts.forward.stats.packets_queue_dropped = 100
    assert metric("excess_wire_ratio", facts) == pytest.approx(0.1 / 0.9, abs=1e-6)


def test_the_forward_queue_and_link_are_measured() -> None:
    facts = invented.facts(RUN)
    assert metric("queue_delay_mean_ms", facts) == 1.0
    assert metric("queue_delay_max_ms", facts) == 3.0
    assert metric("link_utilisation_ratio", facts) == 0.09
