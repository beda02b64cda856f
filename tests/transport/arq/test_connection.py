"""What the ARQ transports share: opening, closing, several streams, ends without notice, wrong parameters."""

import pytest

from rudp_smtp.errors import ConfigError, LocalProtocolError
from rudp_smtp.machine import Machine
from rudp_smtp.registry import Spec
from rudp_smtp.trace import ListSink, PacketAcked, PacketDropped, PacketLost, PacketSent
from rudp_smtp.transport import (
    TRANSPORTS,
    Closed,
    Established,
    StreamOpened,
    StreamReset,
    StreamStopped,
    StreamWritable,
    TransportPlugin,
)
from rudp_smtp.transport.arq.frame import ACK, DATA, RESET, SYN, decode_frame, encode_frame
from rudp_smtp.transport.arq.go_back_n import GoBackN
from rudp_smtp.transport.arq.selective_repeat import SelectiveRepeat
from rudp_smtp.transport.arq.state import TRANSITIONS, Input, State
from rudp_smtp.transport.arq.stop_and_wait import StopAndWait
from rudp_smtp.units import MILLISECOND, SECOND
from tests.helpers import Pair, connected_pair, make_pair

FAST = Spec("fixed", (("interval", 60 * MILLISECOND),))
TRANSPORT_KINDS = [StopAndWait(timer=FAST), GoBackN(timer=FAST), SelectiveRepeat(timer=FAST)]
transports = pytest.mark.parametrize("transport", TRANSPORT_KINDS, ids=lambda transport: transport.name)


def last_kind(pair: Pair) -> int:
    return decode_frame(pair.forward.sent[-1][1])[0]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("given", Input)
def test_every_pair_of_state_and_input_is_in_the_table_or_refused(state: State, given: Input) -> None:
    machine = Machine(TRANSITIONS, state)
    if (state, given) in TRANSITIONS:
        machine.advance(given)
        assert machine.state is TRANSITIONS[state, given]
    else:
        with pytest.raises(LocalProtocolError, match=f"{given.value} is not possible while {state.value}"):
            machine.advance(given)


@transports
@pytest.mark.parametrize("lost_ways", [(0,), (1,), (0, 1)], ids=str)
def test_a_lost_opening_is_repeated(transport: TransportPlugin, lost_ways: tuple[int, ...]) -> None:
    pair = make_pair(client=transport)
    for way in lost_ways:
        (pair.forward, pair.reverse)[way].drop([0, 1])
    pair.connect()
    pair.client.send(b"hello")
    pair.run_until_idle()
    assert pair.server_received == b"hello"
    for side in (pair.client, pair.server):
        assert len(side.told(Established)) == 1


def test_the_third_step_is_repeated_until_the_server_knows() -> None:
    """The client has nothing to say, so only its bare acknowledgement tells the server that it is there."""
    pair = make_pair(client=StopAndWait(timer=FAST))
    pair.forward.drop([1, 2])
    pair.connect()
    pair.run_until_idle()
    assert pair.server.is_established


def test_a_copy_of_a_syn_that_comes_late_opens_nothing_the_application_hears_of() -> None:
    pair = connected_pair(client=StopAndWait(timer=FAST, max_idle_timeout=SECOND))
    syn = pair.forward.sent[0][1]
    pair.client.transport.close(pair.now)
    pair.run_for("10s")
    pair.inject(pair.server, syn, "client")
    pair.run_for("10s")
    assert len(pair.server.told(Established)) == len(pair.server.told(Closed)) == 1


@transports
@pytest.mark.parametrize("dropped", [[], [0], [0, 1], [0, 1, 2, 3]], ids=str)
def test_a_graceful_close_delivers_everything_first_whatever_is_lost(
    transport: TransportPlugin, dropped: list[int]
) -> None:
    pair = connected_pair(client=transport)
    for way in (pair.forward, pair.reverse):
        way.drop(way.count + index for index in dropped)
    pair.client.send(b"x" * 5000, fin=True)
    pair.client.transport.close(pair.now)
    pair.run_until_idle()
    assert pair.server_received == b"x" * 5000
    assert pair.client.closed == Closed("local", 0, "")
    assert pair.server.closed == Closed("peer", 0, "")


@transports
def test_both_may_close_at_once(transport: TransportPlugin) -> None:
    pair = connected_pair(client=transport)
    for side in (pair.client, pair.server):
        side.transport.close(pair.now)
    pair.run_until_idle()
    assert pair.client.closed == pair.server.closed == Closed("local", 0, "")


@transports
def test_a_half_closed_stream_goes_on_the_other_way(transport: TransportPlugin) -> None:
    pair = connected_pair(client=transport)
    pair.client.send(b"question", fin=True)
    pair.run_until_idle()
    assert pair.server.finished == set(pair.server.streams)
    pair.server.send(b"answer" * 1000, fin=True)
    pair.run_until_idle()
    assert pair.client_received == b"answer" * 1000
    with pytest.raises(LocalProtocolError, match="takes no more"):
        pair.client.send(b"more")


