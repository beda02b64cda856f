"""draft-ietf-quic-ack-frequency: who offers it, who asks for what, and what becomes of peers that do not know it."""

import pytest

from rudp_smtp.errors import ErrorCode
from rudp_smtp.registry import Spec
from rudp_smtp.transport import Event, StreamData, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND
from rudp_smtp.wire.frames import AckFrequencyFrame, Frame, HelloFrame, ImmediateAckFrame, PingFrame, StreamFrame
from rudp_smtp.wire.packet import decode_packet
from tests.helpers import Direction, Pair, connected_pair
from tests.transport.rudp.puppet import Puppet

KNOWS = Rudp(ack_frequency=True)
KNOWS_NOT = Rudp(ack_frequency=False)
DECENT = AckFrequencyFrame(0, 9, 20 * MILLISECOND, 3)


def carried(way: Direction, kind: type[Frame]) -> list[Frame]:
    return [frame for _, data in way.sent for frame in decode_packet(data).frames if isinstance(frame, kind)]


def after_bulk(client: Rudp, server: Rudp | None = None, size: int = 1_000_000) -> Pair:
    pair = connected_pair(client=client, server=server, rate="50mbit")
    pair.client.send(bytes(size), fin=True)
    pair.run_until_idle()
    assert len(pair.server_received) == size
    return pair


def test_a_bulk_sender_asks_for_a_few_acknowledgements_per_window() -> None:
    """Long enough for the start-up to be over, in which it asks for many."""
    pair = after_bulk(KNOWS, size=8_000_000)
    asked = [frame for frame in carried(pair.forward, AckFrequencyFrame) if isinstance(frame, AckFrequencyFrame)]
    assert asked
    assert [frame.sequence_number for frame in asked] == list(range(len(asked)))
    assert all(MILLISECOND <= frame.max_ack_delay <= 25 * MILLISECOND for frame in asked)
    assert asked[0].ack_eliciting_threshold == 1
    assert asked[-1].ack_eliciting_threshold >= 8
    acks, packets = pair.server.endpoint.total_stats().packets_sent, pair.client.endpoint.total_stats().packets_sent
    assert acks < packets / 4


@pytest.mark.parametrize(("client", "server"), [(KNOWS, KNOWS_NOT), (KNOWS_NOT, KNOWS), (KNOWS_NOT, KNOWS_NOT)])
def test_a_peer_that_does_not_know_it_is_not_asked(client: Rudp, server: Rudp) -> None:
    pair = after_bulk(client, server)
    for way in (pair.forward, pair.reverse):
        assert carried(way, AckFrequencyFrame) == carried(way, ImmediateAckFrame) == []


@pytest.mark.parametrize("policy", ["immediate", "every_n", "delayed"])
def test_a_policy_that_was_chosen_for_its_own_sake_is_not_asked_for_another(policy: str) -> None:
    pair = after_bulk(KNOWS, Rudp(ack=Spec(policy)))
    assert carried(pair.forward, AckFrequencyFrame) == []


def test_a_dialogue_asks_for_nothing() -> None:
    pair = connected_pair(client=KNOWS)
    for _ in range(20):
        pair.client.send(b"question")
        pair.run_until_idle()
    assert carried(pair.forward, AckFrequencyFrame) == []


def test_a_lost_request_is_repeated_with_the_values_of_the_moment() -> None:
    pair = connected_pair(client=KNOWS, rate="50mbit")
    pair.client.send(bytes(300_000), fin=True)
    pair.run_until(lambda: bool(carried(pair.forward, AckFrequencyFrame)))
    pair.forward.drop(range(pair.forward.count, pair.forward.count + 20))
    pair.run_until_idle()
    assert len(pair.server_received) == 300_000
    assert pair.client.closed is None


