"""One transfer: all of it, checked on the way, never held in memory at once."""

from dataclasses import replace

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import LinkConfig, ReorderConfig
from rudp_smtp.registry import Spec
from rudp_smtp.transport import StreamReset
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND
from rudp_smtp.workload import WORKLOADS, Workload
from rudp_smtp.workload.bulk import ENDLESS, Incoming, Outgoing, Receiver, Sender
from rudp_smtp.workload.node import Pattern
from tests.helpers import connected_pair
from tests.workload.scene import DELAY, LOSSLESS, REFERENCE, play

TENTH = PROBABILITY_ONE // 10
SHORT_QUEUE = replace(REFERENCE, queue=Spec("droptail", (("limit", 100_000),)))


def bulk(size: str) -> Workload:
    return WORKLOADS.build(WORKLOADS.spec({"name": "bulk", "size": size}, "workload"))


@pytest.mark.parametrize("size", ["1B", "32767B", "65521B", "3MB"])
def test_every_octet_arrives_and_the_receipt_comes_back(size: str) -> None:
    outcome = play(bulk(size), LOSSLESS)
    (row,) = outcome.rows
    assert (row.status, row.copies, row.is_intact) == ("delivered", 1, True)
    assert row.delivered_at is not None
    assert row.completed_at is not None
    assert row.completed_at >= row.delivered_at + DELAY.time
    assert outcome.report.finished_at == row.delivered_at
    assert outcome.report.server.stream_bytes_delivered == row.size


def test_a_rate_limit_is_not_beaten_and_nearly_reached() -> None:
    outcome = play(bulk("2MB"), REFERENCE)
    assert outcome.report.finished_at is not None
    assert 800 * MILLISECOND < outcome.report.finished_at < 1300 * MILLISECOND


def test_octets_out_of_order_are_put_in_order() -> None:
    path = LinkConfig(
        delay=DELAY,
        loss=Spec("random", (("p", TENTH),)),
        duplicate=TENTH,
        reorder=ReorderConfig(probability=TENTH, hold=15 * MILLISECOND),
    )
    (row,) = play(bulk("500kB"), path).rows
    assert (row.status, row.is_intact) == ("delivered", True)


# Several flows, and a duration instead of a size


def several(**given: object) -> Workload:
    return WORKLOADS.build(WORKLOADS.spec({"name": "bulk", **given}, "workload"))


@pytest.mark.parametrize("multiplex", ["connection", "stream"])
def test_several_flows_run_at_once_and_each_has_a_row(multiplex: str) -> None:
    outcome = play(several(size="1MB", flows=3, multiplex=multiplex), SHORT_QUEUE)
    assert [(row.name, row.status, row.is_intact) for row in outcome.rows] == [
        (f"transfer-{number}", "delivered", True) for number in range(3)
    ]
    assert [row.session for row in outcome.rows] == ([0, 1, 2] if multiplex == "connection" else [0, 0, 0])
    ends = [row.delivered_at for row in outcome.rows if row.delivered_at is not None]
    assert outcome.report.finished_at == max(ends)
    assert max(ends) - min(ends) < max(ends) // 2, "they ran one after another"
    assert outcome.report.server.stream_bytes_delivered == 3_000_000


