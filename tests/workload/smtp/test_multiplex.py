"""Sessions over connections of their own or over streams of one; one connection for all mail or one for each."""

from itertools import pairwise

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.mail.mailbox import MemoryMailbox
from rudp_smtp.registry import Spec
from rudp_smtp.smtp import Envelope
from rudp_smtp.trace import ListSink, PacketSent
from rudp_smtp.transport import Event, StreamData, Transport
from rudp_smtp.units import PROBABILITY_ONE, SECOND
from rudp_smtp.workload import WORKLOADS, Delivery, Stage, Workload
from rudp_smtp.workload.node import WorkloadNode
from rudp_smtp.workload.smtp.conversation import Lines
from rudp_smtp.workload.smtp.mail import Mail
from rudp_smtp.workload.smtp.receiver import MailReceiver
from rudp_smtp.workload.smtp.sender import MailSender, Manners, Session
from tests.workload.scene import DELAY, LOSSLESS, REFERENCE, Outcome, endpoints, play, simulate

TENTH = PROBABILITY_ONE // 10
LOSSY = LinkConfig(delay=DELAY, loss=Spec("random", (("p", TENTH),)), duplicate=TENTH)


def smtp(**parameters: object) -> Workload:
    return WORKLOADS.build(WORKLOADS.spec({"name": "smtp", **parameters}, "workload"))


def all_arrived_once(outcome: Outcome) -> bool:
    return outcome.result.stop == "done" and all(
        (row.status, row.copies, row.is_intact) == ("delivered", 1, True) for row in outcome.rows
    )


def connections_made(workload: Workload, path: LinkConfig = REFERENCE) -> tuple[int, Outcome]:
    """How many connections the client host made, and what came of the mail."""
    sink = ListSink()
    outcome = play(workload, path, sink=sink)
    made = {fact.connection for fact in sink.facts if isinstance(fact, PacketSent) and fact.host == "client"}
    return len(made), outcome


class Moody(MailReceiver):
    """Refuses the first stream that says anything, and serves the others."""

    def __init__(self, mailbox: MemoryMailbox) -> None:
        super().__init__(mailbox)
        self._refused: tuple[Transport, int] | None = None

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        if isinstance(event, StreamData) and self._refused is None:
            self._refused = (connection, event.stream_id)
            connection.reset_stream(event.stream_id, 7)
            connection.stop_sending(event.stream_id, 7)
        elif self._refused != (connection, getattr(event, "stream_id", None)):
            super().on_event(connection, event, now)


@pytest.mark.parametrize(("multiplex", "made"), [("connection", 8), ("stream", 1)])
def test_eight_sessions_take_eight_connections_or_eight_streams_of_one(multiplex: str, made: int) -> None:
    count, outcome = connections_made(smtp(messages=24, sessions=8, size="4KiB", multiplex=multiplex))
    assert count == made
    assert all_arrived_once(outcome)
    assert [row.session for row in outcome.rows] == [index % 8 for index in range(24)]


def test_sessions_on_one_connection_save_the_handshakes_of_the_others() -> None:
    _, apart = connections_made(smtp(messages=8, sessions=8, size="1KiB"))
    _, together = connections_made(smtp(messages=8, sessions=8, size="1KiB", multiplex="stream"))
    # Of a client's packets, a connection costs at least the first flight and the end.
    assert together.report.client.packets_sent <= apart.report.client.packets_sent - 7 * 2
    assert together.report.client.bytes_sent < apart.report.client.bytes_sent - 7 * 1200


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("sessions", [2, 40])
def test_mail_on_streams_of_one_connection_arrives_intact_and_once(sessions: int, pipelining: bool) -> None:
    workload = smtp(messages=60, sessions=sessions, size="2KiB", multiplex="stream", pipelining=pipelining)
    assert all_arrived_once(play(workload, LOSSY))


def test_more_sessions_than_the_server_lets_streams_open_wait_their_turn() -> None:
    outcome = play(
        smtp(messages=30, sessions=30, size="1KiB", multiplex="stream"),
        LOSSY,
        transport=Spec("rudp", (("max_streams", 4),)),
    )
    assert all_arrived_once(outcome)


