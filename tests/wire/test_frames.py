"""Each frame alone: what is refused and why. That every frame survives the wire is in test_packet.py."""

import pytest
from hypothesis import given

from rudp_smtp.errors import ErrorCode, PacketDecodeError
from rudp_smtp.units import MICROSECOND, MILLISECOND
from rudp_smtp.wire.ack_frame import MAX_ACK_RANGES
from rudp_smtp.wire.frames import (
    MAX_REASON_SIZE,
    AckFrame,
    ConnectionCloseFrame,
    Frame,
    HelloFrame,
    MaxStreamsFrame,
    PaddingFrame,
    PingFrame,
    StreamFrame,
    decode_frames,
    is_ack_eliciting,
    stream_frame_overhead,
)
from rudp_smtp.wire.hello import MAX_PARAMETERS
from rudp_smtp.wire.varint import VARINT_MAX, encode_varint
from tests.wire.strategies import frames, stream_frames


def refusal(octets: bytes | str) -> PacketDecodeError:
    data = bytes.fromhex(octets) if isinstance(octets, str) else octets
    with pytest.raises(PacketDecodeError) as refused:
        decode_frames(data, 0)
    assert refused.value.trigger == "frame_encoding_error"
    return refused.value


@given(frames)
def test_a_frame_delimits_itself(frame: Frame) -> None:
    assert decode_frames(b"\x01" + frame.encode() + b"\x01", 1) == [frame, PingFrame()]


@given(stream_frames)
def test_stream_overhead_is_what_encoding_adds(frame: StreamFrame) -> None:
    for has_length in (False, True):
        added = len(frame.encode(has_length)) - len(frame.data)
        assert added == stream_frame_overhead(frame.offset, has_length)
        assert frame.encode(has_length) == frame.encode_header(has_length) + frame.data


@given(stream_frames)
def test_a_stream_frame_without_length_runs_to_the_end(frame: StreamFrame) -> None:
    assert decode_frames(frame.encode(has_length=False), 0) == [frame]


@given(frames)
def test_all_frames_but_three_ask_for_an_acknowledgement(frame: Frame) -> None:
    silent = (AckFrame, PaddingFrame, ConnectionCloseFrame)
    assert is_ack_eliciting([frame]) == (type(frame) not in silent)
    assert is_ack_eliciting([AckFrame([(0, 1)], 0), PaddingFrame(1), frame]) == (type(frame) not in silent)
    assert is_ack_eliciting([frame, PingFrame()])


def test_the_common_stream_header_takes_nine_octets() -> None:
    assert stream_frame_overhead(2**32 - 1, has_length=False) == 9
    assert stream_frame_overhead(2**32 - 1, has_length=True) == 11
    assert stream_frame_overhead(2**32, has_length=False) == 13
    assert stream_frame_overhead(2**32, has_length=True) == 15


@pytest.mark.parametrize("code", [0x03, 0x07, 0x13, 0x17, 0x1B, 0x1E, 0x20, 0x40, 0xFF])
def test_an_unknown_frame_type_is_refused(code: int) -> None:
    assert refusal(bytes([code])).error_code == ErrorCode.FRAME_ENCODING_ERROR


@pytest.mark.parametrize("flags", range(8))
def test_a_stream_header_that_is_cut_is_refused(flags: int) -> None:
    size = 9 + (4 if flags & 4 else 0) + (2 if flags & 2 else 0)
    whole = bytes([0x08 | flags]) + bytes(size - 1)
    assert decode_frames(whole, 0) == [StreamFrame(0, 0, b"", bool(flags & 1))]
    for cut in range(1, size):
        refusal(whole[:cut])


def test_stream_data_may_not_run_past_the_end() -> None:
    refusal("0a 00000004 00000000 0004 616263")


def test_stream_data_may_reach_the_last_offset_and_no_further() -> None:
    last = StreamFrame(4, VARINT_MAX - 3, b"end", is_fin=True)
    assert decode_frames(last.encode(), 0) == [last]
    refusal("0c 00000004 3ffffffffffffffd 656e64")
    refusal("0c 00000004 ffffffffffffffff")


def test_a_run_of_zeros_is_one_padding_frame() -> None:
    assert decode_frames(bytes(1000) + b"\x01" + bytes(3), 0) == [PaddingFrame(1000), PingFrame(), PaddingFrame(3)]


def test_ack_ranges_are_half_open_and_descend_with_gaps() -> None:
    frame = AckFrame([(90, 101), (70, 89), (0, 1)], ack_delay=25 * MICROSECOND)
    # largest 100, delay, 2 further, 11 packets; gap of 1 packet (0), 19 packets; gap of 69 (68), 1 packet
    assert frame.encode() == bytes.fromhex("02 4064 19 02 0a 00 12 4044 00")
    assert decode_frames(frame.encode(), 0) == [frame]


def test_an_ack_delay_is_rounded_down_so_that_it_is_never_overstated() -> None:
    assert decode_frames(AckFrame([(0, 1)], 1_999).encode(), 0) == [AckFrame([(0, 1)], 1_000)]


