"""What one client may have of a server that limits its clients, how it hears of it, and that others have theirs."""

import tracemalloc
from itertools import count

import pytest

from rudp_smtp.errors import ConfigError, ErrorCode
from rudp_smtp.transport import Address, Closed, ConnectionLimits
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.transport.rudp.endpoint import Endpoint
from rudp_smtp.transport.rudp.guests import LEAST_WINDOW
from rudp_smtp.units import SECOND
from rudp_smtp.wire.frames import (
    ConnectionCloseFrame,
    DataBlockedFrame,
    Frame,
    HelloFrame,
    MaxDataFrame,
    PaddingFrame,
    PingFrame,
    StreamDataBlockedFrame,
    StreamFrame,
    TokenFrame,
)
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet, encode_packet
from rudp_smtp.wire.stateless import decode_retry
from tests.helpers import Pair, make_pair
from tests.transport.rudp.puppet import LIMITS, Puppet, connections_of
from tests.transport.rudp.test_hostile_floods import KIB, ours
from tests.transport.rudp.test_resumption import EHLO, Dialogues

A, B = "192.0.2.1", "192.0.2.2"
FIRST, LARGEST = 512 * KIB, 1 << 24


def host_of(peer: Address) -> str:
    return str(peer[0] if isinstance(peer, tuple) else peer)


class Visitor:
    """One connection of a client."""

    def __init__(self, hotel: "Hotel", remote: Address, number: int) -> None:
        self._hotel = hotel
        self._remote = remote
        self.number = number
        self.server_id = 0
        self.window = 0

    def hello(self, token: bytes = b"") -> list[Frame]:
        frames: list[Frame] = [TokenFrame(token)] if token else []
        packet = Packet(INITIAL, 1000 + self.number, self._hotel.next_number(), [*frames, LIMITS], 5000 + self.number)
        packet.frames.append(PaddingFrame(1200 - len(encode_packet(packet))))
        heard = self._hotel.deliver(encode_packet(packet), self._remote)
        self.server_id = self._hotel.packets[-1].source_connection_id if heard else 0
        self.window = sum(frame.initial_max_data for frame in heard if isinstance(frame, HelloFrame))
        return heard

    def say(self, *frames: Frame) -> list[Frame]:
        packet = Packet(ONE_RTT, self.server_id, self._hotel.next_number(), list(frames))
        return self._hotel.deliver(encode_packet(packet), self._remote)

    def leave(self) -> None:
        self.say(ConnectionCloseFrame(0, "", True))
        self._hotel.wait(5 * SECOND)

    def grow(self) -> int:
        """Complain of every limit, behind a hole, as long as that helps; the window then."""
        self.say(StreamFrame(0, 1, b"behind a hole", False))
        while True:
            heard = self.say(DataBlockedFrame(self.window), StreamDataBlockedFrame(0, self.window))
            larger = max([frame.maximum for frame in heard if isinstance(frame, MaxDataFrame)], default=0)
            if larger <= self.window:
                return self.window
            self.window = larger


class Hotel(Puppet):
    """Many clients of a server that limits them."""

    def __init__(self, **limits: int) -> None:
        windows = {"connection_window": LARGEST, "stream_window": LARGEST, "initial_stream_window": FIRST}
        super().__init__(Rudp(**windows, initial_connection_window=FIRST))  # type: ignore[arg-type]
        self.server.limit_clients(ConnectionLimits(**limits), host_of)
        self._numbers = count(1)

    def next_number(self) -> int:
        return self._packet_number

    def visitor(self, host: str = A) -> Visitor:
        number = next(self._numbers)
        return Visitor(self, (host, 40_000 + number), number)

    def enter(self, host: str = A) -> Visitor:
        """Say HELLO, prove the address if asked to, and use what the server calls itself."""
        visitor = self.visitor(host)
        asked = len(self.stateless)
        visitor.hello()
        if len(self.stateless) > asked:
            visitor.hello(decode_retry(self.stateless[-1], 1000 + visitor.number))
        visitor.say(PingFrame())
        return visitor

    def refusal(self, host: str = A) -> str:
        """What a further connection is told; empty if it is welcome."""
        heard = self.visitor(host).hello()
        closes = [frame for frame in heard if isinstance(frame, ConnectionCloseFrame)]
        assert all(frame.error_code == ErrorCode.CONNECTION_REFUSED for frame in closes)
        return "".join(frame.reason for frame in closes)