@transports
def test_a_reset_is_told_with_its_code_and_repeated_if_lost(transport: TransportPlugin) -> None:
    pair = connected_pair(client=transport)
    pair.drop_next(1)
    pair.client.transport.reset(7, "enough", pair.now)
    assert last_kind(pair) != RESET
    pair.run_until_idle()
    assert pair.client.closed == Closed("local", 7, "enough")
    assert pair.server.closed == Closed("peer", 7, "enough")


@transports
def test_silence_is_given_up_after_the_idle_time_out(transport: TransportPlugin) -> None:
    pair = connected_pair(client=transport)
    pair.cut()
    pair.client.send(b"anybody?")
    pair.run_for("31s")
    assert pair.client.closed == Closed("idle_timeout", 0, "")
    assert pair.server.closed == Closed("idle_timeout", 0, "")


def test_nobody_at_all_is_given_up_too() -> None:
    pair = make_pair(client=StopAndWait())
    pair.cut()
    pair.connect()
    pair.run_for("31s")
    assert pair.client.closed == Closed("idle_timeout", 0, "")
    assert pair.forward.count == 5  # after 0, 1, 3, 7 and 15 seconds: RFC 6298 backs off


@transports
def test_several_streams_share_the_connection(transport: TransportPlugin) -> None:
    pair = connected_pair(client=transport)
    streams = [pair.client.open_stream() for _ in range(3)]
    for place, stream_id in enumerate(streams):
        pair.client.send(bytes([place]) * 4000, fin=True, stream_id=stream_id)
    opened_by_server = pair.server.transport.open_stream()
    pair.server.send(b"from the server", stream_id=opened_by_server)
    pair.run_until_idle()
    assert [pair.server.received(stream_id) for stream_id in streams] == [bytes([place]) * 4000 for place in range(3)]
    assert pair.client.received(opened_by_server) == b"from the server"
    assert len(pair.server.told(StreamOpened)) == 3


def test_an_opened_stream_is_announced_before_anything_is_said_on_it() -> None:
    pair = connected_pair(client=GoBackN(timer=FAST))
    stream_id = pair.client.open_stream()
    pair.run_until_idle()
    assert pair.server.told(StreamOpened) == [StreamOpened(stream_id)]


def test_a_stream_may_be_given_up_by_either_end() -> None:
    pair = connected_pair(client=SelectiveRepeat(timer=FAST))
    pair.client.send(b"begun")
    pair.run_until_idle()
    (stream_id,) = pair.client.streams
    pair.server.transport.stop_sending(stream_id, 5)
    pair.client.transport.reset_stream(stream_id, 6)
    pair.run_until_idle()
    assert pair.client.told(StreamStopped) == [StreamStopped(stream_id, 5)]
    assert pair.server.told(StreamReset) == [StreamReset(stream_id, 6)]
    with pytest.raises(LocalProtocolError, match="takes no more"):
        pair.client.send(b"more")


def test_a_sender_is_told_when_most_of_what_waited_has_left() -> None:
    pair = connected_pair(client=GoBackN(timer=FAST))
    pair.client.send(bytes(100_000))
    pair.run_until_idle()
    assert len(pair.client.told(StreamWritable)) == 1
    assert pair.client.transport.unsent_bytes(pair.client.streams[0]) == 0


def test_hosts_that_number_differently_do_not_meet() -> None:
    pair = make_pair(client=GoBackN(window=8), server=GoBackN(window=7))
    pair.connect()
    pair.run_for("31s")
    assert not pair.server.told(Established)
    assert pair.server.endpoint.total_stats().packets_dropped == pair.forward.count
    assert pair.client.closed == Closed("idle_timeout", 0, "")


def test_frames_of_nobody_are_dropped_and_nonsense_from_the_peer_ends_the_connection() -> None:
    pair = connected_pair(client=StopAndWait(timer=FAST))
    connection_id = decode_frame(pair.forward.sent[0][1])[1]
    pair.inject(pair.server, encode_frame(DATA, connection_id ^ 1, 0, 1, b"?" * 9), "client")
    pair.inject(pair.server, encode_frame(DATA, connection_id, 0, 1, b"?" * 9), "somebody else")
    pair.inject(pair.server, b"\x60", "client")
    assert pair.server.closed is None
    assert pair.server.endpoint.total_stats().packets_dropped == 3
    pair.inject(pair.server, encode_frame(DATA, connection_id, 0, 1, b"?" * 9), "client")
    pair.run_until_idle()
    assert pair.server.closed is not None
    assert pair.client.closed is not None
    assert (pair.server.closed.cause, pair.client.closed.cause) == ("protocol_error", "peer")


