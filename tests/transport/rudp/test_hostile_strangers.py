"""Who is not on the path knows no connection ID: whatever he sends, nothing happens. Who recorded us gains nothing."""

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.transport import Closed, Established, StreamData, StreamOpened
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import SECOND
from rudp_smtp.wire.frames import (
    AckFrame,
    ConnectionCloseFrame,
    Frame,
    HelloFrame,
    MaxDataFrame,
    PaddingFrame,
    PathChallengeFrame,
    ResetStreamFrame,
    StopSendingFrame,
    StreamFrame,
    TokenFrame,
)
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet, decode_packet, encode_packet
from tests.helpers import Pair, Side, connected_pair
from tests.transport.rudp.puppet import LIMITS, Puppet, connections_of

FORGED: dict[str, list[Frame]] = {
    "the end of the connection": [ConnectionCloseFrame(0, "", True)],
    "an error": [ConnectionCloseFrame(7, "forged", False)],
    "a reset": [ResetStreamFrame(0, 1, 5)],
    "a stop": [StopSendingFrame(0, 1)],
    "octets": [StreamFrame(0, 0, b"forged", True)],
    "an acknowledgement of all": [AckFrame([(0, 1000)], 0)],
    "credit": [MaxDataFrame(1 << 60)],
    "another HELLO": [HelloFrame(initial_max_data=1)],
    "a challenge": [PathChallengeFrame(1)],
    "a token": [TokenFrame(b"x" * 29)],
}
IDS = DrawKey(99, "guesses")


def in_the_middle() -> Pair:
    """A pair with a transfer under way."""
    pair = connected_pair(rate="1mbit")
    pair.client.send(bytes(50_000), True)
    pair.run_for("100ms")
    return pair


def addressed_to(side: Side, pair: Pair) -> int:
    """The connection ID that packets to this side carry."""
    way = pair.forward if side is pair.server else pair.reverse
    return next(p.destination_connection_id for _, d in way.sent if (p := decode_packet(d)).kind == ONE_RTT)


def guesses(true_id: int) -> list[int]:
    """Others, and those that differ in a bit or a little."""
    near = [true_id ^ 1 << bit for bit in range(64)] + [(true_id + step) % (1 << 64) for step in (-2, -1, 1, 2)]
    return [*near, 0, 1, (1 << 64) - 1, *(IDS.draw(index) for index in range(50))]


def assert_undisturbed(pair: Pair) -> None:
    """The transfer ends as if nobody had said anything."""
    connections = connections_of(pair.client), connections_of(pair.server)
    assert connections == (1, 1)
    pair.run_until_idle()
    assert pair.server_received == bytes(50_000)
    assert pair.server.finished == {0}
    for side in (pair.client, pair.server):
        assert side.closed is None
        assert len(side.told(Established)) == 1
        assert len(side.transports) == 1
    assert len(pair.server.told(StreamOpened)) == 1


@pytest.mark.parametrize("frames", FORGED.values(), ids=FORGED.keys())
@pytest.mark.parametrize("to_server", [True, False], ids=["to the server", "to the client"])
def test_a_forged_packet_without_the_connection_id_does_nothing(frames: list[Frame], to_server: bool) -> None:
    pair = in_the_middle()
    target, pretended = (pair.server, "client") if to_server else (pair.client, "server")
    sent = pair.forward.count, pair.reverse.count
    for connection_id in guesses(addressed_to(target, pair)):
        for number in (0, 30, 1 << 40):
            pair.inject(target, encode_packet(Packet(ONE_RTT, connection_id, number, frames)), pretended)
    assert (pair.forward.count, pair.reverse.count) == sent, "no answer, so nothing to reflect"
    assert_undisturbed(pair)


@pytest.mark.parametrize("frames", FORGED.values(), ids=FORGED.keys())
def test_a_forged_initial_packet_reaches_no_connection_there_is(frames: list[Frame]) -> None:
    pair = in_the_middle()
    for source, original in ((1, 2), (3, 4)):
        padding = PaddingFrame(1200 - len(encode_packet(Packet(INITIAL, original, 0, frames, source))))
        pair.inject(pair.server, encode_packet(Packet(INITIAL, original, 0, [*frames, padding], source)), "client")
        pair.inject(pair.client, encode_packet(Packet(INITIAL, original, 0, [*frames, padding], source)), "server")
    pair.run_for("40s")  # what such a packet may open, a half-open connection, is gone by then
    assert connections_of(pair.client) == connections_of(pair.server) == 0
    assert pair.server_received == bytes(50_000)
    ours = [event for transport, event in pair.server.events if transport is pair.server.transport]
    assert [type(event) for event in ours].count(Closed) == 1
    assert pair.client.closed is not None
    assert pair.client.closed.cause == "idle_timeout"


@pytest.mark.parametrize("remote", ["client", "mallory"])
@pytest.mark.parametrize("order", [1, -1], ids=["in order", "backwards"])
def test_recorded_packets_that_are_played_again_do_nothing(remote: str, order: int) -> None:
    pair = in_the_middle()
    recorded = [data for _, data in pair.forward.sent][::order]
    for data in recorded:
        if decode_packet(data).kind == ONE_RTT or remote == "client":
            pair.inject(pair.server, data, remote)
    for data in [data for _, data in pair.reverse.sent][::order]:
        pair.inject(pair.client, data, "server")
    assert_undisturbed(pair)


def test_a_handshake_played_again_after_the_end_opens_nothing_for_as_long_as_it_is_remembered() -> None:
    pair = connected_pair()
    pair.client.send(b"once", True)
    pair.run_until_idle()
    pair.client.transport.close(pair.now)
    pair.run_for("60s")
    assert connections_of(pair.server) == 0
    recorded = [data for _, data in pair.forward.sent]
    answers = pair.reverse.count
    for _ in range(20):
        for data in recorded:
            pair.inject(pair.server, data, "client")
    assert (connections_of(pair.server), pair.reverse.count) == (0, answers)
    assert [event.data for _, event in pair.server.events if isinstance(event, StreamData)].count(b"once") == 1


def test_first_flights_of_one_client_repeated_for_ever_are_one_connection() -> None:
    puppet = Puppet(Rudp(max_half_open=10))
    for _ in range(2000):
        puppet.say_initial(LIMITS, StreamFrame(0, 0, b"", False))
    assert puppet.server.connection_count == 1
    assert sum(isinstance(event, StreamOpened) for event in puppet.events) == 1
    sent = sum(len(encode_packet(packet)) for packet in puppet.packets)
    assert sent <= 3 * 2000 * 1200
    puppet.wait(40 * SECOND)
    assert puppet.server.connection_count == 0


def test_a_replayed_first_flight_gets_at_most_what_the_first_one_did() -> None:
    """From the very same address and IDs it is taken for the client's own repetition: answered within the 3 times."""
    puppet = Puppet()
    puppet.say_initial(LIMITS)
    before = puppet.server.total_stats().bytes_sent
    for turn in range(100):
        puppet.say_initial(LIMITS)
        assert puppet.server.total_stats().bytes_sent <= 3 * (turn + 2) * 1200
    assert before > 0
