"""RFC 9000 section 4: receive windows that grow with the path, and only with it."""

import pytest

from rudp_smtp.registry import Spec
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.transport.rudp.connection import Connection
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.wire.frames import (
    DataBlockedFrame,
    Frame,
    MaxDataFrame,
    MaxStreamDataFrame,
    StreamDataBlockedFrame,
    StreamFrame,
)
from rudp_smtp.wire.packet import decode_packet
from tests.helpers import Pair, connected_pair
from tests.transport.rudp.puppet import Puppet

KIB = 1024
STREAM, CONNECTION = 256 * KIB, 512 * KIB  # the windows at first


def delivered(pair: Pair) -> int:
    return pair.server.transport.stats.stream_bytes_delivered


def granted(pair: Pair) -> tuple[int, int]:
    """The last limits of stream and connection that the server announced."""
    frames = [frame for _, data in pair.reverse.sent for frame in decode_packet(data).frames]
    streams = [frame.maximum for frame in frames if isinstance(frame, MaxStreamDataFrame)]
    connections = [frame.maximum for frame in frames if isinstance(frame, MaxDataFrame)]
    return max(streams, default=STREAM), max(connections, default=CONNECTION)


def window_of(pair: Pair) -> tuple[int, int]:
    """The windows of stream and connection, as far as the limits tell."""
    stream, connection = granted(pair)
    received = delivered(pair)
    return stream - received, connection - received


def carried(pair: Pair, kind: type[Frame]) -> int:
    return sum(isinstance(frame, kind) for _, data in pair.forward.sent for frame in decode_packet(data).frames)


def test_a_transfer_over_a_long_fat_path_reaches_the_windows_rate() -> None:
    """600 ms x 100 Mbit/s is 7.5 MB, thirty times the first window."""
    window = 7_500_000
    fat = Rudp(congestion=Spec("fixed", (("window", window),)))
    pair = connected_pair(client=fat, delay="300ms", rate="100mbit")
    pair.forward.is_kept = pair.reverse.is_kept = False
    pair.client.send(bytes(40_000_000))
    pair.run_until(lambda: delivered(pair) > 18_000_000)
    started, before = pair.now, delivered(pair)
    pair.run_until(lambda: delivered(pair) > 30_000_000)
    assert (delivered(pair) - before) * 8 * SECOND // (pair.now - started) > 90_000_000


def test_a_window_that_fills_the_path_grows_no_more() -> None:
    """10 Mbit/s x 40 ms is 50 kB: the first window is five times that."""
    pair = connected_pair(client=Rudp(congestion=Spec("fixed", (("window", 50_000),))), rate="10mbit")
    pair.client.send(bytes(3_000_000))
    pair.run_until(lambda: delivered(pair) > 2_900_000)
    stream, connection = window_of(pair)
    assert stream <= STREAM
    assert connection <= CONNECTION


@pytest.mark.parametrize("size", [100, 20_000])
def test_an_application_that_says_little_does_not_grow_the_window(size: int) -> None:
    pair = connected_pair()
    while delivered(pair) < 2_000_000 * size // 20_000:
        pair.client.send(bytes(size))
        pair.run_for("50ms")
    stream, connection = window_of(pair)
    assert stream <= STREAM
    assert connection <= CONNECTION


def test_no_window_grows_beyond_its_limit() -> None:
    narrow = Rudp(stream_window=STREAM * 2, connection_window=CONNECTION)
    pair = connected_pair(client=narrow, rate="1gbit", delay="50ms")
    pair.client.send(bytes(6_000_000), fin=True)
    pair.run_until_idle()
    stream, connection = window_of(pair)
    assert stream <= 2 * STREAM
    assert connection <= CONNECTION


def test_the_connections_window_stays_above_each_streams() -> None:
    pair = connected_pair(rate="200mbit", delay="50ms")
    pair.client.send(bytes(8_000_000))
    pair.run_until(lambda: delivered(pair) > 7_900_000)
    stream, connection = granted(pair)
    assert stream - delivered(pair) > STREAM
    assert connection - stream >= STREAM // 2


def test_a_peer_that_is_held_back_gets_more() -> None:
    puppet = Puppet().connect()
    puppet.say(StreamFrame(0, 0, b"a", False))
    heard = puppet.say(StreamDataBlockedFrame(0, STREAM))
    assert MaxStreamDataFrame(0, 2 * STREAM + 1) in heard
    assert MaxDataFrame(3 * STREAM + 1) in puppet.heard
    heard = puppet.say(DataBlockedFrame(3 * STREAM + 1))
    assert MaxDataFrame(6 * STREAM + 1) in heard


