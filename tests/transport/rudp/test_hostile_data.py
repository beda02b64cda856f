"""A peer that contradicts itself about octets, or takes more than it was given: told so, whatever the order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.transport import Closed, StreamData
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.transport.rudp.flow import ReceiveCredit
from rudp_smtp.transport.rudp.recv_stream import Pieces, RecvStream
from rudp_smtp.wire.frames import Frame, PingFrame, ResetStreamFrame, StreamFrame
from tests.transport.rudp.puppet import Puppet

TEXT = bytes(range(97, 123))
SMALL = Rudp(connection_window=100_000, stream_window=70_000, max_streams=3)


def piece(start: int, stop: int, *, is_fin: bool = False, spoil: int | None = None) -> StreamFrame:
    """Octets of TEXT on stream 0, one of them another than it should be."""
    octets = bytearray(TEXT[start:stop])
    if spoil is not None:
        octets[spoil - start] ^= 0x20
    return StreamFrame(0, start, bytes(octets), is_fin)


CONTRADICTIONS: dict[str, list[StreamFrame]] = {
    "all of a piece": [piece(5, 10), piece(5, 10, spoil=7)],
    "its first octet": [piece(5, 10), piece(2, 6, spoil=5)],
    "its last octet": [piece(5, 10), piece(9, 15, spoil=9)],
    "inside a larger piece": [piece(5, 20), piece(10, 12, spoil=11)],
    "around a smaller piece": [piece(10, 12), piece(5, 20, spoil=10)],
    "the second of two pieces": [piece(5, 8), piece(12, 15), piece(4, 18, spoil=13)],
    "by what is in order": [piece(5, 10), piece(0, 7, spoil=6)],
    "by what was partly delivered": [piece(0, 4), piece(6, 10), piece(2, 8, spoil=7)],
    "by what brings the end": [piece(20, 26), piece(20, 26, is_fin=True, spoil=25)],
    "behind the end": [piece(20, 26, is_fin=True), piece(18, 26, spoil=20)],
}


@pytest.mark.parametrize("frames", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
@pytest.mark.parametrize("is_one_packet", [True, False])
def test_other_octets_where_some_wait_are_a_violation(frames: list[Frame], is_one_packet: bool) -> None:
    puppet = Puppet().connect()
    for said in [frames] if is_one_packet else [[frame] for frame in frames]:
        puppet.say(*said)
    assert puppet.close_codes == [ErrorCode.PROTOCOL_VIOLATION]
    assert isinstance(puppet.events[-1], Closed)


def test_other_octets_where_all_is_delivered_change_nothing() -> None:
    """RFC 9000 section 2.2 allows to look no further: what the application has is no longer ours to compare."""
    puppet = Puppet().connect()
    puppet.say(piece(0, 10))
    puppet.say(piece(0, 10, spoil=3))
    puppet.say(piece(4, 26, is_fin=True, spoil=7))
    told = [event for event in puppet.events if isinstance(event, StreamData)]
    assert b"".join(event.data for event in told) == TEXT
    assert told[-1].is_fin
    assert not puppet.close_codes


pieces = st.tuples(st.integers(0, 25), st.integers(1, 12), st.none() | st.integers(0, 11))


@given(st.lists(pieces, max_size=12))
def test_what_is_delivered_is_what_was_said_first_and_every_contradiction_is_seen(
    said: list[tuple[int, int, int | None]],
) -> None:
    receiving = RecvStream(0, ReceiveCredit(1 << 16, 1 << 16), Pieces(ReceiveCredit(1 << 20, 1 << 20)))
    known: dict[int, int] = {}
    delivered = b""
    for start, size, spoil in said:
        octets = bytearray(TEXT[start : start + size])
        if spoil is not None:
            octets[spoil % len(octets)] ^= 0x20
        offsets = range(max(start, len(delivered)), start + len(octets))
        if any(known.get(at, octets[at - start]) != octets[at - start] for at in offsets):
            with pytest.raises(RemoteProtocolError) as caught:
                receiving.on_data(start, bytes(octets), False)
            assert caught.value.error_code == ErrorCode.PROTOCOL_VIOLATION
            return
        known |= {at: octets[at - start] for at in offsets}
        delivered += receiving.on_data(start, bytes(octets), False) or b""
        assert delivered == bytes(known[at] for at in range(len(delivered)))
        assert len(delivered) not in known


def test_credit_is_counted_once_for_octets_that_come_twice_and_to_the_last_octet() -> None:
    puppet = Puppet(SMALL).connect()
    puppet.say(StreamFrame(0, 69_000, bytes(1000), False))
    puppet.say(StreamFrame(0, 69_000, bytes(1000), False), StreamFrame(0, 68_500, bytes(1000), False))
    puppet.say(StreamFrame(4, 29_999, b"x", True))
    assert not puppet.close_codes
    puppet.say(StreamFrame(8, 0, b"x", False))
    assert puppet.close_codes == [ErrorCode.FLOW_CONTROL_ERROR]


def test_a_reset_charges_what_it_says_was_sent() -> None:
    puppet = Puppet(SMALL).connect()
    puppet.say(StreamFrame(0, 0, bytes(1000), False))
    puppet.say(ResetStreamFrame(0, 0, 69_000))
    assert not puppet.close_codes
    puppet.say(ResetStreamFrame(0, 0, 69_001))
    assert puppet.close_codes == [ErrorCode.FINAL_SIZE_ERROR]


@pytest.mark.parametrize(
    "frames",
    [
        [StreamFrame(0, 9, b"", True), StreamFrame(0, 9, b"x", False)],
        [StreamFrame(0, 9, b"", True), StreamFrame(0, 8, b"", True)],
        [StreamFrame(0, 9, b"", True), ResetStreamFrame(0, 1, 8)],
        [StreamFrame(0, 9, b"", True), ResetStreamFrame(0, 1, 10)],
        [ResetStreamFrame(0, 1, 9), StreamFrame(0, 5, b"", True)],
        [ResetStreamFrame(0, 1, 9), StreamFrame(0, 9, b"x", False)],
        [ResetStreamFrame(0, 1, 9), ResetStreamFrame(0, 1, 10)],
        [StreamFrame(0, 0, bytes(10), True), ResetStreamFrame(0, 1, 9)],
        [StreamFrame(0, 0, bytes(10), True), StreamFrame(0, 9, b"xx", False)],
        [StreamFrame(0, 3, b"x", False), StreamFrame(0, 3, b"", True)],
    ],
)
def test_a_final_size_does_not_change_and_nothing_lies_beyond(frames: list[Frame]) -> None:
    puppet = Puppet().connect()
    for frame in frames:
        puppet.say(frame)
    assert puppet.close_codes == [ErrorCode.FINAL_SIZE_ERROR]


def test_after_a_violation_nothing_more_reaches_the_application() -> None:
    puppet = Puppet().connect()
    puppet.say(StreamFrame(0, 1, b"a", False), StreamFrame(0, 1, b"b", False), StreamFrame(4, 0, b"later", False))
    puppet.say(StreamFrame(4, 0, b"later", False), PingFrame())
    assert not any(isinstance(event, StreamData) for event in puppet.events)
    assert sum(isinstance(event, Closed) for event in puppet.events) == 1
