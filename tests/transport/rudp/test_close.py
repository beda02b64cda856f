"""The ends of a connection: both sides learn of it, once, and are forgotten."""

import pytest

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.transport import Closed, Event, StreamOpened, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND, SECOND
from rudp_smtp.wire.frames import ConnectionCloseFrame, Frame
from rudp_smtp.wire.packet import decode_packet
from tests.helpers import Direction, Pair, connected_pair, make_pair
from tests.transport.rudp.puppet import connections_of


def closes(way: Direction) -> int:
    """Packets that carried CONNECTION_CLOSE."""
    frames: list[list[Frame]] = [decode_packet(data).frames for _, data in way.sent]
    return sum(any(isinstance(frame, ConnectionCloseFrame) for frame in packet) for packet in frames)


def assert_forgotten(pair: Pair) -> None:
    for side in (pair.client, pair.server):
        assert connections_of(side) == 0
        assert side.endpoint.next_timeout() is None
        assert len(side.told(Closed)) == 1


def test_close_delivers_what_was_queued_first() -> None:
    pair = connected_pair(delay="20ms", rate="10mbit")
    pair.client.send(bytes(300_000))
    pair.client.transport.close(pair.now)
    pair.run_until_idle()
    assert len(pair.server_received) == 300_000
    assert pair.client.closed == Closed("local", 0, "")
    assert pair.server.closed == Closed("peer", 0, "")
    assert_forgotten(pair)


def test_close_repairs_losses_before_it_ends() -> None:
    pair = connected_pair(delay="20ms")
    pair.client.send(b"last words", fin=True)
    pair.client.transport.close(pair.now)
    pair.drop_next(2)
    pair.run_until_idle()
    assert pair.server_received == b"last words"
    assert pair.server.finished == {0}
    assert_forgotten(pair)


def test_a_closed_connection_is_over_in_one_round_trip() -> None:
    pair = connected_pair(delay="20ms")
    started = pair.now
    pair.client.transport.close(pair.now)
    pair.run_until(lambda: pair.client.closed is not None)
    assert pair.now - started == 40 * MILLISECOND
    assert (closes(pair.forward), closes(pair.reverse)) == (1, 1)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_close_is_repeated(lost: int) -> None:
    pair = connected_pair(delay="20ms")
    pair.client.transport.close(pair.now)
    pair.drop_next(lost)
    pair.run_until_idle()
    assert closes(pair.forward) == lost + 1
    assert pair.server.closed == Closed("peer", 0, "")
    assert_forgotten(pair)


def test_a_lost_answer_is_given_again() -> None:
    pair = connected_pair(delay="20ms")
    pair.reverse.drop([pair.reverse.count])
    pair.client.transport.close(pair.now)
    pair.run_until_idle()
    assert (closes(pair.forward), closes(pair.reverse)) == (2, 2)
    assert_forgotten(pair)


def test_a_close_nobody_hears_ends_by_itself() -> None:
    pair = connected_pair(delay="20ms")
    pair.cut()
    started = pair.now
    pair.client.transport.close(pair.now)
    pair.run_until(lambda: connections_of(pair.client) == 0)
    assert pair.now - started < SECOND
    assert closes(pair.forward) == 3
    assert pair.client.closed == Closed("local", 0, "")


def test_both_may_close_at_once() -> None:
    pair = connected_pair(delay="20ms")
    for side in (pair.client, pair.server):
        side.transport.close(pair.now)
    pair.run_until_idle()
    assert pair.client.closed == pair.server.closed == Closed("local", 0, "")
    assert (closes(pair.forward), closes(pair.reverse)) == (1, 1)
    assert_forgotten(pair)


def test_a_connection_closed_before_it_stands_still_delivers() -> None:
    pair = make_pair(delay="20ms")
    pair.connect()
    pair.client.send(b"in and out", fin=True)
    pair.client.transport.close(pair.now)
    pair.forward.drop([0])
    pair.run_until_idle()
    assert pair.server_received == b"in and out"
    assert pair.client.closed == Closed("local", 0, "")
    assert_forgotten(pair)


def test_a_reset_tells_the_peer_why_at_once() -> None:
    pair = connected_pair(delay="20ms")
    pair.client.send(bytes(10_000_000))
    pair.client.transport.reset(42, "out of paper", pair.now)
    assert pair.client.closed is None  # nothing was drained yet
    started = pair.now
    pair.run_until(lambda: pair.server.closed is not None)
    assert pair.now - started == 20 * MILLISECOND
    assert pair.client.closed == Closed("local", 42, "out of paper")
    assert pair.server.closed == Closed("peer", 42, "out of paper")
    pair.run_until_idle()
    assert_forgotten(pair)


def test_a_reset_before_the_handshake_is_done_leaves_nothing_behind() -> None:
    pair = make_pair()
    pair.connect()
    pair.client.transport.reset(1, "changed my mind", pair.now)
    pair.run_until_idle()
    assert connections_of(pair.client) == 0
    assert connections_of(pair.server) == 0
    assert pair.server.transports == []


