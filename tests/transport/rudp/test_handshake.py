"""One round trip, whatever of it is lost; one connection, however often its first flight comes."""

from itertools import product

import pytest

from rudp_smtp.trace import ConnectionStateUpdated, ListSink, PacketDropped
from rudp_smtp.transport import Closed, Established, Event, StreamOpened, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.wire.frames import AckFrame, HelloFrame, PaddingFrame, StreamFrame
from rudp_smtp.wire.packet import INITIAL, Packet, decode_packet, encode_packet
from tests.helpers import Pair, make_pair
from tests.transport.rudp.puppet import LIMITS, Puppet, connections_of

GREETING = b"220 mail.example ready\r\n"


def greeting_pair(**options: str) -> Pair:
    """A server that speaks first on every stream it is offered."""
    pair = make_pair(**options)  # type: ignore[arg-type]

    def greet(transport: Transport, event: Event) -> None:
        if isinstance(event, StreamOpened):
            transport.send(event.stream_id, GREETING)

    pair.server.application = greet
    pair.connect()
    pair.client.open_stream()
    return pair


def test_a_server_that_speaks_first_is_heard_after_one_round_trip() -> None:
    pair = greeting_pair(delay="20ms")
    pair.run_until(lambda: pair.client_received == GREETING)
    assert pair.now == 40 * MILLISECOND
    assert pair.client.is_established


def test_the_first_flight_names_streams_and_is_padded_and_the_answer_is_one_packet() -> None:
    pair = greeting_pair()
    pair.run_until(lambda: pair.client.is_established)
    (_, first), (_, answer) = pair.forward.sent[0], pair.reverse.sent[0]
    assert len(first) == 1200
    assert [type(frame) for frame in decode_packet(first).frames] == [HelloFrame, StreamFrame, PaddingFrame]
    assert [type(frame) for frame in decode_packet(answer).frames] == [AckFrame, HelloFrame, StreamFrame]


def test_the_clients_octets_wait_for_the_servers_hello() -> None:
    pair = make_pair(delay="20ms")
    pair.connect()
    pair.client.send(b"early", fin=True)
    pair.run_until(lambda: pair.server.finished == {0})
    assert pair.server_received == b"early"
    assert pair.now == 60 * MILLISECOND


def test_both_sides_are_told_once() -> None:
    sink = ListSink()
    pair = make_pair(sink=sink)
    pair.connect()
    pair.run_until_idle()
    assert pair.client.told(Established) == pair.server.told(Established) == [Established()]
    states = [(fact.host, fact.state) for fact in sink.facts if isinstance(fact, ConnectionStateUpdated)]
    assert states == [
        ("client", "handshake"),
        ("server", "handshake"),
        ("client", "established"),
        ("server", "established"),
    ]


def test_a_lost_first_flight_is_repeated_early_under_a_new_packet_number() -> None:
    pair = greeting_pair(delay="20ms")
    pair.forward.drop([0])
    pair.run_until(lambda: pair.client_received == GREETING)
    assert pair.now < 400 * MILLISECOND
    assert [decode_packet(data).packet_number for _, data in pair.forward.sent[:2]] == [0, 1]


@pytest.mark.parametrize("lost", list(product([0, 1], repeat=5)))
def test_any_loss_among_the_first_packets_is_repaired(lost: tuple[int, ...]) -> None:
    pair = greeting_pair(delay="20ms")
    pair.forward.drop([index for index in range(3) if lost[index]])
    pair.reverse.drop([index for index in range(2) if lost[3 + index]])
    pair.client.send(b"EHLO\r\n")
    pair.run_until_idle()
    assert pair.client_received == GREETING
    assert pair.server_received == b"EHLO\r\n"
    assert len(pair.server.transports) == 1


@pytest.mark.parametrize("round_trip", [40, 100])
@pytest.mark.parametrize("forward", [2, 3, 4])
def test_no_loss_among_the_first_six_packets_costs_more_than_its_time_outs(round_trip: int, forward: int) -> None:
    """The probe time-out is 300 ms before a round trip is known and three of them after; it doubles from the second
    on, to a second."""
    wait = max(300, 3 * round_trip + 25)
    waits = [0, wait, 2 * wait, 4 * wait, *(4 * wait + 1000 * further for further in (1, 2, 3))]
    for lost in product([0, 1], repeat=6):
        pair = greeting_pair(delay=f"{round_trip // 2}ms")
        pair.forward.drop([index for index in range(forward) if lost[index]])
        pair.reverse.drop([index for index in range(6 - forward) if lost[forward + index]])
        pair.run_until(lambda pair=pair: pair.client_received == GREETING and pair.server.is_established)  # type: ignore[misc]
        assert pair.now <= (1.5 * round_trip + waits[sum(lost)]) * MILLISECOND


def test_a_repeated_first_flight_makes_one_connection_and_brings_the_answer_again() -> None:
    pair = greeting_pair(delay="20ms")
    pair.reverse.drop([0])
    pair.forward.duplicate([0, 1])
    pair.run_until(lambda: pair.client_received == GREETING)
    assert len(pair.server.transports) == 1
    assert pair.now < 500 * MILLISECOND


