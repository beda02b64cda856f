"""Who has to prove an address first, how, and how often (RFC 9000 section 8.1.2, 17.2.5)."""

from itertools import product

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.trace import NO_NUMBER, ListSink, PacketDropped, PacketReceived, PacketSent
from rudp_smtp.transport import TRANSPORTS, Established, Event, StreamOpened, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.transport.rudp.tokens import COOKIE_LIFETIME
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.wire.frames import HelloFrame, PaddingFrame, StreamFrame, TokenFrame
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, RETRY, Packet, decode_packet, encode_packet, seal
from rudp_smtp.wire.stateless import decode_retry, encode_retry
from tests.helpers import Pair, make_pair
from tests.transport.rudp.puppet import LIMITS, Puppet, connections_of

GREETING = b"220 " + bytes(10_000)  # more than three first flights


def drops(sink: ListSink) -> list[str]:
    return [fact.trigger for fact in sink.facts if isinstance(fact, PacketDropped)]


def retrying_pair(delay: str = "20ms", sink: ListSink | None = None) -> Pair:
    """A client that offers a stream to a server that wants every address proven, and speaks first then."""
    pair = make_pair(delay=delay, server=Rudp(retry="always"), client=Rudp(), sink=sink)

    def greet(transport: Transport, event: Event) -> None:
        if isinstance(event, StreamOpened):
            transport.send(event.stream_id, GREETING, True)

    pair.server.application = greet
    pair.connect()
    pair.client.open_stream()
    return pair


def cookie_for(puppet: Puppet, source: int = 7, original: int = 3) -> bytes:
    """The token of the RETRY that a first flight is answered with."""
    assert puppet.say_initial(LIMITS, source=source, original=original) == []
    return decode_retry(puppet.stateless[-1], original)


def test_an_address_is_proven_in_one_round_trip_more() -> None:
    pair = retrying_pair()
    pair.run_until(lambda: pair.client.is_established)
    assert pair.now == 80 * MILLISECOND
    assert pair.reverse.sent[0][1][0] == RETRY
    assert decode_packet(pair.forward.sent[1][1]).packet_number == 1
    pair.run_until_idle()
    assert len(pair.server.transports) == 1
    assert pair.client_received == GREETING
    assert pair.client.endpoint.total_stats().packets_lost == 0


def test_a_server_that_asked_for_a_proof_keeps_nothing_until_it_has_it() -> None:
    puppet = Puppet(Rudp(retry="always"))
    for source in range(1000):
        puppet.say_initial(LIMITS, source=source)
    assert len(puppet.stateless) == 1000
    assert puppet.server.connection_count == 0
    assert puppet.server.next_timeout() is None
    assert max(len(datagram) for datagram in puppet.stateless) < 100


def test_a_proven_address_may_be_sent_more_than_three_times_what_it_sent() -> None:
    pair = retrying_pair()
    pair.run_until(lambda: pair.client_received == GREETING)
    assert pair.now == 80 * MILLISECOND


@pytest.mark.parametrize("lost", list(product([0, 1], repeat=6)))
def test_any_loss_among_the_first_packets_is_repaired(lost: tuple[int, ...]) -> None:
    pair = retrying_pair()
    pair.forward.drop([index for index in range(3) if lost[index]])
    pair.reverse.drop([index for index in range(3) if lost[3 + index]])
    pair.run_until_idle()
    assert pair.client_received == GREETING
    assert len(pair.server.transports) == 1
    assert len(pair.client.told(Established)) == len(pair.server.told(Established)) == 1


def test_the_first_round_trip_sets_the_timer_of_the_second() -> None:
    pair = retrying_pair(delay="5ms")
    pair.forward.drop([1])
    pair.run_until(lambda: pair.client.is_established)
    assert pair.now <= 55 * MILLISECOND


def test_a_retry_that_comes_twice_is_obeyed_once() -> None:
    sink = ListSink()
    pair = retrying_pair(sink=sink)
    pair.reverse.duplicate([0])
    pair.run_until(lambda: pair.client.is_established)
    assert pair.forward.count == 3
    assert drops(sink) == ["unexpected_packet"]


def test_a_retry_behind_the_servers_first_packet_is_ignored() -> None:
    sink = ListSink()
    pair = make_pair(sink=sink)
    pair.connect()
    pair.run_until(lambda: pair.client.is_established)
    first = decode_packet(pair.forward.sent[0][1])
    late = encode_retry(first.source_connection_id, first.destination_connection_id, b"token")
    pair.inject(pair.client, late, "server")
    pair.run_until_idle()
    assert drops(sink) == ["unexpected_packet"]
    assert pair.client.closed is None


