"""What frames are made of besides plain integers: stream IDs and counts, counted octets; and how a frame is refused."""

from rudp_smtp.errors import ErrorCode, PacketDecodeError
from rudp_smtp.wire.varint import decode_varint, encode_varint

MAX_STREAM_ID = (1 << 32) - 1
MAX_STREAM_COUNT = 1 << 30  # RFC 9000 s4.6 with our 32-bit IDs: their two low bits tell who opened what (s2.1)


def refusal(problem: str, error_code: ErrorCode = ErrorCode.FRAME_ENCODING_ERROR) -> PacketDecodeError:
    return PacketDecodeError(problem, trigger="frame_encoding_error", error_code=error_code)


def encode_integers(frame_type: int, *values: int) -> bytes:
    return encode_varint(frame_type) + b"".join(map(encode_varint, values))


def decode_stream_id(data: bytes, offset: int) -> tuple[int, int]:
    stream_id, offset = decode_varint(data, offset)
    if stream_id > MAX_STREAM_ID:
        raise refusal(f"stream ID {stream_id} does not fit 32 bits")
    return stream_id, offset


def decode_stream_count(data: bytes, offset: int) -> tuple[int, int]:
    count, offset = decode_varint(data, offset)
    if count > MAX_STREAM_COUNT:
        raise refusal(f"{count} streams are more than there are IDs")
    return count, offset


def decode_octets(data: bytes, offset: int) -> tuple[bytes, int]:
    """Octets preceded by their number."""
    size, offset = decode_varint(data, offset)
    end = offset + size
    if end > len(data):
        raise refusal(f"a length of {size} runs past the end")
    return data[offset:end], end