def test_a_path_slower_than_the_first_timeout_still_makes_one_connection() -> None:
    pair = greeting_pair(delay="600ms")
    pair.run_until_idle()
    assert pair.client_received == GREETING
    assert len(pair.server.transports) == 1
    assert pair.server.endpoint.total_stats().packets_dropped == 0


def test_the_client_gives_up_when_nobody_answers() -> None:
    pair = make_pair()
    pair.connect()
    pair.cut()
    pair.run_for("60s")
    assert pair.client.closed == Closed("idle_timeout", 0, "")
    assert connections_of(pair.client) == 0
    assert pair.client.endpoint.next_timeout() is None
    assert 5 <= pair.forward.count <= 65  # backed off, to two a second


def test_a_server_that_does_not_accept_is_silent() -> None:
    pair = make_pair()
    pair.inject(pair.client, b"\x50" + bytes(1199), "server")
    assert pair.forward.count == 0
    assert pair.client.endpoint.total_stats().packets_dropped == 1


def test_the_last_packet_of_the_handshake_asks_for_an_acknowledgement() -> None:
    pair = make_pair(delay="20ms")
    pair.connect()
    pair.forward.drop([1])  # so its loss is noticed by the client, whatever the server may still send
    pair.run_until_idle()
    assert pair.server.is_established


def test_connection_ids_depend_on_the_draws_alone() -> None:
    first, again, other = make_pair(seed=1), make_pair(seed=1), make_pair(seed=2)
    for pair in (first, again, other):
        pair.connect()
        pair.run_until_idle()
    assert first.forward.sent == again.forward.sent
    ids = {(packet.destination_connection_id, packet.source_connection_id) for packet in initials(first, other)}
    assert len(ids) == 4


def initials(*pairs: Pair) -> list[Packet]:
    packets = [decode_packet(data) for pair in pairs for way in (pair.forward, pair.reverse) for _, data in way.sent]
    return [packet for packet in packets if packet.kind == INITIAL]


def test_the_peers_smaller_datagrams_are_obeyed() -> None:
    pair = make_pair(client=Rudp(max_datagram_size=1472), server=Rudp(max_datagram_size=1250))
    pair.connect()
    pair.client.send(bytes(50_000), fin=True)
    pair.run_until_idle()
    assert pair.server.finished == {0}
    assert max(len(data) for _, data in pair.forward.sent) == 1250


def test_what_is_answered_before_the_servers_hello_arrives_is_sent_after_it() -> None:
    pair = make_pair()

    def speak(transport: Transport, event: Event) -> None:
        if event == StreamOpened(0):
            transport.send(transport.open_stream(), bytes(3000), True)

    def answer(transport: Transport, event: Event) -> None:
        if event == StreamOpened(1):
            transport.send(1, b"answer", True)

    pair.server.application, pair.client.application = speak, answer
    pair.reverse.hold_back([0], by="5ms")  # the packet with the HELLO, and none that follows
    pair.connect()
    pair.client.open_stream()
    pair.run_until_idle()
    assert isinstance(pair.client.events[0][1], StreamOpened)
    assert pair.server.octets == {1: b"answer"}


def test_the_same_hello_again_is_no_offence() -> None:
    puppet = Puppet().connect()
    puppet.say(LIMITS)
    assert not puppet.close_codes


def test_a_server_that_changes_its_connection_id_is_not_believed() -> None:
    sink = ListSink()
    pair = make_pair(sink=sink)
    pair.connect()
    pair.run_until(lambda: pair.client.is_established)
    answer = decode_packet(pair.reverse.sent[0][1])
    answer.packet_number += 1
    answer.source_connection_id += 1
    pair.inject(pair.client, encode_packet(answer), "server")
    drops = [fact.trigger for fact in sink.facts if isinstance(fact, PacketDropped)]
    assert drops == ["unexpected_source_connection_id"]


def test_a_server_that_may_send_no_more_waits_for_a_datagram_and_not_for_its_probe_timer() -> None:
    puppet = Puppet()
    puppet.say_initial(LIMITS, StreamFrame(0, 0, b"", False))
    puppet.transport.send(0, bytes(4_000))
    puppet.say()
    stats = puppet.transport.stats
    puppet.wait(2 * SECOND)
    allowed = 3 * stats.bytes_received
    assert allowed - 200 < stats.bytes_sent <= allowed
    deadline = puppet.server.next_timeout()
    assert deadline == 30 * SECOND  # the end of the silence, and no probe before
    probes = stats.probes_sent
    puppet.wait(8 * SECOND)
    assert stats.probes_sent == probes
    puppet.say_initial(LIMITS, StreamFrame(0, 0, b"", False))
    assert puppet.transport.stats.bytes_sent > allowed
    again = puppet.server.next_timeout()
    assert again is not None
    assert again < puppet.now + SECOND  # armed anew, and not backed off ten seconds' worth
