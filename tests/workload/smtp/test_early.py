"""EHLO in the first flight to a known server: a round trip saved, and no mail where it could be played again."""

import pytest

from rudp_smtp.datagram import UNLABELLED, Address, Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.sim import Simulator
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.mail.mailbox import MemoryMailbox
from rudp_smtp.registry import Spec
from rudp_smtp.transport import Closed, Endpoint, Event, StreamData, Transport
from rudp_smtp.units import PROBABILITY_ONE, SECOND
from rudp_smtp.wire.frames import StreamFrame
from rudp_smtp.wire.packet import INITIAL, decode_packet
from rudp_smtp.workload import SERVER, WORKLOADS, Stage, Workload
from rudp_smtp.workload.node import Role, WorkloadNode
from rudp_smtp.workload.smtp import SmtpStage
from rudp_smtp.workload.smtp.receiver import MailReceiver
from tests.smtp.dialogue import read_replies
from tests.workload.scene import DELAY, LOSSLESS, Outcome, endpoints, play, simulate

RESUMING = Spec("rudp", (("resumption", True),))
FORGETFUL = Spec("rudp", (("resumption", False),))
HELLO = b"EHLO session-0.client.example\r\n"
SESSION = HELLO + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\ntext\r\n.\r\n"
LOSSY = LinkConfig(delay=DELAY, loss=Spec("random", (("p", PROBABILITY_ONE // 10),)), duplicate=PROBABILITY_ONE // 10)


def smtp(**parameters: object) -> Workload:
    given = {
        "name": "smtp",
        "messages": 3,
        "size": "4KiB",
        "connect": "per_message",
        "interval": "20s",
        "recipients": 1,
    }
    return WORKLOADS.build(WORKLOADS.spec({**given, **parameters}, "workload"))


def times(outcome: Outcome) -> list[float]:
    """From connect to the final 250, for each message, in round trips."""
    assert all((row.status, row.copies, row.is_intact) == ("delivered", 1, True) for row in outcome.rows)
    return [((row.completed_at or 0) - (row.submitted_at or 0)) / (2 * DELAY.time) for row in outcome.rows]


class Tap(Link):
    """A link that keeps what enters it."""

    def __init__(self, config: LinkConfig, name: str, draws: DrawKey) -> None:
        super().__init__(config, name=name, draws=draws)
        self.entered: list[bytes] = []

    def push(self, data: bytes, now: int, label: Label = UNLABELLED) -> None:
        self.entered.append(data)
        super().push(data, now, label)


def tapped(path: LinkConfig, seed: int) -> tuple[list[bytes], SmtpStage]:
    """All that the client sent over a path that may lose it, and what came of it."""
    draws = DrawKey(seed)
    workload = smtp(early_ehlo=True)
    stage = workload.stage(*endpoints(draws, RESUMING), draws.derive("workload"))
    assert isinstance(stage, SmtpStage)
    forward = Tap(path, "forward", draws.derive("link"))
    links: dict[tuple[Address, Address], Link] = {
        ("client", "server"): forward,
        ("server", "client"): Link(path, name="reverse", draws=draws.derive("link")),
    }
    assert Simulator({"client": stage.client, "server": stage.server}, links).run(600 * SECOND, 100_000).stop == "done"
    workload.report(stage)
    return forward.entered, stage


class Hasty(Role):
    """Calls twice, the second time with a whole session in one breath, marked as if it were safe to be taken twice."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.is_done = False
        self.heard: list[bytes] = []  # by connection
        self._endpoint = endpoint

    def start(self, now: int) -> None:
        connection = self._endpoint.connect(SERVER, now)
        connection.send(connection.open_stream(), SESSION if self.heard else HELLO, is_replay_safe=True)
        self.heard.append(b"")

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        if isinstance(event, StreamData):
            self.heard[-1] += event.data
            if event.is_fin or (len(self.heard) == 1 and len(read_replies(self.heard[0])) == 2):
                connection.close(now)
        elif isinstance(event, Closed) and len(self.heard) == 1:
            self.start(now)
        elif isinstance(event, Closed):
            self.is_done = True


def test_a_known_server_answers_ehlo_with_its_first_flight() -> None:
    assert times(play(smtp(), transport=FORGETFUL)) == [4.0] * 3
    assert times(play(smtp(early_ehlo=True), transport=FORGETFUL)) == [4.0] * 3  # nothing can ride without resumption
    assert times(play(smtp(), transport=RESUMING)) == [4.0] * 3  # nothing is there to ride
    assert times(play(smtp(early_ehlo=True), transport=RESUMING)) == [4.0, 3.0, 3.0]
    assert times(play(smtp(early_ehlo=True, pipelining=False), transport=RESUMING)) == [6.0, 5.0, 5.0]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("path", [LOSSLESS, LOSSY], ids=["lossless", "lossy"])
def test_a_first_flight_carries_ehlo_and_not_an_octet_of_mail(path: LinkConfig, seed: int) -> None:
    sent, stage = tapped(path, seed)
    first_flights = [packet for packet in map(decode_packet, sent) if packet.kind == INITIAL]
    assert len(first_flights) >= 3
    early = [frame for packet in first_flights for frame in packet.frames if isinstance(frame, StreamFrame)]
    assert {frame.data for frame in early} == {b"", HELLO}
    assert not any(frame.is_fin or frame.offset for frame in early)
    assert all((row.status, row.copies, row.is_intact) == ("delivered", 1, True) for row in stage.rows)


@pytest.mark.parametrize("remote", ["client", "mallory"])
def test_whatever_was_recorded_and_is_played_again_delivers_nothing(remote: str) -> None:
    sent, stage = tapped(LOSSLESS, seed=1)
    before = stage.server.stats().packets_received
    for now in (stage.rows[-1].completed_at or 0, 200 * SECOND):
        for data in sent:
            stage.server.receive_datagram(data, remote, now)
            while stage.server.next_datagram(now) is not None:
                pass
    assert len(stage.mailbox.messages) == 3
    replayed = stage.server.stats().packets_received - before
    assert replayed <= (6 if remote == "mallory" else 0)  # first flights from elsewhere are first flights


def test_a_client_of_another_make_that_sends_mail_early_is_refused() -> None:
    """What our client never does. The ticket is good, so only the session's own rule stands in the way."""
    draws = DrawKey(1)
    client, server = endpoints(draws, RESUMING)
    hasty, mailbox = Hasty(client), MemoryMailbox()
    stage = Stage(WorkloadNode(client, hasty), WorkloadNode(server, MailReceiver(mailbox)))
    assert simulate(stage, LOSSLESS, LOSSLESS, draws, until=60 * SECOND).stop == "done"
    assert [reply.code for reply in read_replies(hasty.heard[1])] == [220, 250, 421]
    assert mailbox.messages == []