def test_the_end_of_a_shared_connection_gives_back_the_mail_of_all_its_sessions() -> None:
    dead_at_first = LinkConfig(delay=DELAY, loss=Spec("list", (("packets", tuple(range(3, 200))),)))
    outcome = play(smtp(messages=6, sessions=3, multiplex="stream"), dead_at_first, LOSSLESS, until=600 * SECOND)
    assert all_arrived_once(outcome)
    assert all(row.attempts > 1 for row in outcome.rows)


def test_a_session_whose_stream_is_reset_begins_another_and_disturbs_nobody() -> None:
    draws = DrawKey(1)
    client, server = endpoints(draws)
    lines, mailbox = Lines(client, is_shared=True), MemoryMailbox()
    sessions = [Session(k, lines, Manners()) for k in range(3)]
    rows = [Delivery(k, "", 3, k) for k in range(3)]
    for session, row in zip(sessions, rows, strict=True):
        session.add(Mail(Envelope("a@a.example", ("b@b.example",), b"%d\r\n" % row.index), 0, row))
    stage = Stage(WorkloadNode(client, MailSender(lines, sessions)), WorkloadNode(server, Moody(mailbox)))
    assert simulate(stage, LOSSLESS, LOSSLESS, draws, until=400 * SECOND).stop == "done"
    assert [copy.envelope.mail_data for copy in mailbox.messages] == [b"1\r\n", b"2\r\n", b"0\r\n"]
    assert [row.attempts for row in rows] == [2, 1, 1]
    assert [(row.completed_at or 0) < SECOND for row in rows] == [False, True, True]


def test_each_message_may_have_a_connection_of_its_own() -> None:
    count, outcome = connections_made(smtp(messages=5, sessions=2, size="1KiB", connect="per_message"))
    assert count == 5
    assert all_arrived_once(outcome)
    assert [row.attempts for row in outcome.rows] == [1] * 5


def test_a_message_on_a_connection_of_its_own_takes_as_long_as_the_first_did() -> None:
    outcome = play(smtp(messages=4, size="1KiB", connect="per_message", interval="10s"))
    assert all_arrived_once(outcome)
    assert [row.submitted_at for row in outcome.rows] == [k * 10 * SECOND for k in range(4)]
    times = [(row.completed_at or 0) - (row.submitted_at or 0) for row in outcome.rows]
    assert times == times[:1] * 4
    persistent = play(smtp(messages=4, size="1KiB", interval="10s"))
    later = persistent.rows[1]
    assert (later.completed_at or 0) - (later.submitted_at or 0) < times[0]


def test_the_next_connection_waits_for_the_end_of_the_one_before() -> None:
    outcome = play(smtp(messages=3, size="1KiB", connect="per_message"))
    assert all_arrived_once(outcome)
    ends = [row.completed_at or 0 for row in outcome.rows]
    assert all(later - earlier > 4 * DELAY.time for earlier, later in pairwise(ends))


@pytest.mark.parametrize("pipelining", [True, False])
def test_connections_for_one_message_survive_a_bad_path(pipelining: bool) -> None:
    workload = smtp(messages=6, sessions=2, size="4KiB", connect="per_message", pipelining=pipelining)
    assert all_arrived_once(play(workload, LOSSY))


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"multiplex": "streams"}, "workload.multiplex", "did you mean 'stream'?"),
        ({"recipients": 4}, "workload.recipients", "expected 1 to 3"),
        ({"connect": "always"}, "workload.connect", "known: persistent, per_message"),
        ({"multiplex": "stream", "connect": "per_message"}, "workload.connect", "cannot be shared"),
    ],
)
def test_a_wrong_parameter_is_refused_where_it_stands(given: dict[str, object], key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WORKLOADS.spec({"name": "smtp", **given}, "workload")
    assert caught.value.key == key
    assert words in caught.value.message