def test_a_server_may_reset_before_the_handshake_is_done() -> None:
    pair = make_pair()

    def refuse(transport: Transport, event: Event) -> None:
        if isinstance(event, StreamOpened):
            transport.reset(5, "not today", pair.now)

    pair.server.application = refuse
    pair.connect()
    pair.client.open_stream()
    pair.run_until_idle()
    assert pair.client.closed == Closed("peer", 5, "not today")
    assert pair.server.closed == Closed("local", 5, "not today")
    assert not pair.server.is_established
    assert connections_of(pair.client) == connections_of(pair.server) == 0


def test_commands_after_close_are_the_callers_mistake() -> None:
    pair = connected_pair()
    stream_id = pair.client.open_stream()
    pair.client.transport.close(pair.now)
    for command in (
        lambda: pair.client.transport.open_stream(),
        lambda: pair.client.transport.send(stream_id, b"x"),
        lambda: pair.client.transport.reset_stream(stream_id, 1),
        lambda: pair.client.transport.stop_sending(stream_id, 1),
    ):
        with pytest.raises(LocalProtocolError):
            command()


def test_closing_twice_and_resetting_what_is_closed_change_nothing() -> None:
    pair = connected_pair()
    pair.client.transport.close(pair.now)
    pair.client.transport.close(pair.now)
    pair.run_until_idle()
    pair.client.transport.close(pair.now)
    pair.client.transport.reset(1, "late", pair.now)
    pair.run_until_idle()
    assert pair.client.closed == Closed("local", 0, "")
    assert_forgotten(pair)


def test_what_is_sent_after_the_peer_left_goes_nowhere_and_is_no_mistake() -> None:
    pair = connected_pair()
    pair.client.send(b"x")
    pair.run_until_idle()
    pair.server.transport.close(pair.now)
    pair.run_until_idle()
    pair.client.send(b"too late")
    pair.run_until_idle()
    assert pair.client.closed == Closed("peer", 0, "")
    assert pair.server_received == b"x"


def briefly_connected(client: Rudp, server: Rudp | None = None, delay: str = "20ms") -> Pair:
    """A pair whose handshake is just done: its idle timeout is too short to wait until all is quiet."""
    pair = make_pair(client=client, server=server, delay=delay)
    pair.connect()
    pair.run_until(lambda: pair.client.is_established and pair.server.is_established)
    pair.run_for("200ms")
    return pair


def test_silence_ends_a_connection_without_a_word() -> None:
    pair = briefly_connected(Rudp(max_idle_timeout=5 * SECOND), Rudp(max_idle_timeout=60 * SECOND))
    sent = pair.forward.count, pair.reverse.count
    quiet_since = pair.now
    pair.run_for("4700ms")
    assert pair.client.closed is None
    pair.run_for("400ms")
    assert pair.client.closed == pair.server.closed == Closed("idle_timeout", 0, "")
    assert (pair.forward.count, pair.reverse.count) == sent
    assert pair.now - quiet_since <= 6 * SECOND
    assert_forgotten(pair)


def test_traffic_puts_the_idle_timeout_off() -> None:
    pair = briefly_connected(Rudp(max_idle_timeout=5 * SECOND))
    for _ in range(5):
        pair.client.send(b"tick")
        pair.run_for("4s")
    assert pair.client.closed is None
    assert pair.server.closed is None


def test_an_idle_timeout_of_zero_is_none() -> None:
    pair = connected_pair(client=Rudp(max_idle_timeout=0))
    pair.run_for("9000s")
    assert pair.client.closed is None
    assert pair.client.endpoint.next_timeout() is None


def test_a_half_open_connection_ends_even_where_no_idle_timeout_is_agreed() -> None:
    pair = make_pair(client=Rudp(max_idle_timeout=0), server=Rudp(max_idle_timeout=0))
    pair.reverse.is_cut = True
    pair.connect()
    pair.run_for("9000s")
    assert pair.forward.count > 1
    assert pair.client.closed == Closed("idle_timeout", 0, "")
    assert_forgotten(pair)


@pytest.mark.parametrize("error_code", [-1, 1 << 62])
def test_an_error_code_that_no_frame_holds_is_refused_at_the_call(error_code: int) -> None:
    pair = connected_pair()
    stream_id = pair.client.open_stream()
    with pytest.raises(LocalProtocolError, match="error code"):
        pair.client.transport.reset_stream(stream_id, error_code)
    with pytest.raises(LocalProtocolError, match="error code"):
        pair.client.transport.stop_sending(stream_id, error_code)
    with pytest.raises(LocalProtocolError, match="error code"):
        pair.client.transport.reset(error_code, "", pair.now)
    pair.client.send(b"still here")
    pair.run_until_idle()
    assert pair.server_received == b"still here"


def test_an_idle_timeout_is_never_shorter_than_three_probe_timeouts() -> None:
    pair = briefly_connected(Rudp(max_idle_timeout=SECOND), delay="400ms")
    pair.client.send(b"slow but steady", fin=True)
    pair.run_for("1500ms")
    assert pair.server_received == b"slow but steady"
    assert pair.client.closed is None


def test_a_peer_that_vanishes_is_given_up() -> None:
    pair = connected_pair()
    pair.cut()
    pair.client.send(b"hello?")
    pair.client.transport.close(pair.now)
    pair.run_for("100s")
    assert pair.client.closed == Closed("idle_timeout", 0, "")
    assert pair.server.closed == Closed("idle_timeout", 0, "")
    assert_forgotten(pair)
