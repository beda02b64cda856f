import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import ErrorCode, PacketDecodeError
from rudp_smtp.units import MICROSECOND, MILLISECOND, SECOND
from rudp_smtp.wire.frames import (
    AckFrame,
    AckFrequencyFrame,
    ConnectionCloseFrame,
    DataBlockedFrame,
    Frame,
    HelloFrame,
    ImmediateAckFrame,
    MaxDataFrame,
    MaxStreamDataFrame,
    MaxStreamsFrame,
    PaddingFrame,
    PathChallengeFrame,
    PathResponseFrame,
    PingFrame,
    ResetStreamFrame,
    StopSendingFrame,
    StreamDataBlockedFrame,
    StreamFrame,
    StreamsBlockedFrame,
    TokenFrame,
)
from rudp_smtp.wire.packet import (
    INITIAL,
    INITIAL_HEADER_SIZE,
    MAX_DATAGRAM_SIZE,
    ONE_RTT,
    SHORT_HEADER_SIZE,
    TRAILER_SIZE,
    Packet,
    decode_packet,
    destination_connection_id,
    encode_initial_header,
    encode_packet,
    encode_short_header,
    encode_stream_packet,
    seal,
)
from rudp_smtp.wire.varint import VARINT_MAX
from tests.wire.strategies import connection_ids, frames, packets, stream_frames, varints

DESTINATION, SOURCE = 0x1122334455667788, 0x99AABBCCDDEEFF00

# The header's octets, as the figure in packet.py has them: type, version, destination ID, source ID, packet number.
LONG = "50 52554401 1122334455667788 99aabbccddeeff00 0000000000000007"
SHORT = "51 1122334455667788 0000000000000007"

# One packet per frame type: the frame, its octets as in packet.py's table, the check sum of header and frame.
GOLDEN_INITIAL: list[tuple[Frame, str, str]] = [
    # type, length 32, then ID, length, value: 30000 ms, 1500, 1 MiB, 256 KiB, 100, 20000 us
    (
        HelloFrame(
            max_idle_timeout=30 * SECOND,
            max_datagram_size=1500,
            initial_max_data=1 << 20,
            initial_max_stream_data=1 << 18,
            initial_max_streams=100,
            max_ack_delay=20 * MILLISECOND,
        ),
        "06 20  01 04 80007530  03 02 45dc  04 04 80100000  05 04 80040000  08 02 4064  0b 04 80004e20",
        "9424d8c1",
    ),
    # type, length, token
    (TokenFrame(b"\x01cookie"), "07 07 01636f6f6b6965", "a9789b91"),
    # type, error code, reason's length, reason
    (ConnectionCloseFrame(2, "busy", is_application=False), "1c 02 04 62757379", "705ce8de"),
]
GOLDEN_ONE_RTT: list[tuple[Frame, str, str]] = [
    (PaddingFrame(3), "00 00 00", "46034c3a"),
    (PingFrame(), "01", "50870fe8"),
    # type, largest 100, delay 50 us, 1 further range, 11 packets; then a gap of 2 (1 on the wire), 89 packets
    (AckFrame([(90, 101), (0, 88)], 50 * MICROSECOND), "02 4064 32 01 0a 01 4057", "88cb6236"),
    # type, stream ID, error code, final size
    (ResetStreamFrame(4, 99, 70_000), "04 04 4063 80011170", "169c455d"),
    (StopSendingFrame(4, 99), "05 04 4063", "005d127a"),
    # type and flags, stream ID, offset, [length,] data
    (StreamFrame(4, 65_536, b"DATA\r\n", is_fin=False), "08 00000004 00010000 444154410d0a", "e61b2838"),
    (StreamFrame(4, 65_536, b"QUIT\r\n", is_fin=True), "09 00000004 00010000 515549540d0a", "2105bf63"),
    (StreamFrame(4, 1 << 32, b"far", is_fin=False), "0c 00000004 0000000100000000 666172", "eb443351"),
    # type, [stream ID,] the maximum or the limit
    (MaxDataFrame(1 << 20), "10 80100000", "8a8505f7"),
    (MaxStreamDataFrame(4, 1 << 20), "11 04 80100000", "df0d8a14"),
    (MaxStreamsFrame(100), "12 4064", "e307d160"),
    (DataBlockedFrame(63), "14 3f", "fd50c9e1"),
    (StreamDataBlockedFrame(4, 64), "15 04 4040", "f2233497"),
    (StreamsBlockedFrame(100), "16 4064", "e40e79bc"),
    (ImmediateAckFrame(), "1f", "aa88328b"),
    (AckFrequencyFrame(1, 7, 10 * MILLISECOND, 3), "2f 01 07 6710 03", "db66d005"),
    # the same, and received with ECT(0), ECT(1), CE; then the paths' eight octets
    (AckFrame([(90, 101), (0, 88)], 50 * MICROSECOND, (98, 0, 2)), "03 4064 32 01 0a 01 4057 4062 00 02", "97e59d62"),
    (PathChallengeFrame(0x0102030405060708), "1a 0102030405060708", "8c84f1ff"),
    (PathResponseFrame(0x0102030405060708), "1b 0102030405060708", "9bffe5bc"),
    (ConnectionCloseFrame(0, "done", is_application=True), "1d 00 04 646f6e65", "b1206062"),
]