def test_what_waits_for_a_repair_makes_the_window_grow_up_to_its_limit() -> None:
    """Nothing is consumed behind the octet that was lost, so what is consumed says nothing of what the path carries."""
    puppet = Puppet(Rudp(stream_window=4 * STREAM, connection_window=4 * STREAM)).connect()
    piece = 1_000
    for offset in range(1, STREAM // 4 - piece, piece):
        puppet.say(StreamFrame(0, offset, bytes(piece), False))
    assert not any(isinstance(frame, MaxStreamDataFrame) for frame in puppet.heard)
    for offset in range(STREAM // 4 - piece, 4 * STREAM - piece, piece):
        puppet.say(StreamFrame(0, offset, bytes(piece), False))
    announced = [frame.maximum for frame in puppet.heard if isinstance(frame, MaxStreamDataFrame)]
    assert announced == [2 * STREAM, 4 * STREAM]


def test_losses_on_a_long_fat_path_leave_credit_for_a_doubling_flight() -> None:
    """200 Mbit/s x 250 ms, every tenth packet lost while slow start doubles: the sender never runs out of credit."""
    pair = connected_pair(rate="200mbit", delay="125ms")
    pair.forward.drop(range(20, 20_000, 10))
    pair.client.send(bytes(10_000_000), fin=True)
    pair.run_until_idle()
    assert delivered(pair) == 10_000_000
    assert carried(pair, StreamDataBlockedFrame) <= 2


@pytest.mark.parametrize("limit", [0, STREAM - 1, 2 * STREAM])
def test_a_limit_that_is_not_the_last_one_holds_nobody_back(limit: int) -> None:
    puppet = Puppet().connect()
    puppet.say(StreamFrame(0, 0, b"a", False))
    assert not any(isinstance(frame, MaxStreamDataFrame) for frame in puppet.say(StreamDataBlockedFrame(0, limit)))


def test_a_peer_that_says_again_and_again_that_it_is_held_back_gets_the_limit_at_most() -> None:
    limits = Rudp(stream_window=4 * STREAM, connection_window=4 * STREAM)
    puppet = Puppet(limits).connect()
    puppet.say(StreamFrame(0, 0, b"a", False))
    for limit in range(STREAM, 20 * STREAM, STREAM // 2):
        puppet.say(StreamDataBlockedFrame(0, limit), DataBlockedFrame(limit))
        puppet.say(StreamDataBlockedFrame(0, limit + 1), DataBlockedFrame(limit + 1))
        puppet.wait(MILLISECOND)
    announced = [frame.maximum for frame in puppet.heard if isinstance(frame, MaxStreamDataFrame | MaxDataFrame)]
    assert announced
    assert max(announced) <= 4 * STREAM + 1


def test_slow_start_is_not_held_back_by_the_first_window() -> None:
    pair = connected_pair(rate="1gbit", delay="100ms")
    pair.client.send(bytes(10_000_000), fin=True)
    pair.run_until_idle()
    assert carried(pair, StreamDataBlockedFrame) == carried(pair, DataBlockedFrame) == 0


def reader(pair: Pair) -> Connection:
    assert isinstance(pair.server.transport, Connection)
    return pair.server.transport


@pytest.mark.parametrize("is_lossy", [False, True])
def test_an_application_that_pauses_gets_no_more_than_the_window(is_lossy: bool) -> None:
    """The window does not grow either, whatever the sender asks for or lacks."""
    pair = connected_pair(rate="100mbit")
    pair.client.send(b"first")
    pair.run_until(lambda: delivered(pair) == 5)
    if is_lossy:
        pair.forward.drop(range(20, 400, 7))
    reader(pair).pause_reading(0)
    pair.client.send(bytes(5_000_000))
    pair.run_for("10s")
    assert delivered(pair) == STREAM
    reader(pair).resume_reading(0)
    pair.run_until(lambda: delivered(pair) == 5_000_005)
    assert len(pair.server_received) == 5_000_005


def test_pausing_one_stream_leaves_the_connection_its_credit_in_the_end() -> None:
    """What a paused stream got is given back when it is reset or forgotten, though nobody resumes."""
    pair = connected_pair()
    for _ in range(12):  # of 100 kB each: twice the connection's first window
        stream = pair.client.transport.open_stream()
        pair.client.transport.send(stream, b"x")
        pair.run_for("1s")
        reader(pair).pause_reading(stream)
        before = delivered(pair)
        pair.client.transport.send(stream, bytes(100_000))
        pair.run_for("1s")
        assert delivered(pair) == before + 100_000
        pair.client.transport.reset_stream(stream, 1)
        reader(pair).reset_stream(stream, 1)
        pair.run_for("1s")
