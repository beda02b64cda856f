"""Streams in a pair: who may open and send how much, and how either side gives up."""

import pytest

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.transport import Closed, Event, StreamData, StreamOpened, StreamReset, StreamStopped, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.wire.frames import (
    DataBlockedFrame,
    Frame,
    MaxDataFrame,
    MaxStreamDataFrame,
    MaxStreamsFrame,
    StreamDataBlockedFrame,
    StreamFrame,
    StreamsBlockedFrame,
)
from rudp_smtp.wire.packet import decode_packet
from tests.helpers import Direction, connected_pair, make_pair
from tests.transport.rudp.puppet import LIMITS, Puppet

NARROW = Rudp(connection_window=100_000, stream_window=70_000, max_streams=2)


def carried(way: Direction, kind: type[Frame]) -> list[Frame]:
    """The frames of one kind that a direction carried."""
    return [frame for _, data in way.sent for frame in decode_packet(data).frames if isinstance(frame, kind)]


def test_stream_ids_tell_who_opened_them() -> None:
    pair = connected_pair()
    assert [pair.client.open_stream() for _ in range(3)] == [0, 4, 8]
    assert [pair.server.open_stream() for _ in range(3)] == [1, 5, 9]
    pair.run_until_idle()
    assert pair.server.told(StreamOpened) == [StreamOpened(0), StreamOpened(4), StreamOpened(8)]
    assert pair.client.told(StreamOpened) == [StreamOpened(1), StreamOpened(5), StreamOpened(9)]


def test_an_opened_stream_is_announced_though_nothing_is_said_on_it() -> None:
    pair = connected_pair()
    pair.client.open_stream()
    pair.drop_next(1)
    pair.run_until_idle()
    assert pair.server.told(StreamOpened) == [StreamOpened(0)]


def test_octets_announce_their_stream_themselves() -> None:
    pair = connected_pair()
    pair.client.send(b"hello")
    pair.run_until_idle()
    assert carried(pair.forward, StreamFrame) == [StreamFrame(0, 0, b"hello", False)]


def test_half_a_close_leaves_the_other_half_open() -> None:
    pair = connected_pair()
    pair.client.send(b"question", fin=True)
    pair.run_until_idle()
    assert pair.server.finished == {0}
    for word in (b"a", b" long", b" answer"):
        pair.server.send(word)
        pair.run_until_idle()
    pair.server.send(b"", fin=True)
    pair.run_until_idle()
    assert pair.client_received == b"a long answer"
    assert pair.client.finished == {0}


def test_nothing_is_sent_on_a_stream_after_its_end() -> None:
    pair = connected_pair()
    pair.client.send(b"", fin=True)
    with pytest.raises(LocalProtocolError):
        pair.client.send(b"more")
    with pytest.raises(LocalProtocolError):
        pair.client.send(b"x", stream_id=400)


def test_a_reset_stream_stops_there_and_the_others_go_on() -> None:
    pair = connected_pair(rate="10mbit")
    doomed, healthy = pair.client.open_stream(), pair.client.open_stream()
    pair.client.send(bytes(200_000), stream_id=doomed)
    pair.client.send(bytes(50_000), fin=True, stream_id=healthy)
    pair.run_for("40ms")
    pair.client.transport.reset_stream(doomed, 7)
    pair.drop_next(1)
    pair.run_until_idle()
    assert pair.server.told(StreamReset) == [StreamReset(doomed, 7)]
    assert pair.server.finished == {healthy}
    assert len(pair.server.received(doomed)) < 200_000
    with pytest.raises(LocalProtocolError):
        pair.client.send(b"x", stream_id=doomed)


def test_a_reader_who_has_enough_stops_the_writer() -> None:
    pair = connected_pair(rate="10mbit")
    pair.client.send(bytes(500_000))
    pair.run_for("60ms")
    pair.server.transport.stop_sending(0, 9)
    got = len(pair.server_received)
    pair.run_until_idle()
    assert pair.client.told(StreamStopped) == [StreamStopped(0, 9)]
    assert pair.server.told(StreamReset) == [StreamReset(0, 9)]
    assert len(pair.server_received) == got == pair.server.transport.stats.stream_bytes_delivered
    assert pair.client.transport.unsent_bytes(0) == 0


def test_an_answer_to_what_came_with_the_stop_is_no_mistake() -> None:
    pair = connected_pair()
    pair.server.send(b"question")  # opens stream 1
    pair.server.transport.stop_sending(1, 3)

    def answer(transport: Transport, event: Event) -> None:
        if isinstance(event, StreamData):
            transport.send(event.stream_id, b"answer")

    pair.client.application = answer
    pair.run_until_idle()
    assert pair.client.told(StreamStopped) == [StreamStopped(1, 3)]
    assert pair.server.received(1) == b""


def test_credit_is_renewed_so_that_a_long_stream_never_stops() -> None:
    pair = connected_pair(client=NARROW, rate="50mbit")
    pair.client.send(bytes(1_000_000), fin=True)
    pair.run_until_idle()
    assert len(pair.server_received) == 1_000_000
    grants = len(carried(pair.reverse, MaxStreamDataFrame))
    assert 1_000_000 // 70_000 <= grants <= 4 * 1_000_000 // 70_000 + 4  # at the latest when a quarter is used
    assert carried(pair.reverse, MaxDataFrame)


