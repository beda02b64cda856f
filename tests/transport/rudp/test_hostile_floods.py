"""Floods: whatever a peer sends by the thousand, memory stays where it was and no datagram costs much more than others.

Memory is what tracemalloc finds allocated by our package; cost is the number of lines of Python executed, which is the
same on every machine.
"""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from rudp_smtp.errors import ErrorCode
from rudp_smtp.transport import StreamOpened
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.transport.rudp.recv_stream import SCATTERED_RANGES_MAX
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.wire.frames import (
    AckFrame,
    Frame,
    HelloFrame,
    MaxDataFrame,
    MaxStreamDataFrame,
    MaxStreamsFrame,
    PathChallengeFrame,
    PathResponseFrame,
    PingFrame,
    ResetStreamFrame,
    StopSendingFrame,
    StreamFrame,
    StreamsBlockedFrame,
)
from rudp_smtp.wire.packet import encode_short_header, seal
from tests.transport.rudp.puppet import LIMITS, Puppet

KIB = 1024
FULL = 1400  # octets of frames in a datagram of the usual size
LINES_PER_OCTET = 40  # of a datagram: a frame of one octet takes about 20 lines from the first check to the last
DATAGRAM_LINES = 3_000  # what any datagram may take besides, with the answers to it

Flood = Callable[[int], list[Frame]]  # turn -> what the packet holds

