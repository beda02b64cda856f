"""A dialogue: one turn after the other, timed from when the connection is open."""

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND
from rudp_smtp.workload import WORKLOADS, Workload
from tests.workload.scene import DELAY, LOSSLESS, play

ROUND_TRIP = 2 * DELAY.time


def dialogue(**parameters: object) -> Workload:
    return WORKLOADS.build(WORKLOADS.spec({"name": "request_response", **parameters}, "workload"))


def test_on_a_sound_path_every_turn_takes_one_round_trip() -> None:
    outcome = play(dialogue(), LOSSLESS)
    assert len(outcome.rows) == 20
    assert outcome.report.started_at == ROUND_TRIP
    for turn, row in enumerate(outcome.rows):
        assert row.name == f"turn-{turn}"
        assert row.size == 48 + 64
        assert row.submitted_at == (1 + turn) * ROUND_TRIP
        assert row.delivered_at == row.submitted_at + DELAY.time
        assert row.completed_at == row.submitted_at + ROUND_TRIP
    assert outcome.report.finished_at == outcome.rows[-1].completed_at


def test_thinking_comes_between_an_answer_and_the_next_request() -> None:
    outcome = play(dialogue(turns=3, think="15ms"), LOSSLESS)
    first, second, third = outcome.rows
    assert first.completed_at is not None
    assert second.submitted_at == first.completed_at + 15 * MILLISECOND
    assert second.completed_at is not None
    assert third.submitted_at == second.completed_at + 15 * MILLISECOND
    assert outcome.result.stop == "done"


@pytest.mark.parametrize("turns", [0, 1_000_001])
def test_a_number_of_turns_that_makes_no_sense_is_refused(turns: int) -> None:
    with pytest.raises(ConfigError, match="expected at least 1 and at most 1000000") as caught:
        dialogue(turns=turns)
    assert caught.value.key == "workload.turns"


def test_a_turn_may_span_many_packets() -> None:
    outcome = play(dialogue(turns=4, request="20kB", response="50kB"), LOSSLESS)
    assert all(row.status == "delivered" and row.is_intact for row in outcome.rows)
    assert outcome.report.server.stream_bytes_delivered == 80_000
    assert outcome.report.client.stream_bytes_delivered == 200_000


def test_a_server_without_more_to_say_is_not_asked_again() -> None:
    """The path to the server dies in the middle: turns already answered stay, the rest is pending."""
    dying = LinkConfig(delay=DELAY, loss=Spec("list", (("packets", tuple(range(12, 2000))),)))
    outcome = play(dialogue(), dying, LOSSLESS)
    states = [row.status for row in outcome.rows]
    assert states == sorted(states)  # delivered before pending
    assert set(states) == {"delivered", "pending"}
    assert outcome.report.finished_at is None
    assert outcome.rows[-1].reply.startswith("connection closed: ")
    assert outcome.rows[-1].submitted_at is None