def test_one_client_has_so_many_connections_and_others_theirs() -> None:
    hotel = Hotel(connections_per_client=3)
    for _ in range(3):
        hotel.enter()
    assert hotel.refusal() == "too many connections from your address"
    assert hotel.server.connection_count == 3
    assert hotel.refusal(B) == ""


def test_all_clients_together_have_so_many() -> None:
    hotel = Hotel(connections=4, connections_per_client=3)
    for host in (A, A, A, B):
        hotel.enter(host)
    assert hotel.refusal("192.0.2.3") == "too many connections"
    assert hotel.server.connection_count == 4


def test_who_leaves_makes_room_for_the_next() -> None:
    hotel = Hotel(connections_per_client=2)
    first, _ = hotel.enter(), hotel.enter()
    assert hotel.refusal()
    first.leave()
    assert not hotel.refusal()


def test_so_does_who_falls_silent() -> None:
    hotel = Hotel(connections=2)
    hotel.enter()
    hotel.enter()
    assert hotel.refusal(B)
    hotel.wait(40 * SECOND)
    assert hotel.server.connection_count == 0
    assert not hotel.refusal(B)


def test_so_does_who_breaks_a_rule() -> None:
    hotel = Hotel(connections_per_client=1)
    hotel.enter().say(StreamFrame(1, 0, b"a stream of the server's", False))
    assert hotel.refusal()
    hotel.wait(5 * SECOND)
    assert not hotel.refusal()


def test_refusals_keep_nothing_and_are_smaller_than_what_they_answer() -> None:
    hotel = Hotel(connections_per_client=1)
    hotel.enter()
    tracemalloc.start()
    try:
        before = ours()
        for _ in range(500):
            assert hotel.refusal()
            assert len(encode_packet(hotel.packets[-1])) < 100
            hotel.packets.clear()
        assert ours() - before < 4 * KIB
    finally:
        tracemalloc.stop()
    assert hotel.server.connection_count == 1


def test_a_refused_client_may_say_goodbye_to_nobody() -> None:
    hotel = Hotel(connections_per_client=1)
    hotel.enter()
    late = hotel.visitor()
    late.hello()
    assert late.say(ConnectionCloseFrame(0, "", False)) == []
    assert hotel.server.connection_count == 1


def test_a_stranger_that_wears_a_clients_address_does_not_lock_it_out() -> None:
    """Half-open connections fill the limit: then the next one has to prove its address, and is let in."""
    hotel = Hotel(connections_per_client=3)
    for _ in range(3):
        hotel.visitor().hello()
    asked = len(hotel.stateless)
    hotel.enter()
    assert len(hotel.stateless) == asked + 1
    assert hotel.server.connection_count == 4
    assert hotel.visitor(B).hello(), "and from other addresses nothing is asked"
    assert len(hotel.stateless) == asked + 1


def test_with_addresses_worn_and_own_ones_a_client_has_twice_its_limit_at_most() -> None:
    hotel = Hotel(connections_per_client=5)
    half_open = [hotel.visitor() for _ in range(5)]
    for visitor in half_open:
        visitor.hello()
    own = [hotel.enter() for _ in range(5)]
    for visitor in half_open:
        visitor.say(PingFrame())
    for _ in range(20):
        assert hotel.refusal()
    assert hotel.server.connection_count == 10
    own[0].leave()
    assert hotel.refusal()


