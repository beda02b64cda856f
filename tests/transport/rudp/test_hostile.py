"""A peer that breaks the rules is told which, and gets no more of us: no exception, no memory, no amplification."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import ErrorCode
from rudp_smtp.trace import ListSink, PacketDropped
from rudp_smtp.transport import Closed, StreamData, StreamOpened
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import SECOND
from rudp_smtp.wire.frames import (
    AckFrame,
    ConnectionCloseFrame,
    Frame,
    HelloFrame,
    MaxDataFrame,
    MaxStreamDataFrame,
    MaxStreamsFrame,
    PingFrame,
    ResetStreamFrame,
    StopSendingFrame,
    StreamFrame,
)
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet, encode_packet, seal
from tests.transport.rudp.puppet import LIMITS, Puppet
from tests.wire.strategies import frames

stream_ids = st.integers(0, 16)
offsets = st.integers(0, 300)
# Nearly right, so that most packets get past the first check.
plausible_frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(StreamFrame, stream_ids, offsets, st.binary(max_size=40), st.booleans()),
    st.builds(AckFrame, st.integers(1, 4).map(lambda stop: [(0, stop)]), st.integers(0, 10**9)),
    st.builds(ResetStreamFrame, stream_ids, st.integers(0, 9), offsets),
    st.builds(StopSendingFrame, stream_ids, st.integers(0, 9)),
    st.builds(MaxStreamDataFrame, stream_ids, offsets),
    st.builds(MaxStreamsFrame, st.integers(0, 300)),
    st.builds(PingFrame),
)
frame_lists = st.lists(plausible_frames | frames, min_size=1, max_size=4)

SMALL = Rudp(connection_window=100_000, stream_window=70_000, max_streams=3)

VIOLATIONS: dict[str, tuple[ErrorCode, list[Frame]]] = {
    "acknowledges a packet never sent": (ErrorCode.PROTOCOL_VIOLATION, [AckFrame([(0, 1000)], 0)]),
    "sends beyond a stream's credit": (ErrorCode.FLOW_CONTROL_ERROR, [StreamFrame(0, 70_000, b"x", False)]),
    "sends beyond the connection's credit": (
        ErrorCode.FLOW_CONTROL_ERROR,
        [StreamFrame(0, 60_000, b"x", False), StreamFrame(4, 60_000, b"x", False)],
    ),
    "resets beyond the connection's credit": (
        ErrorCode.FLOW_CONTROL_ERROR,
        [ResetStreamFrame(0, 1, 60_000), ResetStreamFrame(4, 1, 60_000)],
    ),
    "sends behind the end": (
        ErrorCode.FINAL_SIZE_ERROR,
        [StreamFrame(0, 0, b"end", True), StreamFrame(0, 3, b"x", False)],
    ),
    "moves the end": (ErrorCode.FINAL_SIZE_ERROR, [StreamFrame(0, 3, b"", True), StreamFrame(0, 2, b"", True)]),
    "resets to another end": (ErrorCode.FINAL_SIZE_ERROR, [StreamFrame(0, 9, b"x", False), ResetStreamFrame(0, 1, 9)]),
    "sends other octets at the same place": (
        ErrorCode.PROTOCOL_VIOLATION,
        [StreamFrame(0, 5, b"abc", False), StreamFrame(0, 6, b"xx", False)],
    ),
    "opens too many streams": (ErrorCode.STREAM_LIMIT_ERROR, [StreamFrame(12, 0, b"x", False)]),
    "opens a unidirectional stream": (ErrorCode.STREAM_LIMIT_ERROR, [StreamFrame(2, 0, b"x", False)]),
    "writes to a stream the server never opened": (ErrorCode.STREAM_STATE_ERROR, [StreamFrame(1, 0, b"x", False)]),
    "resets a stream the server never opened": (ErrorCode.STREAM_STATE_ERROR, [ResetStreamFrame(1, 0, 0)]),
    "stops a stream the server never opened": (ErrorCode.STREAM_STATE_ERROR, [StopSendingFrame(5, 0)]),
    "gives credit on a stream nobody opened": (ErrorCode.STREAM_STATE_ERROR, [MaxStreamDataFrame(1, 5)]),
    "says another HELLO": (ErrorCode.PROTOCOL_VIOLATION, [HelloFrame(initial_max_data=5)]),
}


@pytest.mark.parametrize(("error_code", "frames"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_a_violation_closes_the_connection_with_its_code(error_code: ErrorCode, frames: list[Frame]) -> None:
    puppet = Puppet(SMALL).connect()
    puppet.say(*frames)
    assert puppet.close_codes == [error_code]
    assert isinstance(puppet.events[-1], Closed)
    assert puppet.events[-1].cause == "protocol_error"
    assert puppet.events[-1].error_code == error_code


@pytest.mark.parametrize(
    "frame", [StreamFrame(0, 0, b"early", False), StreamFrame(0, 0, b"", True), MaxDataFrame(5), AckFrame([(0, 1)], 0)]
)
def test_a_first_flight_may_name_streams_and_no_more(frame: Frame) -> None:
    puppet = Puppet()
    puppet.say_initial(LIMITS, frame)
    assert puppet.close_codes == [ErrorCode.PROTOCOL_VIOLATION]


def test_a_first_flight_that_names_more_streams_than_allowed_opens_those_it_may() -> None:
    puppet = Puppet(SMALL)
    puppet.say_initial(LIMITS, *[StreamFrame(4 * index, 0, b"", False) for index in range(8)])
    assert [event.stream_id for event in puppet.events if isinstance(event, StreamOpened)] == [0, 4, 8]
    assert not puppet.close_codes


@pytest.mark.parametrize(
    "said",
    [
        [StreamFrame(0, 0, b"early", False), LIMITS],
        [LIMITS, StreamFrame(0, 0, b"early", False)],
        [LIMITS, ConnectionCloseFrame(0, "", True)],
        [ConnectionCloseFrame(0, "", True), LIMITS],
    ],
    ids=["violated before hello", "violated after hello", "left after hello", "left before hello"],
)
def test_an_address_proven_after_the_end_begins_nothing(said: list[Frame]) -> None:
    puppet = Puppet()
    puppet.say_initial(*said)
    puppet.server_id = puppet.packets[-1].source_connection_id
    puppet.say(PingFrame())
    puppet.say(LIMITS, StreamFrame(0, 0, b"late", False))
    assert [type(event) for event in puppet.events] == [Closed]
    puppet.wait(20 * SECOND)
    assert puppet.server.connection_count == 0


def test_a_client_that_repeats_itself_for_ever_costs_no_memory_and_the_connection_still_works() -> None:
    puppet = Puppet()
    for _ in range(500):
        puppet.say_initial(LIMITS)
    assert sum(isinstance(frame, HelloFrame) for frame in puppet.heard) < 100
    puppet.server_id = puppet.packets[-1].source_connection_id
    puppet.say(StreamFrame(0, 0, b"at last", True))
    assert StreamData(0, b"at last", True) in puppet.events


def test_intact_nonsense_closes_the_connection() -> None:
    puppet = Puppet().connect()
    good = encode_packet(Packet(ONE_RTT, puppet.server_id, 99, [PingFrame()]))
    body = good[:-5] + b"\x3f"  # no such frame type
    puppet.deliver(seal([body]))
    assert puppet.close_codes == [ErrorCode.FRAME_ENCODING_ERROR]


def test_a_damaged_datagram_is_dropped_and_counted() -> None:
    sink = ListSink()
    puppet = Puppet(sink=sink).connect()
    good = encode_packet(Packet(ONE_RTT, puppet.server_id, 99, [PingFrame()]))
    assert puppet.deliver(good[:-1] + bytes([good[-1] ^ 1])) == []
    assert puppet.deliver(b"") == []
    drops = [fact.trigger for fact in sink.facts if isinstance(fact, PacketDropped)]
    assert drops == ["integrity_check_failed", "header_parse_error"]
    assert puppet.server.total_stats().packets_dropped == 2
    assert not puppet.close_codes


def test_what_belongs_to_no_connection_is_not_answered() -> None:
    puppet = Puppet().connect()
    assert puppet.deliver(encode_packet(Packet(ONE_RTT, 12345, 1, [PingFrame()]))) == []
    assert puppet.say_initial(LIMITS, size=600, source=8) == []
    assert puppet.say_initial(PingFrame(), source=9) == []
    assert puppet.server.connection_count == 1


def test_before_the_handshake_is_done_a_packet_from_elsewhere_is_dropped() -> None:
    puppet = Puppet()
    puppet.say_initial(LIMITS)
    server_id = puppet.packets[-1].source_connection_id
    data = encode_packet(Packet(ONE_RTT, server_id, 99, [StreamFrame(0, 0, b"x", False)]))
    assert puppet.deliver(data, remote="mallory") == []
    assert not any(isinstance(event, StreamOpened) for event in puppet.events)


def test_an_unproven_address_gets_at_most_three_times_what_came_from_it() -> None:
    puppet = Puppet()
    puppet.say_initial(LIMITS, StreamFrame(0, 0, b"", False))
    puppet.server.next_timeout()
    puppet.wait(25 * SECOND)
    sizes = sum(len(encode_packet(packet)) for packet in puppet.packets)
    assert 0 < sizes <= 3 * 1200


def test_an_unproven_address_gets_no_more_for_acknowledgements_that_are_long() -> None:
    puppet = Puppet()
    puppet.say_initial(LIMITS)
    received = 1200
    for _ in range(200):
        puppet.skip(1 << 30)  # each packet leaves a gap, so each is a range of its own
        puppet.say_initial(PingFrame(), size=0)
        received += len(encode_packet(Packet(INITIAL, 3, 0, [PingFrame()], 7)))
        assert sum(len(encode_packet(packet)) for packet in puppet.packets) <= 3 * received


def test_half_open_connections_are_bounded() -> None:
    puppet = Puppet(Rudp(max_half_open=5, retry="never"))
    for source in range(20):
        puppet.say_initial(LIMITS, source=source)
    assert puppet.server.connection_count == 5
    puppet.wait(31 * SECOND)
    assert puppet.server.connection_count == 0
    puppet.say_initial(LIMITS, source=99)
    assert puppet.server.connection_count == 1


def test_an_ended_connection_answers_ever_more_rarely() -> None:
    puppet = Puppet().connect()
    puppet.say(AckFrame([(0, 1000)], 0))
    answers = [len(puppet.say(PingFrame())) > 0 for _ in range(16)]
    assert [index + 1 for index, is_answered in enumerate(answers) if is_answered] == [1, 2, 4, 8, 16]


def test_a_close_is_answered_and_then_nothing_is() -> None:
    puppet = Puppet().connect()
    assert any(isinstance(frame, ConnectionCloseFrame) for frame in puppet.say(ConnectionCloseFrame(0, "", True)))
    assert puppet.say(PingFrame()) == []
    assert puppet.wait(20 * SECOND) == []
    assert puppet.server.connection_count == 0


def test_a_late_copy_of_a_first_flight_opens_nothing() -> None:
    puppet = Puppet().connect()
    puppet.say(ConnectionCloseFrame(0, "", True))
    puppet.wait(20 * SECOND)
    assert puppet.server.connection_count == 0
    assert puppet.say_initial(LIMITS) == []
    assert puppet.server.connection_count == 0


@settings(max_examples=150, deadline=None)
@given(packets=st.lists(st.tuples(frame_lists, st.booleans(), st.integers(0, 400)), max_size=12))
def test_no_sequence_of_well_formed_packets_raises_or_hangs(packets: list[tuple[list[Frame], bool, int]]) -> None:
    puppet = Puppet(SMALL).connect()
    for said, is_initial, milliseconds in packets:
        if is_initial:
            puppet.say_initial(*said)
        else:
            puppet.say(*said)
        puppet.wait(milliseconds * 10**6)
    puppet.wait(200 * SECOND)
    assert puppet.server.connection_count == 0


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=100), prefix=st.sampled_from([b"", b"\x50", b"\x51"]))
def test_no_octets_raise(data: bytes, prefix: bytes) -> None:
    puppet = Puppet().connect()
    puppet.deliver(prefix + data)
    puppet.deliver(prefix + puppet.server_id.to_bytes(8, "big") + data)
    assert not puppet.close_codes