# A STREAM frame that other frames follow has the flag 0x02 and a length after its offset; here a PING follows.
GOLDEN_MIXED = "0a 00000004 00000000 0003 616263  01"


def golden_packets() -> list[tuple[Packet, bytes]]:
    rows = []
    for frame, octets, check in GOLDEN_INITIAL:
        rows.append((Packet(INITIAL, DESTINATION, 7, [frame], SOURCE), bytes.fromhex(LONG + octets + check)))
    for frame, octets, check in GOLDEN_ONE_RTT:
        rows.append((Packet(ONE_RTT, DESTINATION, 7, [frame]), bytes.fromhex(SHORT + octets + check)))
    return rows


def kind(packet: Packet) -> str:
    return f"{packet.kind:#04x}-{type(packet.frames[0]).__name__}"


GOLDEN = golden_packets()
golden = pytest.mark.parametrize(("packet", "datagram"), GOLDEN, ids=[kind(packet) for packet, _ in GOLDEN])


def with_check(body: bytes) -> bytes:
    """A datagram whose integrity check is right, so that the parsers see whatever the body is."""
    return body + zlib.crc32(body).to_bytes(4, "big")


def refusal(datagram: bytes) -> PacketDecodeError:
    with pytest.raises(PacketDecodeError) as refused:
        decode_packet(datagram)
    return refused.value


def decode_or_refuse(datagram: bytes) -> Packet | None:
    """What hostile octets may do: be a packet, or be refused with a known reason."""
    try:
        packet = decode_packet(datagram)
    except PacketDecodeError as error:
        trigger = error.trigger
    else:
        assert packet.frames
        return packet
    assert trigger in ("header_parse_error", "unsupported_version", "frame_encoding_error")
    return None


@golden
def test_a_packet_is_exactly_these_octets(packet: Packet, datagram: bytes) -> None:
    assert encode_packet(packet).hex(" ") == datagram.hex(" ")
    assert decode_packet(datagram) == packet


def test_every_frame_type_has_a_golden_packet() -> None:
    assert {type(packet.frames[0]) for packet, _ in GOLDEN} == set(Frame.__args__)


def test_a_stream_frame_before_others_carries_its_length() -> None:
    packet = Packet(ONE_RTT, DESTINATION, 7, [StreamFrame(4, 0, b"abc", is_fin=False), PingFrame()])
    assert encode_packet(packet) == with_check(bytes.fromhex(SHORT + GOLDEN_MIXED))


@given(packets)
def test_decoding_undoes_encoding(packet: Packet) -> None:
    assert decode_packet(encode_packet(packet)) == packet


@given(connection_ids, varints, st.lists(frames, max_size=2), stream_frames)
def test_the_fast_path_for_bulk_data_gives_the_same_octets(
    destination: int, packet_number: int, preceding: list[Frame], frame: StreamFrame
) -> None:
    encoded = b"".join([other.encode() for other in preceding])
    packet = Packet(ONE_RTT, destination, packet_number, [*preceding, frame])
    assert encode_stream_packet(destination, packet_number, encoded, frame) == encode_packet(packet)


@given(packets)
def test_the_peek_agrees_with_the_decoder(packet: Packet) -> None:
    assert destination_connection_id(encode_packet(packet)) == packet.destination_connection_id


@given(st.binary(max_size=60))
def test_the_peek_survives_any_octets(datagram: bytes) -> None:
    found = destination_connection_id(datagram)
    assert found is None or datagram[0] in (INITIAL, ONE_RTT)


def test_header_sizes_are_what_headers_take() -> None:
    assert len(encode_short_header(1, 2)) == SHORT_HEADER_SIZE
    assert len(encode_initial_header(1, 2, 3)) == INITIAL_HEADER_SIZE
    assert len(seal([b"abc", b"de"])) == 5 + TRAILER_SIZE