def window_of(hotel: Hotel, host: str = A) -> int:
    return hotel.enter(host).window


def test_first_windows_are_small_where_the_clients_share_is_used_up() -> None:
    hotel = Hotel(window_octets_per_client=4 * FIRST)
    windows = [window_of(hotel) for _ in range(10)]
    assert windows[0] == FIRST
    assert windows[-1] == LEAST_WINDOW
    assert sum(windows) <= 4 * FIRST + 10 * LEAST_WINDOW
    assert window_of(hotel, B) == FIRST


def test_windows_of_all_together_are_what_was_said_first_ones_and_grown_ones() -> None:
    octets = 40 * FIRST
    hotel = Hotel(window_octets=octets, window_octets_per_client=15 * FIRST, connections=100)
    total = sum(hotel.enter(f"192.0.2.{number % 9}").grow() for number in range(100))
    assert octets / 2 < total <= octets
    assert not hotel.close_codes


def test_what_one_client_has_taken_is_not_missing_elsewhere() -> None:
    hotel = Hotel(window_octets=40 * FIRST, window_octets_per_client=10 * FIRST, connections=100)
    greedy = [hotel.enter() for _ in range(20)]
    assert sum(visitor.grow() for visitor in greedy) <= 10 * FIRST + 20 * LEAST_WINDOW
    honest = hotel.enter(B)
    assert honest.window == FIRST
    assert honest.grow() >= 4 * FIRST


def test_windows_are_given_back() -> None:
    hotel = Hotel(window_octets_per_client=4 * FIRST)
    for _ in range(5):
        greedy = [hotel.enter() for _ in range(8)]
        assert sum(visitor.grow() for visitor in greedy) > 3 * FIRST
        hotel.wait(40 * SECOND)
        assert hotel.server.connection_count == 0


def test_a_small_window_is_obeyed() -> None:
    hotel = Hotel(window_octets_per_client=1)
    visitor = hotel.enter()
    assert visitor.window == LEAST_WINDOW
    visitor.say(StreamFrame(0, LEAST_WINDOW, b"x", False))
    assert hotel.close_codes == [ErrorCode.FLOW_CONTROL_ERROR]


def test_more_connections_than_there_is_memory_for_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match="2000 connections need"):
        Hotel(window_octets=1 << 20)


def limited_pair(**limits: int) -> Pair:
    pair = make_pair()
    assert isinstance(pair.server.endpoint, Endpoint)
    pair.server.endpoint.limit_clients(ConnectionLimits(**limits), host_of)
    return pair


def test_a_client_of_ours_hears_why_and_comes_again() -> None:
    pair = limited_pair(connections_per_client=1)
    first = pair.connect()
    pair.run_for("1s")
    pair.connect()
    pair.run_for("1s")
    assert pair.client.told(Closed) == [
        Closed("peer", ErrorCode.CONNECTION_REFUSED, "too many connections from your address")
    ]
    first.close(pair.now)
    pair.run_for("2s")
    assert connections_of(pair.client) == connections_of(pair.server) == 0
    pair.connect()
    pair.run_for("1s")
    assert connections_of(pair.server) == 1


def test_everything_arrives_through_a_small_window() -> None:
    pair = limited_pair(window_octets_per_client=1)
    transport = pair.connect()
    transport.send(transport.open_stream(), bytes(range(256)) * 4000, fin=True)
    pair.run_until_idle()
    assert pair.server_received == bytes(range(256)) * 4000


def test_early_words_are_heard_once_where_the_window_is_smaller_than_the_ticket_promised() -> None:
    pair = limited_pair(window_octets_per_client=FIRST)
    pair.connect()
    pair.run_until_idle()
    dialogues = Dialogues(pair)
    pair.connect()  # has the room
    pair.run_for("1s")
    transport = dialogues.call()
    assert dialogues.run_until_heard(transport) == 80
    pair.run_for("1s")
    assert dialogues.last_obeyed == EHLO
