"""Two hosts that share no version find out in one round trip, and nobody can make others believe it (RFC 9000 s6)."""

import pytest

from rudp_smtp.errors import ErrorCode
from rudp_smtp.trace import ListSink, PacketDropped, PacketReceived, PacketSent
from rudp_smtp.transport import Closed
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND
from rudp_smtp.wire.frames import HelloFrame
from rudp_smtp.wire.packet import INITIAL, VERSION, Packet, decode_packet, encode_packet, seal
from rudp_smtp.wire.stateless import VersionNegotiation, decode_version_negotiation, encode_version_negotiation
from tests.helpers import Pair, make_pair
from tests.transport.rudp.puppet import LIMITS, Puppet, connections_of

OTHER = 0x5255_4402


def first_flight(version: int, size: int = 1200, source: int = 7) -> bytes:
    """An INITIAL packet of some version, as far as we know that version."""
    octets = encode_packet(Packet(INITIAL, 3, 0, [HelloFrame()], source))[:-4]
    octets = octets[:1] + version.to_bytes(4, "big") + octets[5:]
    return seal([octets, bytes(size - 4 - len(octets))])


def calling_pair(sink: ListSink | None = None) -> tuple[Pair, int, int]:
    """A client whose first flight is on its way, and both IDs in it: its own, and its name for the server."""
    pair = make_pair(sink=sink)
    pair.connect()
    pair.run_for("1ms")
    packet = decode_packet(pair.forward.sent[0][1])
    return pair, packet.source_connection_id, packet.destination_connection_id


def answer(client_id: int, original_id: int, *versions: int) -> bytes:
    return encode_version_negotiation(VersionNegotiation(client_id, original_id, versions))


def test_a_server_names_its_versions_and_keeps_nothing() -> None:
    puppet = Puppet()
    assert puppet.deliver(first_flight(OTHER)) == []
    (datagram,) = puppet.stateless
    said = decode_version_negotiation(datagram)
    assert (said.destination_connection_id, said.source_connection_id) == (7, 3)
    assert VERSION in said.versions
    assert OTHER not in said.versions
    assert len(datagram) < 50
    assert puppet.server.connection_count == 0
    assert puppet.server.next_timeout() is None


@pytest.mark.parametrize("source", [7, 0x1A2A_3A4A, 0xFFFF_FFFF])
def test_one_of_the_versions_named_exists_nowhere_so_that_clients_learn_to_skip_it(source: int) -> None:
    puppet = Puppet()
    puppet.deliver(first_flight(source & 0xF0F0_F0F0 | 0x0A0A_0A0A, source=source))
    said = decode_version_negotiation(puppet.stateless[0]).versions
    reserved = [version for version in said if version & 0x0F0F_0F0F == 0x0A0A_0A0A]
    assert len(reserved) == 1
    assert reserved[0] != source & 0xF0F0_F0F0 | 0x0A0A_0A0A


@pytest.mark.parametrize(
    "datagram",
    [
        first_flight(OTHER, size=1199),
        first_flight(0),
        first_flight(OTHER)[:-1] + b"\0",
        answer(7, 3, OTHER) + bytes(1200),
        seal([answer(7, 3, OTHER), bytes(1200)]),
    ],
    ids=["too small", "the version that means negotiation", "damaged", "an answer", "an answer, padded"],
)
def test_what_is_not_a_first_flight_is_not_answered(datagram: bytes) -> None:
    puppet = Puppet()
    puppet.deliver(datagram)
    assert puppet.stateless == []
    assert puppet.server.total_stats().packets_dropped == 1


def test_a_client_of_another_version_ends_with_the_versions_named() -> None:
    pair, client_id, original_id = calling_pair()
    pair.inject(pair.client, answer(client_id, original_id, 0x0A1A_2A3A, OTHER), "server")
    pair.cut()
    pair.run_for("1s")
    reason = "the server speaks 0x0a1a2a3a, 0x52554402, not 0x52554401"
    assert pair.client.closed == Closed("version_negotiation", ErrorCode.VERSION_NEGOTIATION_ERROR, reason)
    assert pair.forward.count == 1
    assert connections_of(pair.client) == 0
    assert pair.client.endpoint.next_timeout() is None


def test_a_client_that_wanted_to_close_hears_of_it_too() -> None:
    pair, client_id, original_id = calling_pair()
    pair.client.send(b"unheard", True)
    pair.client.transport.close(pair.now)
    pair.inject(pair.client, answer(client_id, original_id, OTHER), "server")
    assert pair.client.closed is not None
    assert pair.client.closed.cause == "version_negotiation"


def test_an_answer_that_names_our_version_or_none_is_not_about_us() -> None:
    sink = ListSink()
    pair, client_id, original_id = calling_pair(sink)
    pair.inject(pair.client, answer(client_id, original_id, OTHER, VERSION), "server")
    pair.inject(pair.client, answer(client_id, original_id), "server")
    pair.run_until(lambda: pair.client.is_established)
    assert pair.now == 40 * MILLISECOND


def test_an_answer_to_who_knows_what_is_ignored() -> None:
    sink = ListSink()
    pair, client_id, original_id = calling_pair(sink)
    pair.inject(pair.client, answer(client_id, original_id ^ 1, OTHER), "server")
    pair.inject(pair.client, answer(client_id ^ 1, original_id, OTHER), "server")
    pair.inject(pair.client, answer(client_id, original_id, OTHER), "elsewhere")
    triggers = [fact.trigger for fact in sink.facts if isinstance(fact, PacketDropped)]
    assert triggers == ["unexpected_packet", "unknown_connection_id", "unknown_path"]
    pair.run_until(lambda: pair.client.is_established)


def test_an_answer_behind_any_other_packet_is_ignored() -> None:
    pair, client_id, original_id = calling_pair()
    pair.run_until(lambda: pair.client.is_established)
    pair.inject(pair.client, answer(client_id, original_id, OTHER), "server")
    pair.run_until_idle()
    assert pair.client.closed is None


def test_an_answer_behind_a_retry_is_ignored() -> None:
    pair = make_pair(server=Rudp(retry="always"), client=Rudp())
    pair.connect()
    pair.run_for("45ms")
    packet = decode_packet(pair.forward.sent[0][1])
    late = answer(packet.source_connection_id, packet.destination_connection_id, OTHER)
    pair.inject(pair.client, late, "server")
    pair.run_until(lambda: pair.client.is_established)


def test_a_host_that_accepts_nobody_is_silent() -> None:
    pair = make_pair()
    pair.inject(pair.client, first_flight(OTHER), "server")
    assert pair.forward.count == 0


def test_a_connection_there_is_is_not_harmed_by_another_version() -> None:
    puppet = Puppet().connect()
    puppet.deliver(first_flight(OTHER))  # under the IDs of the first flight that opened it
    assert puppet.stateless == []
    puppet.say(LIMITS)
    assert puppet.close_codes == []


def test_the_refusal_of_a_version_is_a_fact_on_the_servers_side_and_one_on_the_clients() -> None:
    sink = ListSink()
    puppet = Puppet(sink=sink)
    puppet.deliver(first_flight(OTHER))
    assert [type(fact) for fact in sink.facts] == [PacketReceived, PacketSent]
    pair, client_id, original_id = calling_pair(sink)
    del sink.facts[:]
    refusal = answer(client_id, original_id, OTHER)
    pair.inject(pair.client, refusal, "server")
    assert [fact.size for fact in sink.facts if isinstance(fact, PacketReceived)] == [len(refusal)]
