"""Mail from hand-over to mailbox over bad paths: delivered, intact, and what became of the rest."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.config import CorruptConfig, DelayConfig, LinkConfig, ReorderConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND
from rudp_smtp.workload import WORKLOADS, Workload
from rudp_smtp.workload.smtp import SmtpStage
from tests.workload.scene import DELAY, LOSSLESS, REFERENCE, Outcome, endpoints, play, simulate

CPYTHON = Path(__file__).parents[4] / "shared" / "data" / "mail" / "cpython"
TENTH = PROBABILITY_ONE // 10


def smtp(**parameters: object) -> Workload:
    return WORKLOADS.build(WORKLOADS.spec({"name": "smtp", **parameters}, "workload"))


def random_loss(probability: int) -> Spec:
    return Spec("random", (("p", probability),))


def all_arrived_once(outcome: Outcome) -> bool:
    return outcome.result.stop == "done" and all(
        (row.status, row.copies, row.is_intact) == ("delivered", 1, True) for row in outcome.rows
    )


PATHS = {
    "loss": LinkConfig(delay=DELAY, loss=random_loss(TENTH)),
    "duplicates": LinkConfig(delay=DELAY, duplicate=TENTH),
    "corruption": LinkConfig(delay=DELAY, corrupt=CorruptConfig(probability=TENTH, bits=3)),
    "reordering": LinkConfig(delay=DELAY, reorder=ReorderConfig(probability=TENTH, hold=15 * MILLISECOND)),
    "jitter": LinkConfig(delay=DelayConfig(time=20 * MILLISECOND, jitter=15 * MILLISECOND)),
    "everything": LinkConfig(
        delay=DelayConfig(time=20 * MILLISECOND, jitter=5 * MILLISECOND),
        loss=random_loss(TENTH),
        duplicate=TENTH,
        corrupt=CorruptConfig(probability=TENTH),
        reorder=ReorderConfig(probability=TENTH, hold=15 * MILLISECOND),
    ),
}


@pytest.mark.parametrize("impairment", PATHS)
@pytest.mark.parametrize("pipelining", [True, False])
def test_mail_arrives_intact_and_once_whatever_the_impairment(impairment: str, pipelining: bool) -> None:
    outcome = play(smtp(messages=6, sessions=2, size="8KiB", pipelining=pipelining), PATHS[impairment])
    assert all_arrived_once(outcome)


@pytest.mark.parametrize("pipelining", [True, False])
def test_mail_in_chunks_arrives_intact_and_once_and_saves_the_turn_of_data(pipelining: bool) -> None:
    whole, chunked = (
        play(smtp(messages=3, size="8KiB", pipelining=pipelining, chunking=chunking), LOSSLESS)
        for chunking in (False, True)
    )
    assert all_arrived_once(chunked)
    assert chunked.result.now < whole.result.now
    lossy = play(smtp(messages=6, sessions=2, size="8KiB", pipelining=pipelining, chunking=True), PATHS["everything"])
    assert all_arrived_once(lossy)


@given(st.frozensets(st.integers(0, 12)), st.frozensets(st.integers(0, 12)), st.booleans())
def test_any_of_the_first_packets_may_be_lost(
    forward: frozenset[int], reverse: frozenset[int], pipelining: bool
) -> None:
    there, back = (
        LinkConfig(delay=DELAY, loss=Spec("list", (("packets", tuple(sorted(lost))),))) for lost in (forward, reverse)
    )
    outcome = play(smtp(messages=3, sessions=2, size="1KiB", pipelining=pipelining), there, back)
    assert all_arrived_once(outcome)
    assert all(row.attempts == 1 for row in outcome.rows)


def test_pipelining_saves_round_trips() -> None:
    slow, fast = (play(smtp(messages=10, size="2KiB", pipelining=pipelining)) for pipelining in (False, True))
    assert all_arrived_once(slow)
    assert all_arrived_once(fast)
    assert slow.report.finished_at is not None
    assert fast.report.finished_at is not None
    # MAIL, RCPT and DATA cost one round trip instead of three or more.
    assert slow.report.finished_at - fast.report.finished_at >= 10 * 2 * 2 * DELAY.time


def test_messages_are_dealt_to_sessions_in_turn_and_sessions_run_side_by_side() -> None:
    outcome = play(smtp(messages=7, sessions=3), REFERENCE)
    assert [row.session for row in outcome.rows] == [0, 1, 2, 0, 1, 2, 0]
    assert all_arrived_once(outcome)
    one = play(smtp(messages=7, sessions=1), REFERENCE)
    assert (outcome.report.finished_at or 0) < (one.report.finished_at or 0)


def test_more_sessions_than_messages_do_no_harm() -> None:
    assert all_arrived_once(play(smtp(messages=2, sessions=5)))


def test_an_interval_spaces_the_hand_over() -> None:
    outcome = play(smtp(messages=4, interval="300ms"))
    assert all_arrived_once(outcome)
    assert [row.submitted_at for row in outcome.rows] == [k * 300 * MILLISECOND for k in range(4)]
    for row in outcome.rows:
        assert row.submitted_at is not None
        assert row.delivered_at is not None
        assert row.delivered_at > row.submitted_at


def test_a_connection_that_idled_away_between_two_messages_is_made_again() -> None:
    outcome = play(smtp(messages=2, interval="100s"), until=300 * SECOND)
    assert all_arrived_once(outcome)
    assert [row.attempts for row in outcome.rows] == [1, 1]


def test_sizes_follow_the_distribution() -> None:
    outcome = play(smtp(messages=20, size={"distribution": "choice", "sizes": ["1KiB", "2KiB"]}))
    assert {row.size for row in outcome.rows} == {1024, 2048}
    assert all_arrived_once(outcome)


def test_a_larger_message_than_the_server_takes_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes((b"x" * 998 + b"\r\n") * (33 << 10))
    outcome = play(smtp(corpus=str(tmp_path)))
    (row,) = outcome.rows
    assert row.size == 33_000 << 10
    assert (row.status, row.copies) == ("refused", 0)
    assert row.reply.startswith("552 5.3.4")
    assert outcome.result.stop == "done"
    assert outcome.report.finished_at == row.completed_at


def test_mail_is_sent_again_when_the_path_comes_back() -> None:
    """The first 100 packets of either direction are lost, the idle timeout passes, a later connection gets through."""
    dead_at_first = LinkConfig(delay=DELAY, loss=Spec("list", (("packets", tuple(range(100))),)))
    outcome = play(smtp(messages=3), dead_at_first, LOSSLESS, until=600 * SECOND)
    assert all_arrived_once(outcome)
    assert all(row.attempts > 1 for row in outcome.rows)
    assert all(row.submitted_at == 0 for row in outcome.rows)


def test_a_lost_final_reply_makes_a_second_copy_that_is_counted() -> None:
    """RFC 1047: the server keeps the message, its 250 never arrives, the client sends the message again."""
    found = []
    for first in range(4, 30):
        silent = LinkConfig(delay=DELAY, loss=Spec("list", (("packets", tuple(range(first, first + 150))),)))
        outcome = play(smtp(messages=1, size="4KiB"), LOSSLESS, silent, until=900 * SECOND)
        (row,) = outcome.rows
        assert row.status == "delivered"
        assert row.is_intact
        assert row.copies in (1, 2)
        found.append(row.copies)
    assert 2 in found


def test_a_corpus_is_delivered_or_refused_message_by_message(tmp_path: Path) -> None:
    files = {
        "a": b"Subject: x\n\n.dot\n..\n",
        "b": b"Subject: y\r\n\r\nbare\rCR\r\n",
        "c": b"Subject: x\n\n.dot\n..\n",
        "d": b"Subject: z\r\n\r\n\xff\xfe 8-bit, no line end",
        "e": b"",
        "f": b"a\nb\r\n",
        "g": b"nul\0\r\n",
        "h": b"x" * 999 + b"\n",
    }
    for name, octets in files.items():
        (tmp_path / name).write_bytes(octets)
    outcome = play(smtp(corpus=str(tmp_path), sessions=2), PATHS["loss"])
    assert [row.name for row in outcome.rows] == list(files)
    assert {row.name: row.reply for row in outcome.rows if row.status == "refused"} == {
        "b": "not sent: it contains a bare CR",
        "e": "not sent: it is empty",
        "f": "not sent: it mixes CRLF with bare LF",
        "g": "not sent: it contains NUL",
        "h": "not sent: line 1 has 999 octets, more than 998",
    }
    delivered = [row for row in outcome.rows if row.status == "delivered"]
    assert [(row.name, row.copies, row.is_intact) for row in delivered] == [
        ("a", 1, True),
        ("c", 1, True),
        ("d", 1, True),
    ]
    assert [row.size for row in delivered] == [24, 24, len(files["d"]) + 2]
    assert [row.changed_before_sending for row in delivered] == [
        "bare LF line ends became CRLF",
        "bare LF line ends became CRLF",
        "the last line got its line end",
    ]
    assert outcome.report.notes == []
    assert outcome.report.finished_at is not None


def test_a_corpus_of_nothing_that_can_be_sent_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\rb")
    outcome = play(smtp(corpus=str(tmp_path)))
    assert outcome.report.finished_at == 0
    assert outcome.result.stop == "done"
    assert outcome.result.packets == 0


def test_what_the_server_promised_is_held_against_what_the_mailbox_has() -> None:
    draws = DrawKey(1)
    workload = smtp(messages=4, size="1KiB")
    stage = workload.stage(*endpoints(draws), draws.derive("workload"))
    assert isinstance(stage, SmtpStage)
    assert simulate(stage, LOSSLESS, LOSSLESS, draws, until=60 * SECOND).stop == "done"
    kept, lost, damaged, doubled = stage.mailbox.messages
    text = bytearray(damaged.envelope.mail_data)
    text[500] ^= 1
    spoiled = replace(damaged, envelope=replace(damaged.envelope, mail_data=bytes(text)))
    stage.mailbox.messages[:] = [kept, spoiled, doubled, doubled]
    rows = workload.report(stage).deliveries
    assert lost.envelope != kept.envelope
    assert [(row.status, row.copies, row.is_intact) for row in rows] == [
        ("delivered", 1, True), ("delivered", 0, False), ("delivered", 1, False), ("delivered", 2, True)
    ]  # fmt: skip


def test_a_run_that_ends_before_its_mail_is_not_finished() -> None:
    whole = play(smtp(messages=1, size="1KiB"))
    (row,) = whole.rows
    assert row.delivered_at is not None
    for until, copies in ((DELAY.time, 0), (row.delivered_at - 1, 0), (row.delivered_at + 1, 1)):
        outcome = play(smtp(messages=1, size="1KiB"), until=until)
        (row,) = outcome.rows
        assert outcome.result.stop != "done"
        assert (row.status, row.copies, outcome.report.finished_at) == ("pending", copies, None)


def test_one_that_begins_later_is_measured_from_when_it_begins() -> None:
    draws = DrawKey(1)
    workload = smtp(messages=1, size="1KiB")
    stage = workload.stage(*endpoints(draws), draws.derive("workload"), start=SECOND)
    simulate(stage, LOSSLESS, LOSSLESS, draws, until=60 * SECOND)
    at_once, later = play(workload).report, workload.report(stage)
    assert (at_once.started_at, later.started_at) == (0, SECOND)
    assert at_once.finished_at is not None
    assert later.finished_at == at_once.finished_at + SECOND


def test_more_messages_than_the_corpus_has_begin_it_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"A: a\n")
    (tmp_path / "b").write_bytes(b"B: b\n")
    outcome = play(smtp(corpus=str(tmp_path), messages=5))
    assert [row.name for row in outcome.rows] == ["a", "b", "a", "b", "a"]
    assert all_arrived_once(outcome)


@pytest.mark.parametrize("pipelining", [True, False])
def test_equal_messages_over_a_path_without_delay_have_a_copy_each(tmp_path: Path, pipelining: bool) -> None:
    (tmp_path / "a").write_bytes(b"A: a\n")
    workload = smtp(corpus=str(tmp_path), messages=6, sessions=2, pipelining=pipelining)
    assert all_arrived_once(play(workload, LinkConfig()))


@pytest.mark.skipif(not CPYTHON.is_dir(), reason="the shared corpus is not here")
def test_the_awkward_messages_of_cpython_all_arrive_octet_for_octet() -> None:
    outcome = play(smtp(corpus=str(CPYTHON), sessions=3), PATHS["loss"])
    assert len(outcome.rows) == 48
    assert all_arrived_once(outcome)
