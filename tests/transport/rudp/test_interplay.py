"""Early data, copies, a moving client and loss, all at once: each octet is delivered once, and in order."""

from collections.abc import Callable

import pytest

from rudp_smtp.datagram import Address
from rudp_smtp.draws import DrawKey
from rudp_smtp.registry import Spec
from rudp_smtp.transport import Closed, Established, Event, StreamData, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.wire.frames import HelloFrame
from rudp_smtp.wire.packet import decode_packet
from tests.helpers import Pair, make_pair

TWICE = Rudp(redundancy=Spec("sparse_duplicate"))
HOME, REBOUND, ELSEWHERE = ("10.0.0.1", 4000), ("10.0.0.1", 4001), ("10.9.9.9", 4000)
EHLO = b"EHLO client.example\r\n"
LOSS = 10  # one datagram in so many


class Reader:
    """Owns what one side read on its second connection, and how often it was told of the end."""

    def __init__(self) -> None:
        self.octets = bytearray()
        self.ends = 0
        self.first: Transport | None = None

    def take(self, transport: Transport, event: Event) -> None:
        if self.first is None:
            self.first = transport
        if transport is not self.first and isinstance(event, StreamData):
            self.octets += event.data
            self.ends += event.is_fin


def losing(seed: int, way: str) -> Callable[[int, int, int], bool]:
    draws = DrawKey(seed, "loss").derive(way)
    return lambda index, size, ecn: draws.draw(index) % LOSS == 0


def text(name: bytes, size: int) -> bytes:
    """Octets that show where they belong."""
    line = b"".join(b"%s %06d\r\n" % (name, number) for number in range(size // 10))
    return line[:size]


def acquainted(seed: int) -> tuple[Pair, Reader, Reader]:
    """Two hosts that have met: the client has a ticket. From then on the path loses."""
    pair = make_pair(client=TWICE, seed=seed, rate="10mbit")
    pair.client_address = HOME
    at_client, at_server = Reader(), Reader()
    pair.client.application, pair.server.application = at_client.take, at_server.take
    pair.connect()
    pair.run_until_idle()
    pair.forward.loses, pair.reverse.loses = losing(seed, "forward"), losing(seed, "reverse")
    return pair, at_client, at_server


@pytest.mark.parametrize("moves", [(REBOUND,), (ELSEWHERE,), (ELSEWHERE, HOME), (REBOUND, ELSEWHERE, REBOUND)])
@pytest.mark.parametrize("seed", range(1, 7))
def test_a_resumed_connection_that_moves_and_loses_delivers_everything_once(
    seed: int, moves: tuple[Address, ...]
) -> None:
    pair, at_client, at_server = acquainted(seed)
    up, down = EHLO + text(b"up", 250_000), text(b"down", 120_000)
    client = pair.connect()
    stream = client.open_stream()
    client.send(stream, EHLO, is_replay_safe=True)
    client.send(stream, up[len(EHLO) :], True)
    pair.run_until(lambda: len(at_server.octets) > 20_000, limit="60s")
    server = pair.server.transports[1]
    server.send(stream, down, True)
    for number, address in enumerate(moves, 1):
        pair.client_address = address
        mark = 20_000 + number * 60_000
        pair.run_until(lambda mark=mark: len(at_server.octets) > mark, limit="60s")  # type: ignore[misc]
    pair.run_until(lambda: bool(at_server.ends and at_client.ends), limit="60s")
    client.close(pair.now)
    pair.run_until_idle()
    assert bytes(at_server.octets) == up
    assert bytes(at_client.octets) == down
    assert at_server.ends == at_client.ends == 1
    assert len(pair.server.transports) == 2
    ends = [event for transport, event in pair.client.events if transport is client and isinstance(event, Closed)]
    assert [end.cause for end in ends] == ["local"]
    hellos = [
        frame for _, data in pair.reverse.sent for frame in decode_packet(data).frames if isinstance(frame, HelloFrame)
    ]
    assert hellos[-1].is_early_data_taken
    assert server.stats.migrations >= 1
    assert client.stats.copies_sent > 0


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_resumed_dialogue_of_a_client_that_moves_between_its_turns_hears_each_answer_once(seed: int) -> None:
    pair, at_client, at_server = acquainted(seed)
    client = pair.connect()
    stream = client.open_stream()
    asked = answered = b""
    pair.run_until(lambda: len(pair.server.told(Established)) == 2, limit="30s")  # RFC 9000 s9: nobody moves before
    for turn, address in enumerate((HOME, REBOUND, ELSEWHERE, ELSEWHERE, HOME, REBOUND) * 3):
        pair.client_address = address
        question, answer = b"question %d\r\n" % turn, b"answer %d\r\n" % turn
        client.send(stream, question, is_replay_safe=not turn)
        asked, answered = asked + question, answered + answer
        pair.run_until(lambda asked=asked: at_server.octets == asked, limit="30s")  # type: ignore[misc]
        pair.server.transports[1].send(stream, answer)
        pair.run_until(lambda answered=answered: at_client.octets == answered, limit="30s")  # type: ignore[misc]
    pair.run_until_idle()
    assert (bytes(at_server.octets), bytes(at_client.octets)) == (asked, answered)
    assert pair.server.transports[1].stats.copies_sent > 0