def test_flows_are_told_apart_whatever_the_path_does_to_their_order() -> None:
    path = LinkConfig(
        delay=DELAY,
        loss=Spec("random", (("p", TENTH),)),
        reorder=ReorderConfig(probability=PROBABILITY_ONE // 2, hold=35 * MILLISECOND),
    )
    rows = play(several(size="20kB", flows=8), path).rows
    assert [(row.status, row.is_intact) for row in rows] == [("delivered", True)] * 8
    assert len({row.delivered_at for row in rows}) > 1


@pytest.mark.parametrize("multiplex", ["connection", "stream"])
def test_staggered_flows_begin_one_after_another(multiplex: str) -> None:
    outcome = play(several(size="2B", flows=3, stagger="1s", multiplex=multiplex), LOSSLESS)
    assert [row.submitted_at for row in outcome.rows] == [0, SECOND, 2 * SECOND]
    assert [row.status for row in outcome.rows] == ["delivered"] * 3
    assert outcome.result.now > 2 * SECOND


@pytest.mark.parametrize("multiplex", ["connection", "stream"])
def test_a_duration_ends_all_flows_at_once_and_counts_what_had_arrived(multiplex: str) -> None:
    given = several(duration="3s", flows=2, stagger="500ms", multiplex=multiplex)
    outcome = play(given, SHORT_QUEUE)
    report, rows = outcome.report, outcome.rows
    assert (outcome.result.stop, report.finished_at) == ("done", 3 * SECOND)
    assert outcome.result.now < 4 * SECOND
    assert [(row.status, row.is_intact, row.completed_at) for row in rows] == [("delivered", True, 3 * SECOND)] * 2
    assert 0.85 < sum(row.size for row in rows) * 8 / (20_000_000 * 3) < 0.97
    assert all(row.delivered_at is not None and row.delivered_at <= 3 * SECOND for row in rows)


def test_a_flow_tells_its_progress() -> None:
    outcome = play(several(duration="4s", flows=2, stagger="1s"), SHORT_QUEUE)
    first, second = outcome.report.flows
    assert (first.started_at, second.started_at) == (0, SECOND)
    assert first.ended_at == second.ended_at == 4 * SECOND
    assert first.progress.between(0, SECOND) * 8 == pytest.approx(17e6, rel=0.15)
    assert second.progress.between(0, SECOND) == 0
    halves = [first.progress.between(k * SECOND, (k + 2) * SECOND) for k in (0, 2)]
    assert sum(halves) == pytest.approx(outcome.rows[0].size, rel=0.01)


def test_a_flow_that_is_broken_off_has_no_end() -> None:
    deaf = LinkConfig(delay=DELAY, loss=Spec("list", (("packets", tuple(range(200, 20_000))),)))
    outcome = play(several(duration="100s"), LOSSLESS, deaf, until=200 * SECOND)
    (row,), (flow,) = outcome.rows, outcome.report.flows
    assert (row.status, row.reply, flow.ended_at) == ("pending", "connection closed: idle_timeout", None)
    assert outcome.report.finished_at is None


def test_flows_that_share_a_connection_that_fails_all_fail_and_the_run_ends() -> None:
    nothing = LinkConfig(loss=Spec("random", (("p", PROBABILITY_ONE),)))
    outcome = play(several(size="1kB", flows=3, stagger="60s", multiplex="stream"), nothing, until=200 * SECOND)
    assert outcome.result.stop == "done"
    assert {row.reply for row in outcome.rows} == {"connection closed: idle_timeout"}
    assert [row.attempts for row in outcome.rows] == [1, 0, 0]


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"size": "1MB", "duration": "1s"}, "workload.duration", "only one of the two"),
        ({"flows": 0}, "workload.flows", "at least 1"),
        ({"flows": 2, "size": "1B"}, "workload.size", "at least 2 octets"),
        ({"duration": "0s"}, "workload.duration", "over when"),
        ({"duration": "2s", "flows": 3, "stagger": "1s"}, "workload.duration", "over when"),
        ({"multiplex": "streams"}, "workload.multiplex", "did you mean 'stream'?"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, object], key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        several(**given)
    assert caught.value.key == key
    assert words in caught.value.message


# Octets that no sender of ours would have sent: a textbook's ARQ over a path that reorders delivers such


def test_a_flow_that_nobody_sent_and_one_that_came_twice_are_refused() -> None:
    pair = connected_pair()
    flows = [Incoming(number, Pattern(DrawKey(1)), ENDLESS) for number in range(2)]
    receiver = Receiver(flows)
    pair.server.application = lambda connection, event: receiver.on_event(connection, event, pair.now)
    first, unknown, again = (pair.client.open_stream() for _ in range(3))
    pair.client.send(b"\0\1?", stream_id=first)
    pair.run_until_idle()
    pair.client.send(b"\xff\xff?", stream_id=unknown)
    pair.client.send(b"\0\1?", fin=True, stream_id=again)
    pair.run_until_idle()
    assert {event.stream_id for event in pair.client.told(StreamReset) if isinstance(event, StreamReset)} == {
        unknown,
        again,
    }
    assert [flow.total for flow in flows] == [0, 3]
    assert flows[1].completed_at is None


def test_a_server_that_opens_a_stream_of_its_own_is_not_listened_to() -> None:
    pair = connected_pair()
    outgoing = [Outgoing(0, 100_000, 0)]
    sender = Sender(pair.client.endpoint, "server", outgoing, Pattern(DrawKey(1)), is_shared=False, deadline=None)
    pair.client.application = lambda connection, event: sender.on_event(connection, event, pair.now)
    sender.start(pair.now)
    pair.run_until(lambda: len(pair.server.transports) == 2)
    stray = pair.server.transports[1].open_stream()
    pair.server.transports[1].send(stray, b"!", True)
    pair.run_until_idle()
    assert outgoing[0].receipt_at is None
    assert not sender.is_done
