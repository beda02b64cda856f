"""What a peer may say, or an old datagram, that a textbook's peer never would."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import ErrorCode
from rudp_smtp.registry import Spec
from rudp_smtp.transport import Closed, Established, StreamData
from rudp_smtp.transport.arq.endpoint import HALF_OPEN_MAX, ArqEndpoint
from rudp_smtp.transport.arq.frame import (
    ACK,
    DATA,
    RESET,
    SYN,
    SYN_ACK,
    decode_frame,
    encode_frame,
)
from rudp_smtp.transport.arq.go_back_n import GoBackN
from rudp_smtp.transport.arq.selective_repeat import SelectiveRepeat
from rudp_smtp.transport.arq.stop_and_wait import StopAndWait
from rudp_smtp.units import MILLISECOND, SECOND
from tests.helpers import Pair, connected_pair, make_pair

Transport = StopAndWait | GoBackN | SelectiveRepeat

FAST = Spec("fixed", (("interval", 60 * MILLISECOND),))
TRANSPORT_KINDS: list[Transport] = [
    StopAndWait(timer=FAST),
    GoBackN(timer=FAST),
    SelectiveRepeat(timer=FAST, sequence_bits=8),
]
transports = pytest.mark.parametrize("transport", TRANSPORT_KINDS, ids=lambda transport: transport.name)


def connection_id(pair: Pair) -> int:
    return decode_frame(pair.forward.sent[0][1])[1]


@transports
def test_late_copies_of_a_whole_connection_do_not_happen_again(transport: Transport) -> None:
    pair = connected_pair(client=transport)
    pair.client.send(b"pay the bill", fin=True)
    pair.client.transport.close(pair.now)
    pair.run_for("100s")
    assert pair.server.closed == Closed("peer", 0, "")
    told = len(pair.server.events)
    for _, datagram in list(pair.forward.sent):
        pair.inject(pair.server, datagram, "client")
    pair.run_for("100s")
    assert len(pair.server.events) == told


@transports
@pytest.mark.parametrize("kind", [DATA, ACK])
def test_a_number_wider_than_was_agreed_on_ends_the_connection(transport: Transport, kind: int) -> None:
    pair = connected_pair(client=transport)
    wide = transport.mask + 1
    pair.inject(pair.server, encode_frame(kind, connection_id(pair), wide, wide, b"\0\0\0\0\0?"), "client")
    pair.run_until_idle()
    assert pair.server.closed is not None
    assert (pair.server.closed.cause, pair.server.closed.error_code) == (
        "protocol_error",
        ErrorCode.FRAME_ENCODING_ERROR,
    )
    assert pair.client.closed is not None
    assert pair.client.closed.cause == "peer"


@transports
def test_nobody_can_answer_what_was_not_said_yet(transport: Transport) -> None:
    """A driver hands over a SYN and data that came with it, before the SYN_ACK could leave."""
    pair = make_pair(client=transport)
    pair.run_for("500s")
    for datagram in (
        encode_frame(SYN, 9, transport.sequence_bits, transport.window_frames, transport.name.encode()),
        encode_frame(DATA, 9, 0, transport.mask, b"\0\0\0\0\0?"),
    ):
        pair.server.endpoint.receive_datagram(datagram, "client", pair.now)
    pair.run_for("50ms")
    assert not pair.server.told(Established)
    assert pair.server.endpoint.total_stats().smoothed_rtt == 0
    pair.inject(pair.server, encode_frame(DATA, 9, 0, transport.mask, b"\0\0\0\0\0?"), "client")
    assert pair.server.told(StreamData)
    assert pair.server.endpoint.total_stats().smoothed_rtt == 50 * MILLISECOND


def test_a_goodbye_that_overtook_data_is_not_the_end_of_it() -> None:
    """CLOSE is acknowledged, a frame before it never arrives, and then nobody answers any more."""
    pair = connected_pair(client=SelectiveRepeat(timer=FAST))
    pair.forward.loses = lambda index, size, ecn: size > 1000
    pair.client.send(bytes(1400))
    pair.client.transport.close(pair.now)
    pair.run_for("1s")
    pair.cut()
    pair.run_for("60s")
    assert pair.client.endpoint.total_stats().packets_acked == 1
    assert pair.client.closed == Closed("idle_timeout", 0, "")


def test_a_goodbye_that_nobody_acknowledges_is_one_all_the_same() -> None:
    pair = connected_pair(client=SelectiveRepeat(timer=FAST))
    pair.client.send(bytes(1400), fin=True)
    pair.run_until_idle()
    pair.cut()
    pair.client.transport.close(pair.now)
    pair.run_for("60s")
    assert pair.client.closed == Closed("local", 0, "")


def test_a_copy_of_the_syn_ack_takes_no_acknowledgement_back() -> None:
    """With the largest window an acknowledgement that is one number old acknowledges nearly the whole of the next."""
    pair = connected_pair(client=GoBackN(timer=FAST, sequence_bits=3, window=7))
    syn_ack = pair.reverse.sent[0][1]
    stream = b"\0\0\0\0\1"
    before = pair.forward.count
    for datagram in (
        encode_frame(DATA, connection_id(pair), 0, 7, stream),
        encode_frame(DATA, connection_id(pair), 1, 7, stream),
        syn_ack,
    ):
        pair.client.endpoint.receive_datagram(datagram, "server", pair.now)
    pair.run_for("1ms")
    said = [decode_frame(datagram)[3] for _, datagram in pair.forward.sent[before:]]
    assert said == [0, 1]


@transports
def test_a_long_reason_is_cut_and_still_fits_a_datagram(transport: Transport) -> None:
    pair = connected_pair(client=transport)
    pair.client.transport.reset(3, "é" * 100_000, pair.now)
    pair.run_until_idle()
    assert len(pair.forward.sent[-1][1]) < 400
    assert pair.server.closed == Closed("peer", 3, "é" * 128)
    shouted = connected_pair(client=transport)
    loud = encode_frame(RESET, connection_id(shouted), 0, 0, bytes(8) + b"x" * 60_000)
    shouted.inject(shouted.server, loud, "client")
    assert shouted.server.closed == Closed("peer", 0, "x" * 256)


def test_half_open_connections_are_limited_and_make_room_when_they_open_or_end() -> None:
    pair = make_pair(client=StopAndWait(timer=FAST, max_idle_timeout=5 * SECOND))
    server = pair.server.endpoint
    assert isinstance(server, ArqEndpoint)

    def knock(numbers: range) -> None:
        for number in numbers:
            pair.inject(pair.server, encode_frame(SYN, number, 1, 1, b"stop_and_wait"), f"stranger {number}")

    knock(range(HALF_OPEN_MAX + 10))
    assert server.connection_count == HALF_OPEN_MAX
    assert server.total_stats().packets_dropped == 10
    for number in range(3):
        pair.inject(pair.server, encode_frame(ACK, number, 0, 1), f"stranger {number}")
    knock(range(1000, 1010))
    assert server.connection_count == HALF_OPEN_MAX + 3
    pair.run_for("20s")
    assert server.connection_count == 0
    assert len(pair.server.told(Closed)) == 3


@transports
@given(
    frames=st.lists(
        st.tuples(
            st.integers(SYN, RESET),
            st.integers(0, 0x1FF) | st.integers(0, 0xFFFF),
            st.integers(0, 0x1FF) | st.integers(0, 0xFFFF),
            st.binary(max_size=20) | st.builds(bytes, st.tuples(*[st.integers(0, 5)] * 5)),
        ),
        max_size=30,
    )
)
@settings(max_examples=60, deadline=None)
def test_sound_frames_that_make_no_sense_raise_nothing(
    transport: Transport, frames: list[tuple[int, int, int, bytes]]
) -> None:
    pair = connected_pair(client=transport)
    pair.client.send(bytes(3000))
    for kind, number, ack, payload in frames:
        for side, remote in ((pair.server, "client"), (pair.client, "server")):
            pair.inject(side, encode_frame(kind, connection_id(pair), number, ack, payload), remote)
    pair.run_for("100s")
    for side in (pair.server, pair.client):
        assert side.closed is not None
        assert len(side.told(Closed)) == 1
        assert side.endpoint.next_timeout() is None


@transports
def test_a_server_that_repeats_its_syn_ack_for_ever_changes_nothing(transport: Transport) -> None:
    pair = connected_pair(client=transport)
    before = pair.forward.count
    for _ in range(20):
        pair.inject(pair.client, encode_frame(SYN_ACK, connection_id(pair), 0, 0), "server")
    assert pair.forward.count == before + 20
    pair.client.send(b"hello")
    pair.run_until_idle()
    assert pair.server_received == b"hello"
    assert len(pair.client.told(Established)) == 1