@pytest.mark.parametrize(
    "octets",
    [
        "02 05 00 00 06",  # 7 packets that end at number 5
        "02 05 00 01 00 04 00",  # the gap alone passes 0
        "02 05 00 01 00 03 01",  # the second range passes 0 by one
        "02 05 00 02 00 00 00 00",  # two ranges promised, one there
        "02 05 00 01 00",
        "02 ffffffffffffffff 00 ffffffffffffffff 00",  # 2**62 - 1 ranges promised
    ],
)
def test_an_ack_below_number_zero_or_longer_than_the_packet_is_refused(octets: str) -> None:
    refusal(octets)


def test_ack_ranges_are_counted_against_a_limit() -> None:
    most = AckFrame([(2 * i, 2 * i + 1) for i in reversed(range(MAX_ACK_RANGES))], 0)
    assert decode_frames(most.encode(), 0) == [most]
    one_more = b"\x02" + encode_varint(2 * MAX_ACK_RANGES) + b"\x00" + encode_varint(MAX_ACK_RANGES) + b"\x00"
    refusal(one_more + bytes(2 * MAX_ACK_RANGES))
    with pytest.raises(AssertionError):
        AckFrame([(2 * i, 2 * i + 1) for i in reversed(range(MAX_ACK_RANGES + 1))], 0).encode()


def test_adjacent_ack_ranges_are_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        AckFrame([(5, 6), (3, 5)], 0).encode()


@pytest.mark.parametrize("octets", ["04 c000000100000000 00 00", "05 c000000100000000 00", "11 c000000100000000 00"])
def test_a_stream_id_wider_than_a_stream_frame_carries_is_refused(octets: str) -> None:
    refusal(octets)


@pytest.mark.parametrize("octets", ["12 c000000040000001", "16 c000000040000001"])
def test_more_streams_than_there_are_ids_are_refused(octets: str) -> None:
    assert decode_frames(bytes.fromhex("12 c000000040000000"), 0) == [MaxStreamsFrame(1 << 30)]
    refusal(octets)


def test_a_hello_without_parameters_means_the_defaults_of_the_rfc() -> None:
    assert decode_frames(bytes.fromhex("06 00"), 0) == [HelloFrame()]


def test_unknown_hello_parameters_are_skipped_whatever_they_hold() -> None:
    assert decode_frames(bytes.fromhex("06 0a 7f00 03 ffffff 04 02 4400"), 0) == [HelloFrame(initial_max_data=1024)]


@pytest.mark.parametrize(
    "octets",
    [
        "06 06 04 01 05 04 01 05",  # initial_max_data twice
        "06 08 7f00 01 00 7f00 01 00",  # an unknown one twice
        "06 04 04 02 05 00",  # a value shorter than its length
        "06 0a 08 08 c000000040000001",  # more streams than there are IDs
        "06 04 03 02 44af",  # datagrams of 1199 octets
        "06 06 0b 04 80fa0000",  # an ACK delay of 2**14 ms
    ],
)
def test_a_wrong_hello_parameter_is_named_as_such(octets: str) -> None:
    assert refusal(octets).error_code == ErrorCode.TRANSPORT_PARAMETER_ERROR


@pytest.mark.parametrize("octets", ["06", "06 04 04 02 40", "06 02 04 02", "06 03 04 02 40", "06 02 04 00"])
def test_a_cut_hello_is_refused(octets: str) -> None:
    refusal(octets)


def test_hello_parameters_are_counted_against_a_limit() -> None:
    triples = [encode_varint(0x1000 + i) + b"\x00" for i in range(MAX_PARAMETERS + 1)]
    most = b"".join(triples[:MAX_PARAMETERS])
    assert decode_frames(b"\x06" + encode_varint(len(most)) + most, 0) == [HelloFrame()]
    more = b"".join(triples)
    refusal(b"\x06" + encode_varint(len(more)) + more)


def test_hello_times_are_rounded_up_so_that_short_never_becomes_none() -> None:
    (hello,) = decode_frames(HelloFrame(max_idle_timeout=1, max_ack_delay=1).encode(), 0)
    assert hello == HelloFrame(max_idle_timeout=MILLISECOND, max_ack_delay=MICROSECOND)


def test_a_long_reason_is_cut_between_characters() -> None:
    (close,) = decode_frames(ConnectionCloseFrame(0, "ü" * 200 + "x", is_application=False).encode(), 0)
    assert close == ConnectionCloseFrame(0, "ü" * (MAX_REASON_SIZE // 2), is_application=False)


def test_a_reason_of_a_foreign_implementation_may_be_longer_or_no_utf8() -> None:
    (close,) = decode_frames(b"\x1d\x07\x43\xe8" + b"\xff" * 1000, 0)
    assert close == ConnectionCloseFrame(7, "\ufffd" * MAX_REASON_SIZE, is_application=True)
    refusal(b"\x1d\x07\x43\xe8" + b"x" * 999)


def test_a_reason_that_utf8_cannot_write_is_still_sent() -> None:
    (close,) = decode_frames(ConnectionCloseFrame(0, "bad \udc80", is_application=True).encode(), 0)
    assert close == ConnectionCloseFrame(0, "bad ?", is_application=True)