def test_an_acknowledgement_of_what_was_never_sent_is_not_believed() -> None:
    for transport in TRANSPORT_KINDS:
        pair = connected_pair(client=transport)
        connection_id = decode_frame(pair.forward.sent[0][1])[1]
        for number in range(transport.mask + 1)[:300]:
            pair.inject(pair.client, encode_frame(ACK, connection_id, 0, number), "server")
        pair.client.send(b"x" * 3000)
        pair.run_until_idle()
        assert pair.server_received == b"x" * 3000


@transports
def test_facts_and_statistics_agree(transport: TransportPlugin) -> None:
    sink = ListSink()
    pair = make_pair(client=transport, sink=sink)
    pair.connect()
    pair.forward.drop(range(3, 30, 5))
    pair.reverse.drop(range(4, 30, 7))
    pair.forward.corrupt([7])
    pair.client.send(bytes(40_000), fin=True)
    pair.run_until_idle()
    for side in (pair.client, pair.server):
        stats = side.endpoint.total_stats()
        facts = [fact for fact in sink.facts if getattr(fact, "host", "") == side.name]
        assert stats.packets_sent == sum(isinstance(fact, PacketSent) for fact in facts)
        assert stats.packets_acked == sum(isinstance(fact, PacketAcked) for fact in facts)
        assert stats.packets_lost == sum(isinstance(fact, PacketLost) for fact in facts)
        assert stats.packets_dropped == sum(isinstance(fact, PacketDropped) for fact in facts)
    client, server = (side.endpoint.total_stats() for side in (pair.client, pair.server))
    again = sum(
        stop - start
        for fact in sink.facts
        if isinstance(fact, PacketSent) and fact.is_retransmission
        for _, start, stop in fact.streams
    )
    assert client.stream_bytes_sent == server.stream_bytes_delivered == 40_000
    assert client.stream_bytes_retransmitted == again > 0
    assert (client.packets_sent, server.packets_sent) == (pair.forward.count, pair.reverse.count)
    assert client.min_rtt == 40 * MILLISECOND


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"name": "stop_and_wait", "sequence_bits": 0}, "sequence_bits", "from 1 to 16"),
        ({"name": "stop_and_wait", "window": 2}, "window", "has no parameter"),
        ({"name": "go_back_n", "sequence_bits": 3, "window": 8}, "window", "expected from 1 to 7"),
        ({"name": "go_back_n", "sequence_bits": 3}, "window", "expected from 1 to 7"),
        ({"name": "selective_repeat", "sequence_bits": 3, "window": 5}, "window", "expected from 1 to 4"),
        ({"name": "selective_repeat", "window": 8, "in_flight": 9}, "in_flight", "not from 1 to the window's 8"),
        ({"name": "go_back_n", "segment_size": "0B"}, "segment_size", "not from 1B"),
        ({"name": "go_back_n", "line_rate": "0bit"}, "line_rate", "moves nothing"),
        ({"name": "go_back_n", "max_idle_timeout": "0s"}, "max_idle_timeout", "at least 1ms"),
        ({"name": "go_back_n", "timer": "rfc6289"}, "timer", "did you mean 'rfc6298'?"),
    ],
)
def test_parameters_that_cannot_work_are_refused_by_name(given: dict[str, object], key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TRANSPORTS.spec(given, "transport")
    assert caught.value.key == f"transport.{key}"
    assert words in caught.value.message


@pytest.mark.parametrize("name", ["stop_and_wait", "go_back_n", "selective_repeat"])
def test_a_description_reads_back_as_the_same_transport(name: str) -> None:
    spec = TRANSPORTS.spec({"name": name, "timer": {"model": "fixed", "interval": "60ms"}}, "transport")
    described = TRANSPORTS.describe(spec)
    assert TRANSPORTS.describe(TRANSPORTS.spec(described, "transport")) == described
    assert isinstance(TRANSPORTS.build(spec), TransportPlugin)


def test_a_syn_is_told_from_other_kinds() -> None:
    pair = make_pair(client=StopAndWait())
    pair.connect()
    pair.run_for("1ms")
    assert last_kind(pair) == SYN


@transports
@pytest.mark.parametrize("late", [RESET, DATA, ACK, SYN])
def test_what_comes_with_the_reset_that_ended_a_connection_is_dropped(transport: TransportPlugin, late: int) -> None:
    """A driver may hand over several datagrams before it takes out what came of the first."""
    pair = connected_pair(client=transport)
    now, connection_id = pair.now, decode_frame(pair.forward.sent[-1][1])[1]
    reset = encode_frame(RESET, connection_id, 0, 0, bytes(8))
    for datagram in (reset, encode_frame(late, connection_id, 0, 0, bytes(8))):
        pair.server.endpoint.receive_datagram(datagram, "client", now)
    pair.run_until_idle()
    assert len(pair.server.told(Closed)) == 1
