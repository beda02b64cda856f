"""Variable-length integers (RFC 9000 s16): the two high bits of the first octet say 1, 2, 4 or 8 octets."""

from struct import Struct
from struct import error as StructError  # noqa: N812 - `error` alone would say too little below

from rudp_smtp.errors import ErrorCode, PacketDecodeError

VARINT_MAX = (1 << 62) - 1
ONE_OCTET_LIMIT = 0x40  # what is below this is its own encoding

_U16 = Struct(">H")
_U32 = Struct(">I")
_U64 = Struct(">Q")
ONE_OCTET = tuple(bytes([value]) for value in range(ONE_OCTET_LIMIT))


def encode_varint(value: int) -> bytes:
    """The shortest form of 0 <= value <= VARINT_MAX."""
    assert 0 <= value <= VARINT_MAX
    if value < ONE_OCTET_LIMIT:
        return ONE_OCTET[value]
    if value < 0x4000:
        return _U16.pack(value | 0x4000)
    if value < 0x4000_0000:
        return _U32.pack(value | 0x8000_0000)
    return _U64.pack(value | 0xC000_0000_0000_0000)


def decode_varint(data: bytes, offset: int) -> tuple[int, int]:
    """The integer at `offset` and the offset after it. Longer forms than needed are accepted, as s16 allows."""
    try:
        first = data[offset]
        if first < ONE_OCTET_LIMIT:
            return first, offset + 1
        if first < 0x80:
            return (first & 0x3F) << 8 | data[offset + 1], offset + 2
        if first < 0xC0:
            return _U32.unpack_from(data, offset)[0] & 0x3FFF_FFFF, offset + 4
        return _U64.unpack_from(data, offset)[0] & VARINT_MAX, offset + 8
    except (IndexError, StructError):
        raise PacketDecodeError(
            f"integer at octet {offset} runs past the end",
            trigger="frame_encoding_error",
            error_code=ErrorCode.FRAME_ENCODING_ERROR,
        ) from None