def test_a_retry_from_who_did_not_see_the_first_packet_is_ignored() -> None:
    sink = ListSink()
    pair = make_pair(sink=sink)
    pair.connect()
    pair.run_for("1ms")
    first = decode_packet(pair.forward.sent[0][1])
    pair.inject(pair.client, encode_retry(first.source_connection_id, 12345, b"token"), "server")
    pair.inject(pair.client, encode_retry(first.source_connection_id, 0, b"token"), "elsewhere")
    pair.inject(pair.client, encode_retry(98765, first.destination_connection_id, b"token"), "server")
    assert drops(sink) == ["integrity_check_failed", "unknown_path", "unknown_connection_id"]
    pair.run_until(lambda: pair.client.is_established)
    assert pair.now == 40 * MILLISECOND


def test_a_client_never_asked_for_a_token_may_come_with_its_cookie_all_the_same() -> None:
    asked, unasked = Puppet(Rudp(retry="always")), Puppet(Rudp(retry="never"))
    cookie = cookie_for(asked)
    unasked.say_initial(TokenFrame(cookie), LIMITS)
    assert unasked.server.connection_count == 1


def test_a_cookie_opens_one_connection_however_often_it_comes() -> None:
    puppet = Puppet(Rudp(retry="always"))
    cookie = cookie_for(puppet)
    for _ in range(3):
        puppet.say_initial(TokenFrame(cookie), LIMITS)
    assert puppet.server.connection_count == 1
    assert len(puppet.stateless) == 1


@pytest.mark.parametrize("damage", ["other port", "other client", "other server", "expired", "forged", "cut", "grown"])
def test_a_cookie_that_is_not_this_clients_gets_silence(damage: str) -> None:
    sink = ListSink()
    puppet = Puppet(Rudp(retry="always"), sink=sink)
    cookie = cookie_for(puppet)
    source, original, remote = 7, 3, "client"
    match damage:
        case "other port":
            remote = "stranger"
        case "other client":
            source = 8
        case "other server":
            original = 4
        case "expired":
            puppet.wait(COOKIE_LIFETIME + SECOND)
        case "forged":
            cookie = cookie[:-1] + bytes([cookie[-1] ^ 1])
        case "cut":
            cookie = cookie[:-1]
        case _:
            cookie += b"\0"
    packet = Packet(INITIAL, original, 1, [TokenFrame(cookie), LIMITS], source)
    datagram = encode_packet(packet)[:-4] + bytes(1200 - len(encode_packet(packet)))
    assert puppet.deliver(seal([datagram]), remote) == []
    assert len(puppet.stateless) == 1
    assert puppet.server.connection_count == 0
    assert drops(sink) == ["invalid_token"]


def test_a_first_flight_too_small_is_not_worth_a_retry() -> None:
    puppet = Puppet(Rudp(retry="always"))
    puppet.say_initial(LIMITS, size=1199)
    assert puppet.stateless == []


def test_nobody_is_asked_until_half_open_connections_are_many() -> None:
    puppet = Puppet(Rudp(max_half_open=10))
    for source in range(100):
        puppet.say_initial(LIMITS, source=source)
    assert puppet.server.connection_count == 6
    assert len(puppet.stateless) == 94


def test_under_a_flood_of_first_flights_who_proves_its_address_gets_in() -> None:
    pair = make_pair(client=Rudp(), server=Rudp(max_half_open=10))
    for source in range(1000):
        packet = Packet(INITIAL, 1, 0, [LIMITS], source)
        flood = encode_packet(packet)[:-4] + bytes(1200 - len(encode_packet(packet)))
        pair.inject(pair.server, seal([flood]), "attacker")
    half_open = connections_of(pair.server)
    for _ in range(20):
        pair.connect()
    pair.run_until(lambda: len(pair.client.told(Established)) == 20)
    pair.run_for("100ms")
    assert connections_of(pair.server) == half_open + 20
    assert pair.now < SECOND


def test_who_is_admitted_by_a_cookie_is_not_half_open() -> None:
    puppet = Puppet(Rudp(retry="always", max_half_open=1))
    for source in range(5):
        cookie = cookie_for(puppet, source=source)
        puppet.say_initial(TokenFrame(cookie), LIMITS, source=source)
    assert puppet.server.connection_count == 5


def test_first_flights_that_break_a_rule_are_half_open_until_they_are_forgotten() -> None:
    puppet = Puppet(Rudp(max_half_open=10))
    for client in range(60):
        puppet.say_initial(LIMITS, StreamFrame(0, 0, b"early", False), source=client, original=1000 + client)
    assert puppet.server.connection_count <= 10
    assert len(puppet.stateless) >= 50
    puppet.wait(10 * SECOND)
    assert puppet.server.connection_count == 0