@golden
def test_every_truncation_is_refused(packet: Packet, datagram: bytes) -> None:
    for size in range(len(datagram)):
        refusal(datagram[:size])


@golden
def test_every_single_bit_error_is_seen_by_the_integrity_check(packet: Packet, datagram: bytes) -> None:
    for position in range(len(datagram) * 8):
        damaged = bytearray(datagram)
        damaged[position // 8] ^= 1 << position % 8
        assert refusal(bytes(damaged)).trigger == "integrity_check_failed"


@golden
def test_a_truncated_body_with_a_right_check_meets_the_parsers(packet: Packet, datagram: bytes) -> None:
    for size in range(len(datagram) - TRAILER_SIZE):
        assert decode_or_refuse(with_check(datagram[:size])) != packet


@golden
def test_a_damaged_body_with_a_right_check_is_refused_or_means_something_else(packet: Packet, datagram: bytes) -> None:
    for position in range((len(datagram) - TRAILER_SIZE) * 8):
        damaged = bytearray(datagram[:-TRAILER_SIZE])
        damaged[position // 8] ^= 1 << position % 8
        assert decode_or_refuse(with_check(bytes(damaged))) != packet


@settings(max_examples=500)
@given(st.sampled_from([LONG, SHORT]), st.binary(min_size=1, max_size=80))
def test_random_frames_are_decoded_or_refused(header: str, octets: bytes) -> None:
    packet = decode_or_refuse(with_check(bytes.fromhex(header) + octets))
    if packet is not None:
        assert decode_packet(encode_packet(packet)) == packet


@given(st.binary(max_size=80))
def test_random_octets_are_decoded_or_refused(body: bytes) -> None:
    decode_or_refuse(with_check(body))


@given(packets, st.data())
def test_a_packet_with_octets_replaced_is_decoded_or_refused(packet: Packet, data: st.DataObject) -> None:
    body = bytearray(encode_packet(packet)[:-TRAILER_SIZE])
    start = data.draw(st.integers(0, len(body) - 1))
    body[start : start + 9] = data.draw(st.binary(max_size=9))
    decode_or_refuse(with_check(bytes(body)))


@pytest.mark.parametrize("header", [LONG, SHORT])
def test_a_packet_without_frames_is_refused(header: str) -> None:
    assert refusal(with_check(bytes.fromhex(header))).trigger == "header_parse_error"


def test_another_version_is_named_as_the_reason() -> None:
    other = bytes.fromhex(LONG.replace("52554401", "52554402") + "01")
    assert refusal(with_check(other)).trigger == "unsupported_version"
    assert destination_connection_id(with_check(other)) == DESTINATION


@pytest.mark.parametrize("first", [0x00, 0x16, 0x40, 0x52, 0x5F, 0x80, 0xC0, 0xD0])
def test_an_unknown_type_is_refused(first: int) -> None:
    datagram = with_check(bytes([first]) + bytes.fromhex(LONG)[1:] + b"\x01")
    assert refusal(datagram).trigger == "header_parse_error"
    assert destination_connection_id(datagram) is None


@pytest.mark.parametrize("header", [LONG, SHORT])
def test_a_packet_number_no_acknowledgement_could_name_is_refused(header: str) -> None:
    most = bytes.fromhex(header)[:-8] + VARINT_MAX.to_bytes(8, "big") + b"\x01"
    assert decode_packet(with_check(most)).packet_number == VARINT_MAX
    over = bytes.fromhex(header)[:-8] + (VARINT_MAX + 1).to_bytes(8, "big") + b"\x01"
    assert refusal(with_check(over)).error_code == ErrorCode.PROTOCOL_VIOLATION


def test_the_largest_datagram_is_read_and_one_octet_more_is_not() -> None:
    room = MAX_DATAGRAM_SIZE - SHORT_HEADER_SIZE - TRAILER_SIZE
    largest = Packet(ONE_RTT, DESTINATION, 7, [PaddingFrame(room)])
    assert decode_packet(encode_packet(largest)) == largest
    assert refusal(with_check(bytes.fromhex(SHORT) + bytes(room + 1))).trigger == "header_parse_error"


def test_a_frame_error_tells_the_code_to_close_with() -> None:
    error = refusal(with_check(bytes.fromhex(SHORT + "ff")))
    assert (error.trigger, error.error_code) == ("frame_encoding_error", ErrorCode.FRAME_ENCODING_ERROR)