def test_lost_grants_are_repeated() -> None:
    pair = connected_pair(client=NARROW, rate="50mbit")
    pair.client.send(bytes(400_000), fin=True)
    pair.reverse.drop(range(pair.reverse.count + 4, pair.reverse.count + 400, 2))
    pair.run_until_idle()
    assert len(pair.server_received) == 400_000


def test_a_sender_without_credit_says_so_once_and_waits() -> None:
    puppet = Puppet(hello=type(LIMITS)(initial_max_data=1000, initial_max_stream_data=600, initial_max_streams=9))
    puppet.connect()
    puppet.say(StreamFrame(0, 0, b"a", False), StreamFrame(4, 0, b"b", False))
    connection = puppet.transport
    connection.send(0, bytes(900))
    connection.send(4, bytes(900))
    heard = puppet.say()
    octets = {frame.stream_id: len(frame.data) for frame in heard if isinstance(frame, StreamFrame)}
    assert octets == {0: 600, 4: 400}
    assert [frame for frame in puppet.heard if isinstance(frame, StreamDataBlockedFrame)] == [
        StreamDataBlockedFrame(0, 600)
    ]
    assert [frame for frame in puppet.heard if isinstance(frame, DataBlockedFrame)] == [DataBlockedFrame(1000)]
    heard = puppet.say(MaxDataFrame(5000), MaxStreamDataFrame(0, 5000), MaxStreamDataFrame(4, 5000))
    octets = {frame.stream_id: len(frame.data) for frame in heard if isinstance(frame, StreamFrame)}
    assert octets == {0: 300, 4: 500}


def test_credit_that_shrinks_is_ignored() -> None:
    puppet = Puppet().connect()
    puppet.say(StreamFrame(0, 0, b"a", False), MaxDataFrame(1), MaxStreamDataFrame(0, 1), MaxStreamsFrame(1))
    puppet.transport.send(0, bytes(900))
    assert any(isinstance(frame, StreamFrame) and len(frame.data) == 900 for frame in puppet.say())


def test_streams_beyond_the_peers_limit_wait_until_others_are_over() -> None:
    pair = connected_pair(client=NARROW)
    streams = [pair.client.open_stream() for _ in range(7)]
    for stream_id in streams:
        pair.client.send(b"to number %d" % stream_id, fin=True, stream_id=stream_id)
    pair.run_until_idle()
    assert pair.server.finished == {0, 4}
    assert carried(pair.forward, StreamsBlockedFrame) == [StreamsBlockedFrame(2)]
    pair.server.application = lambda transport, event: (
        transport.send(event.stream_id, b"", True) if isinstance(event, StreamData) and event.is_fin else None
    )
    for stream_id in (0, 4):
        pair.server.send(b"", fin=True, stream_id=stream_id)
    pair.run_until_idle()
    assert pair.server.finished == set(streams)
    assert pair.client.finished == set(streams)
    assert carried(pair.reverse, MaxStreamsFrame)


def test_what_is_reset_while_it_waits_for_the_limit_is_never_opened_too_early() -> None:
    pair = connected_pair(client=NARROW)
    streams = [pair.client.open_stream() for _ in range(3)]
    pair.client.transport.reset_stream(streams[2], 5)
    pair.run_until_idle()
    assert pair.client.closed is None
    assert pair.server.told(StreamReset) == []
    for stream_id in streams[:2]:
        pair.client.send(b"", fin=True, stream_id=stream_id)
    pair.run_until_idle()
    for stream_id in streams[:2]:
        pair.server.send(b"", fin=True, stream_id=stream_id)
    pair.run_until_idle()
    assert pair.server.told(StreamReset) == [StreamReset(streams[2], 5)]


def test_a_close_does_not_wait_for_a_stream_that_was_reset_before_the_peer_could_hear_of_it() -> None:
    pair = connected_pair(client=Rudp(max_streams=1))
    pair.client.send(b"heard", fin=True)
    unheard = pair.client.open_stream()
    pair.client.send(b"unheard", stream_id=unheard)
    pair.client.transport.reset_stream(unheard, 3)
    pair.client.transport.close(pair.now)
    pair.run_for("1s")
    assert pair.server_received == b"heard"
    assert pair.client.closed == Closed("local", 0, "")


def test_streams_opened_before_the_handshake_beyond_the_limit_wait_too() -> None:
    pair = make_pair(client=NARROW)
    pair.connect()
    for _ in range(20):
        pair.client.open_stream()
    pair.run_until_idle()
    assert pair.server.told(StreamOpened) == [StreamOpened(0), StreamOpened(4)]
    assert pair.client.closed is None


def test_a_thousand_short_streams_follow_each_other() -> None:
    pair = connected_pair(client=NARROW, delay="1ms")
    pair.server.application = lambda transport, event: (
        transport.send(event.stream_id, b"ok", True) if isinstance(event, StreamData) and event.is_fin else None
    )
    for index in range(1000):
        pair.client.send(b"%d" % index, fin=True, stream_id=pair.client.open_stream())
    pair.run_until_idle()
    assert len(pair.client.finished) == 1000
    assert pair.client.closed is None