def test_the_load_is_over_when_its_connections_are() -> None:
    puppet = Puppet(Rudp(max_half_open=2))
    for source in range(4):
        puppet.say_initial(LIMITS, source=source)
    assert len(puppet.stateless) == 2
    puppet.wait(31 * SECOND)
    puppet.say_initial(LIMITS, source=9)
    assert len(puppet.stateless) == 2


def test_a_confirmed_client_makes_room_for_others() -> None:
    puppet = Puppet(Rudp(max_half_open=1)).connect()
    puppet.say_initial(LIMITS, source=8)
    assert puppet.server.connection_count == 2
    assert puppet.stateless == []


def test_a_server_proven_by_a_cookie_still_says_its_id_until_the_client_uses_it() -> None:
    puppet = Puppet(Rudp(retry="always"))
    cookie = cookie_for(puppet)
    puppet.say_initial(TokenFrame(cookie), LIMITS, StreamFrame(0, 0, b"", False))
    assert [packet.kind for packet in puppet.packets] == [INITIAL]
    puppet.transport.send(0, b"220 again\r\n")
    puppet.say()
    assert [packet.kind for packet in puppet.packets] == [INITIAL, INITIAL]
    assert not puppet.events.count(Established())
    puppet.server_id = puppet.packets[0].source_connection_id
    puppet.say(StreamFrame(0, 0, b"EHLO", False))
    assert puppet.events.count(Established()) == 1
    puppet.transport.send(0, b"250 ok\r\n")
    puppet.say()
    assert puppet.packets[-1].kind == ONE_RTT


def test_a_first_flight_without_hello_opens_nothing_whatever_its_token() -> None:
    sink = ListSink()
    puppet = Puppet(Rudp(retry="always"), sink=sink)
    cookie = cookie_for(puppet)
    puppet.say_initial(TokenFrame(cookie), StreamFrame(0, 0, b"", False))
    assert puppet.server.connection_count == 0
    assert drops(sink) == ["no_hello"]


def test_answers_wait_in_a_short_queue() -> None:
    server = Rudp(retry="always").endpoint(host="server", accepts=True, draws=DrawKey(1), sink=None)
    for source in range(1000):
        packet = Packet(INITIAL, 3, 0, [LIMITS, PaddingFrame(1200)], source)
        server.receive_datagram(encode_packet(packet), "client", 0)
    answers = 0
    while server.next_datagram(0) is not None:
        answers += 1
    assert answers == 64
    assert server.total_stats().packets_dropped == 1000 - 64


@pytest.mark.parametrize("policy", ["auto", "always", "never"])
def test_a_scenario_chooses_the_policy(policy: str) -> None:
    spec = TRANSPORTS.spec({"name": "rudp", "retry": policy})
    transport = TRANSPORTS.build(spec)
    assert isinstance(transport, Rudp)
    assert transport.retry == policy
    assert TRANSPORTS.describe(spec)["retry"] == policy


@pytest.mark.parametrize("policy", ["sometimes", True, ["auto"], None])
def test_another_policy_is_refused_with_those_there_are(policy: object) -> None:
    with pytest.raises(ConfigError, match="expected one of auto, always, never") as refused:
        TRANSPORTS.spec({"name": "rudp", "retry": policy}, "transport")
    assert refused.value.key == "transport.retry"


def test_both_hosts_count_the_datagrams_of_a_retry() -> None:
    pair = retrying_pair()
    pair.run_until_idle()
    client, server = pair.client.endpoint.total_stats(), pair.server.endpoint.total_stats()
    assert client.packets_sent == server.packets_received == pair.forward.count
    assert server.packets_sent == client.packets_received == pair.reverse.count
    assert client.bytes_sent == server.bytes_received
    assert server.bytes_sent == client.bytes_received


def test_the_hello_behind_a_retry_is_the_same() -> None:
    pair = retrying_pair()
    pair.run_until(lambda: pair.client.is_established)
    first, second = (decode_packet(data).frames for _, data in pair.forward.sent[:2])
    hello = next(frame for frame in first if isinstance(frame, HelloFrame))
    assert hello in second
    assert isinstance(second[0], TokenFrame)


def test_facts_tell_of_every_datagram_on_either_side_also_of_those_outside_a_connection() -> None:
    sink = ListSink()
    pair = retrying_pair(sink=sink)
    pair.run_until_idle()
    for kind, way, host in (
        (PacketSent, pair.forward, "client"),
        (PacketReceived, pair.forward, "server"),
        (PacketSent, pair.reverse, "server"),
        (PacketReceived, pair.reverse, "client"),
    ):
        told = [fact for fact in sink.facts if isinstance(fact, kind) and fact.host == host]
        assert [fact.size for fact in told] == [len(data) for _, data in way.sent]
    (answer, *_) = [fact for fact in sink.facts if isinstance(fact, PacketSent) and fact.host == "server"]
    assert (answer.connection, answer.packet_number) == (NO_NUMBER, NO_NUMBER)
