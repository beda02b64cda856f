"""Skipped packet numbers: who acknowledges what he has not seen is found out (RFC 9000 s21.4)."""

from rudp_smtp.errors import ErrorCode
from rudp_smtp.registry import Spec
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.wire.frames import AckFrame, MaxDataFrame, MaxStreamDataFrame, StreamFrame
from rudp_smtp.wire.packet import decode_packet
from tests.helpers import connected_pair
from tests.transport.rudp.puppet import Puppet

UNPACED = Rudp(pacing=False, congestion=Spec("fixed", (("window", 4_000_000),)))


def numbers_sent(size: int = 4_000_000) -> tuple[list[int], int, int]:
    """The packet numbers of a transfer over a good path, packets lost, and the most ranges an ACK had."""
    pair = connected_pair(client=Rudp(), rate="100mbit")
    pair.client.send(bytes(size), fin=True)
    pair.run_until_idle()
    assert len(pair.server_received) == size
    frames = [frame for _, data in pair.reverse.sent for frame in decode_packet(data).frames]
    most = max(len(frame.ranges) for frame in frames if isinstance(frame, AckFrame))
    numbers = [decode_packet(data).packet_number for _, data in pair.forward.sent]
    return numbers, pair.client.transport.stats.packets_lost, most


def test_a_number_is_left_out_now_and_then_and_nothing_is_thought_lost_for_it() -> None:
    numbers, lost, most_ranges = numbers_sent()
    missing = set(range(max(numbers))) - set(numbers)
    assert 2 <= len(missing) <= 12
    assert lost == 0
    assert most_ranges <= 3


def test_gaps_that_never_fill_are_not_reported_for_ever() -> None:
    pair = connected_pair(client=Rudp(), rate="100mbit")
    pair.client.send(bytes(3_000_000))
    pair.run_until_idle()
    pair.client.send(b"x", fin=True)
    pair.run_until_idle()
    last = [frame for frame in decode_packet(pair.reverse.sent[-1][1]).frames if isinstance(frame, AckFrame)]
    assert len(last[0].ranges) == 1


def test_acknowledging_everything_whether_or_not_it_came_ends_the_connection() -> None:
    puppet = Puppet(UNPACED).connect(StreamFrame(0, 0, b"", False))
    puppet.say(MaxDataFrame(1 << 24), MaxStreamDataFrame(0, 1 << 24))
    puppet.transport.send(0, bytes(8_000_000))
    for _ in range(40):
        puppet.say()
        largest = max(packet.packet_number for packet in puppet.packets)
        puppet.say(AckFrame([(0, largest + 1)], 0))
        if puppet.close_codes:
            break
    assert set(puppet.close_codes) == {ErrorCode.PROTOCOL_VIOLATION}


def test_acknowledging_only_what_came_is_welcome_whatever_was_skipped() -> None:
    puppet = Puppet(UNPACED).connect(StreamFrame(0, 0, b"", False))
    puppet.say(MaxDataFrame(1 << 24), MaxStreamDataFrame(0, 1 << 24))
    puppet.transport.send(0, bytes(8_000_000))
    for _ in range(40):
        puppet.say()
        numbers = sorted({packet.packet_number for packet in puppet.packets})
        ranges: list[tuple[int, int]] = []
        for number in numbers:
            if ranges and ranges[-1][1] == number:
                ranges[-1] = (ranges[-1][0], number + 1)
            else:
                ranges.append((number, number + 1))
        puppet.say(AckFrame(ranges[::-1][:200], 0))
    assert not puppet.close_codes
    assert len(ranges) > 1
