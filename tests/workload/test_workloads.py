"""The contract of every workload: it finishes over a sound path, says so, and does the same again."""

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import PROBABILITY_ONE, SECOND
from rudp_smtp.workload import WORKLOADS
from tests.workload.scene import DELAY, LOSSLESS, play

NOTHING_ARRIVES = LinkConfig(loss=Spec("random", (("p", PROBABILITY_ONE),)))
NAMES = WORKLOADS.names()


def small(name: str) -> Spec:
    """The workload as it comes, the bulky one less bulky."""
    return WORKLOADS.spec({"name": name, "size": "200kB"} if name == "bulk" else name, "workload")


@pytest.mark.parametrize("name", NAMES)
def test_every_workload_finishes_over_a_lossless_path_with_everything_intact(name: str) -> None:
    outcome = play(WORKLOADS.build(small(name)))
    report = outcome.report
    assert outcome.result.stop == "done"
    assert report.finished_at is not None
    assert report.started_at <= report.finished_at <= outcome.result.now
    assert report.deliveries
    for row in report.deliveries:
        assert (row.status, row.copies, row.is_intact, row.attempts) == ("delivered", 1, True, 1)
        assert row.submitted_at is not None
        assert row.delivered_at is not None
        assert row.completed_at is not None
        assert row.submitted_at + DELAY.time <= row.delivered_at <= row.completed_at - DELAY.time
        assert row.size > 0
    assert [row.index for row in report.deliveries] == list(range(len(report.deliveries)))


@pytest.mark.parametrize("name", NAMES)
def test_every_workload_does_the_same_again_and_other_things_with_another_seed(name: str) -> None:
    lossy = LinkConfig(delay=DELAY, loss=Spec("random", (("p", PROBABILITY_ONE // 20),)))
    first, second, other = (play(WORKLOADS.build(small(name)), lossy, seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first.rows != other.rows
    assert all(row.is_intact and row.copies == 1 for row in [*first.rows, *other.rows])


@pytest.mark.parametrize("name", NAMES)
def test_a_server_that_cannot_be_reached_leaves_pending_rows_and_no_end(name: str) -> None:
    outcome = play(WORKLOADS.build(small(name)), NOTHING_ARRIVES, until=200 * SECOND)
    assert outcome.report.finished_at is None
    for row in outcome.rows:
        assert (row.status, row.copies, row.is_intact) == ("pending", 0, False)
        assert row.completed_at is None
        assert row.delivered_at is None
    assert outcome.rows[0].reply == "connection closed: idle_timeout"


@pytest.mark.parametrize("name", NAMES)
def test_the_path_may_fall_silent_after_the_handshake(name: str) -> None:
    """Everything the server says after its first packets is lost."""
    deaf = LinkConfig(delay=DELAY, loss=Spec("list", (("packets", tuple(range(3, 20_000))),)))
    outcome = play(WORKLOADS.build(small(name)), LOSSLESS, deaf, until=100 * SECOND)
    assert outcome.report.finished_at is None
    assert any(row.status == "pending" for row in outcome.rows)


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"name": "smtp", "messages": 0}, "workload.messages", "at least 1"),
        ({"name": "smtp", "sessions": 0}, "workload.sessions", "at least 1"),
        ({"name": "smtp", "size": "100B"}, "workload.size", "too small"),
        ({"name": "smtp", "interval": 5}, "workload.interval", "no unit"),
        ({"name": "smtp", "chunks": True}, "workload.chunks", "did you mean 'chunking'?"),
        ({"name": "bulk", "size": "0B"}, "workload.size", "at least one octet"),
        ({"name": "request_response", "turns": 0}, "workload.turns", "at least 1"),
        ({"name": "request_response", "request": "1MB"}, "workload.request", "not from 1B"),
        ({"name": "smpt"}, "workload.name", "did you mean 'smtp'?"),
    ],
)
def test_a_wrong_parameter_is_refused_where_it_stands(given: dict[str, object], key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WORKLOADS.spec(given, "workload")
    assert caught.value.key == key
    assert words in caught.value.message