PACKETS: dict[str, Flood] = {
    "pings": lambda turn: [PingFrame()] * FULL,
    "small limits": lambda turn: [MaxDataFrame(turn % 60)] * (FULL // 2),
    "growing limits": lambda turn: [MaxDataFrame(1 << 40 | turn), MaxStreamsFrame(1000 + turn)] * 60,
    "limits of a stream": lambda turn: [MaxStreamDataFrame(0, 100 + turn)] * 400,
    "complaints of too few streams": lambda turn: [StreamsBlockedFrame(9)] * (FULL // 2),
    "acknowledgements of the same": lambda turn: [AckFrame([(0, 1)], 0)] * (FULL // 5),
    "the same octets": lambda turn: [StreamFrame(0, 0, b"", False)] * (FULL // 11),
    "resets of one stream": lambda turn: [ResetStreamFrame(0, 0, 0)] * (FULL // 4),
    "stops of one stream": lambda turn: [StopSendingFrame(0, 0)] * (FULL // 3),
    "resets of every stream there may be": lambda turn: [ResetStreamFrame(4 * k, 0, 0) for k in range(100)],
    "stops of every stream there may be": lambda turn: [StopSendingFrame(4 * k, 0) for k in range(100)],
    "challenges": lambda turn: [PathChallengeFrame(turn << 8 | k) for k in range(FULL // 9)],
    "answers to no challenge": lambda turn: [PathResponseFrame(turn << 8 | k) for k in range(FULL // 9)],
    "the same HELLO": lambda turn: [LIMITS] * 40,
}


def ours() -> int:
    """Octets allocated in our package and not freed."""
    gc.collect()
    found = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/rudp_smtp/*")])
    return sum(trace.size for trace in found.traces)


def lines_of(action: Callable[[], object]) -> int:
    """Lines of our package that run."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if "rudp_smtp" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def growth(puppet: Puppet, flood: Flood, turns: int) -> int:
    """What memory grows by in the second half of a flood."""

    def half(first: int) -> int:
        for turn in range(first, first + turns // 2):
            puppet.say(*flood(turn))
            puppet.packets.clear()
            puppet.events.clear()
        return ours()

    tracemalloc.start()
    try:
        return -half(0) + half(turns // 2)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("flood", PACKETS.values(), ids=PACKETS.keys())
def test_memory_does_not_grow_under_a_flood_of(flood: Flood) -> None:
    puppet = Puppet().connect()
    assert growth(puppet, flood, 100) < 16 * KIB


@pytest.mark.parametrize("flood", PACKETS.values(), ids=PACKETS.keys())
def test_no_datagram_costs_much_under_a_flood_of(flood: Flood) -> None:
    puppet = Puppet().connect()
    for turn in range(20):
        puppet.say(*flood(turn))
    size = sum(len(frame.encode()) for frame in flood(20))
    assert lines_of(lambda: puppet.say(*flood(20))) < DATAGRAM_LINES + LINES_PER_OCTET * size


def test_packets_that_each_leave_a_gap_cost_no_more_than_the_ranges_that_are_kept() -> None:
    puppet = Puppet().connect()

    def gap(turn: int) -> list[Frame]:
        puppet.skip(1)
        return [PingFrame()]

    assert growth(puppet, gap, 1500) < 16 * KIB
    assert lines_of(lambda: puppet.say(*gap(0))) < DATAGRAM_LINES
    assert all(len(frame.ranges) <= 256 for frame in puppet.heard if isinstance(frame, AckFrame))


def test_gaps_that_are_filled_backwards_cost_no_more() -> None:
    puppet = Puppet().connect()
    puppet.skip(10_000)

    def backwards(turn: int) -> list[Frame]:
        puppet.skip(-3)
        return [PingFrame()]

    assert growth(puppet, backwards, 1500) < 16 * KIB
    assert not puppet.close_codes


@pytest.mark.parametrize("distance", [2, 50])
def test_crumbs_that_fit_nowhere_are_refused_when_they_are_too_many(distance: int) -> None:
    puppet = Puppet().connect()
    sent = 0
    tracemalloc.start()
    try:
        while not puppet.close_codes:
            crumbs = [StreamFrame(0, (sent + k) * distance + 1, b"x", False) for k in range(100)]
            puppet.say(*crumbs)
            sent += len(crumbs)
        assert ours() < 1_000 * KIB + distance * sent
    finally:
        tracemalloc.stop()
    assert SCATTERED_RANGES_MAX < sent <= SCATTERED_RANGES_MAX + 100
    assert puppet.close_codes == [ErrorCode.PROTOCOL_VIOLATION]


@pytest.mark.parametrize("window", [64 * KIB, 512 * KIB])
def test_crumbs_on_many_streams_are_refused_as_those_on_one_are(window: int) -> None:
    """Whatever a peer sends, it takes about twice its window of our memory at most."""
    puppet = Puppet(Rudp(connection_window=window, initial_connection_window=window, max_streams=64)).connect()
    sent = 0
    tracemalloc.start()
    try:
        while not puppet.close_codes:
            crumbs = [StreamFrame(4 * (k % 64), sent // 32 + 2 * (k // 64) + 1, b"x", False) for k in range(64)]
            puppet.say(*crumbs)
            sent += len(crumbs)
        assert ours() < 2 * window + 64 * 10 * KIB
    finally:
        tracemalloc.stop()
    assert puppet.close_codes == [ErrorCode.PROTOCOL_VIOLATION]
    assert sent <= window / 64


def test_crumbs_that_have_found_their_place_and_those_given_up_are_not_counted() -> None:
    puppet = Puppet(Rudp(connection_window=64 * KIB)).connect()
    for turn in range(90):
        base = 200 * turn
        puppet.say(*[StreamFrame(0, base + 2 * k + 1, b"x", False) for k in range(100)])
        puppet.say(*[StreamFrame(0, base + 2 * k, b"x", False) for k in range(100)])
        puppet.say(*[StreamFrame(4 * turn + 4, 2 * k + 1, b"x", False) for k in range(100)])
        puppet.say(ResetStreamFrame(4 * turn + 4, 0, 200))
    assert not puppet.close_codes


def test_a_late_crumb_costs_no_more_than_an_early_one() -> None:
    puppet = Puppet().connect()
    costs = [lines_of(lambda k=k: puppet.say(StreamFrame(0, 2 * k + 1, b"x", False))) for k in range(4000)]  # type: ignore[misc]
    assert max(costs[-1000:]) < 2 * max(costs[:1000])


def test_one_octet_far_off_takes_no_more_memory_than_the_peer_has_credit() -> None:
    """The credit that was announced is what we are ready to hold, and streams share the connection's."""
    credit = 1 << 20
    puppet = Puppet(Rudp(connection_window=credit, stream_window=credit // 2, max_streams=50)).connect()
    tracemalloc.start()
    try:
        for index in range(50):
            puppet.say(StreamFrame(4 * index, credit // 2 - 1, b"x", False))
        assert ours() < credit + 200 * KIB
    finally:
        tracemalloc.stop()
    assert puppet.close_codes[0] == ErrorCode.FLOW_CONTROL_ERROR


def test_streams_that_are_opened_and_reset_for_ever_open_no_faster_than_they_are_closed() -> None:
    """What was called rapid reset: a stream counts until our half of it is over too."""
    puppet = Puppet(Rudp(max_streams=10)).connect()
    puppet.say(
        *[frame for k in range(10) for frame in (StreamFrame(4 * k, 0, b"x", False), ResetStreamFrame(4 * k, 0, 1))]
    )
    assert sum(isinstance(event, StreamOpened) for event in puppet.events) == 10
    assert not any(isinstance(frame, MaxStreamsFrame) for frame in puppet.heard)
    puppet.say(StreamFrame(40, 0, b"x", False))
    assert puppet.close_codes == [ErrorCode.STREAM_LIMIT_ERROR]


def test_a_peer_that_acknowledges_nothing_is_sent_no_more_than_the_window_and_probes() -> None:
    puppet = Puppet().connect()
    puppet.say(StreamFrame(0, 0, b"", False))
    puppet.transport.send(0, bytes(1 << 20))
    puppet.wait(2 * SECOND)
    before = puppet.server.total_stats().bytes_sent
    for _ in range(400):
        puppet.say(PingFrame())
        puppet.wait(MILLISECOND)
    sent = puppet.server.total_stats().bytes_sent - before
    assert sent < 400 * 100  # acknowledgements and a probe or two


def test_half_open_connections_take_little_each_and_all_is_given_back() -> None:
    puppet = Puppet(Rudp(max_half_open=200))
    tracemalloc.start()
    try:
        for source in range(400):
            puppet.say_initial(LIMITS, source=source, original=source)
            puppet.packets.clear()
        held = ours()
        puppet.wait(60 * SECOND)
        puppet.packets.clear()
        puppet.events.clear()
        puppet.transports.clear()
        left = ours()
    finally:
        tracemalloc.stop()
    assert held < 200 * 40 * KIB
    assert left < held / 10
    assert puppet.server.connection_count == 0


def test_a_datagram_larger_than_was_asked_for_is_dropped_unread() -> None:
    puppet = Puppet(Rudp(max_datagram_size=1472)).connect()
    data = seal([encode_short_header(puppet.server_id, 99), b"\x01" * 60_000])
    assert lines_of(lambda: puppet.deliver(data)) < 200
    assert puppet.server.total_stats().packets_dropped == 1
    assert not puppet.close_codes


def test_a_hello_with_every_parameter_there_is_room_for_is_read_and_repeated_ones_are_refused() -> None:
    puppet = Puppet(hello=HelloFrame(max_idle_timeout=30 * SECOND)).connect()
    puppet.say(HelloFrame(max_idle_timeout=31 * SECOND))
    assert puppet.close_codes == [ErrorCode.PROTOCOL_VIOLATION]