def test_the_window_is_counted_in_datagrams_the_path_carries() -> None:
    """Not in the jumbo frames both hosts would take: an acknowledgement for every few packets would be too many."""
    jumbo = Rudp(max_datagram_size=8972, congestion=Spec("fixed", (("window", 300_000),)))
    pair = connected_pair(client=jumbo, rate="50mbit")
    pair.forward.loses = lambda index, size, ecn: size > 1472
    pair.client.send(bytes(1_000_000), fin=True)
    pair.run_until_idle()
    asked = [frame for frame in carried(pair.forward, AckFrequencyFrame) if isinstance(frame, AckFrequencyFrame)]
    assert pair.client.transport.stats.datagram_size == 1472
    assert asked[-1].ack_eliciting_threshold + 1 >= 300_000 // 1472 // 8 // 2


def test_the_end_of_a_flight_is_acknowledged_at_once() -> None:
    """What a sparse receiver would sit on, the sender says it waits for."""
    pair = after_bulk(KNOWS)
    asked = len(carried(pair.forward, ImmediateAckFrame))
    stream = pair.client.open_stream()
    pair.client.send(b"short", stream_id=stream)
    pair.run_for("45ms")  # a round trip
    assert len(carried(pair.forward, ImmediateAckFrame)) == asked + 1
    before = pair.reverse.count
    pair.run_for("50ms")
    assert pair.reverse.count == before


def test_requests_while_the_path_loses_and_reorders_harm_nothing() -> None:
    pair = connected_pair(client=Rudp(ack_frequency=True, congestion=Spec("fixed", (("window", 300_000),))))
    pair.server.application = _echo
    pair.forward.drop(range(10, 900, 11))
    pair.forward.hold_back(range(15, 900, 17), by="5ms")
    pair.reverse.drop(range(10, 900, 7))
    pair.client.send(bytes(400_000), fin=True)
    pair.run_until_idle()
    assert pair.client_received == bytes(400_000)


def _echo(transport: Transport, event: Event) -> None:
    if isinstance(event, StreamData):
        transport.send(event.stream_id, event.data, event.is_fin)


# A client of the test's own making


def acks_of(puppet: Puppet, packets: int) -> int:
    """How many of so many packets the server answers at once."""
    return sum(bool(puppet.say(PingFrame())) for _ in range(packets))


def test_a_server_obeys() -> None:
    puppet = Puppet(KNOWS).connect()
    puppet.say(DECENT)
    assert acks_of(puppet, 40) in (4, 5)
    puppet.say(AckFrequencyFrame(1, 0, 20 * MILLISECOND, 3))
    assert acks_of(puppet, 40) == 40


def test_an_older_request_is_ignored() -> None:
    """Section 4: packets arrive in any order."""
    puppet = Puppet(KNOWS).connect()
    puppet.say(AckFrequencyFrame(7, 0, 20 * MILLISECOND, 3))
    puppet.say(DECENT)
    assert acks_of(puppet, 10) == 10


def test_an_immediate_acknowledgement_is_given() -> None:
    puppet = Puppet(KNOWS).connect()
    puppet.say(DECENT)
    puppet.say(PingFrame())
    assert puppet.say(PingFrame()) == []
    assert puppet.say(ImmediateAckFrame()) != []


def test_a_delay_below_what_was_offered_breaks_the_rules() -> None:
    """Section 4."""
    puppet = Puppet(KNOWS).connect()
    puppet.say(AckFrequencyFrame(0, 9, MILLISECOND // 2, 3))
    assert puppet.close_codes == [ErrorCode.PROTOCOL_VIOLATION]


def test_a_request_that_was_not_offered_breaks_the_rules() -> None:
    puppet = Puppet(KNOWS_NOT).connect()
    puppet.say(DECENT)
    assert puppet.close_codes == [ErrorCode.PROTOCOL_VIOLATION]


def test_a_smallest_delay_above_the_largest_breaks_the_rules() -> None:
    """Section 3: TRANSPORT_PARAMETER_ERROR; of a first flight nothing is answered."""
    puppet = Puppet(KNOWS, hello=HelloFrame(max_ack_delay=MILLISECOND, min_ack_delay=2 * MILLISECOND))
    assert puppet.say_initial(puppet.hello, StreamFrame(0, 0, b"", False)) == []
