"""Peers that leave holes: their windows grow for the repair, but those of all peers together only so far."""

from itertools import count

import pytest

from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.transport.rudp.endpoint import FULL_WINDOWS
from rudp_smtp.units import SECOND
from rudp_smtp.wire.frames import (
    ConnectionCloseFrame,
    DataBlockedFrame,
    Frame,
    MaxDataFrame,
    MaxStreamDataFrame,
    PaddingFrame,
    StreamDataBlockedFrame,
    StreamFrame,
)
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet, encode_packet
from tests.transport.rudp.puppet import Puppet

FIRST, LARGEST = 100_000, 1_600_000  # of a connection; four doublings
TRANSPORT = Rudp(
    connection_window=LARGEST,
    stream_window=LARGEST,
    initial_connection_window=FIRST,
    initial_stream_window=FIRST,
    retry="never",
)
PEERS = 3 * FULL_WINDOWS


class Crowd(Puppet):
    """Many clients of one server."""

    def __init__(self) -> None:
        super().__init__(TRANSPORT)
        self._numbers = count(1)
        self.server_ids: list[int] = []

    def join(self) -> int:
        """One more of them; its connection's window once it has said, as often as it helps, that it is held back."""
        number = next(self._numbers)
        first = Packet(INITIAL, 1000 + number, self._packet_number, [self.hello], 5000 + number)
        first.frames.append(PaddingFrame(1200 - len(encode_packet(first))))
        self.deliver(encode_packet(first), f"client{number}")
        self.server_id = self.packets[-1].source_connection_id
        self.server_ids.append(self.server_id)
        self._speak(number, PaddingFrame(1), StreamFrame(0, 1, b"behind a hole", False))
        window = stream = FIRST
        while True:
            heard = self._speak(number, DataBlockedFrame(window), StreamDataBlockedFrame(0, stream))
            larger = [frame.maximum for frame in heard if isinstance(frame, MaxDataFrame)]
            stream = max([stream, *(frame.maximum for frame in heard if isinstance(frame, MaxStreamDataFrame))])
            if not larger or larger[-1] <= window:
                return window
            window = larger[-1]

    def leave(self, number: int) -> None:
        self.server_id = self.server_ids[number - 1]
        self._speak(number, ConnectionCloseFrame(0, "", True))
        self.wait(10 * SECOND)

    def _speak(self, number: int, *frames: Frame) -> list[Frame]:
        packet = Packet(ONE_RTT, self.server_id, self._packet_number, list(frames))
        return self.deliver(encode_packet(packet), f"client{number}")


def test_one_peer_has_the_whole_window() -> None:
    assert Crowd().join() == LARGEST


def test_all_peers_together_have_a_few_windows_and_their_first_ones() -> None:
    crowd = Crowd()
    windows = [crowd.join() for _ in range(PEERS)]
    assert sum(windows) <= FULL_WINDOWS * LARGEST + PEERS * FIRST
    assert windows[0] == LARGEST
    assert windows[-1] == pytest.approx(FIRST)
    assert not crowd.close_codes


def test_a_peer_that_has_left_leaves_its_room_to_others() -> None:
    crowd = Crowd()
    for _ in range(PEERS):
        crowd.join()
    crowd.leave(1)
    assert crowd.join() == LARGEST
