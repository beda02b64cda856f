"""The frame all three protocols send, one to a datagram.

    +------+---------------+--------+-----+------------------+--------+
    | kind | connection ID | number | ack | payload  ...     | CRC-32 |
    |  1   |       8       |   2    |  2  |                  |   4    |
    +------+---------------+--------+-----+------------------+--------+

    0x60  SYN      the client asks; number: sequence bits, ack: window, payload: the protocol's name
    0x61  SYN_ACK  the server agrees
    0x62  DATA     number of this frame, and an acknowledgement that rides along; payload: a segment
    0x63  ACK      an acknowledgement alone
    0x64  RESET    the connection is over; payload: error code 8, reason

Numbers of DATA and ACK have as many bits as SYN said; a wider one ends the connection. What `ack` acknowledges is the
protocol's affair. Before a host has received anything it says the number before the first, 2**bits - 1, which names no
frame that can be outstanding. Integers are big-endian; the CRC is zlib's (ISO 3309).
"""

from struct import Struct
from typing import Final
from zlib import crc32

from rudp_smtp.errors import PacketDecodeError

SYN: Final = 0x60
SYN_ACK: Final = 0x61
DATA: Final = 0x62
ACK: Final = 0x63
RESET: Final = 0x64

SEQUENCE_BITS_MAX = 16
REASON_SIZE_MAX = 256  # octets of UTF-8; what is longer is cut, on either side
TRAILER_SIZE = 4
_HEADER = Struct(">BQHH")
_CRC = Struct(">I")
_MINIMUM_SIZE = _HEADER.size + TRAILER_SIZE
OVERHEAD = _MINIMUM_SIZE  # octets of a frame that are not payload

Frame = tuple[int, int, int, int, bytes]  # kind, connection ID, number, ack, payload


def encode_frame(kind: int, connection_id: int, number: int, ack: int, payload: bytes = b"") -> bytes:
    body = _HEADER.pack(kind, connection_id, number, ack) + payload
    return body + _CRC.pack(crc32(body))


def decode_frame(data: bytes) -> Frame:
    """Read a datagram whatever its octets are; raises nothing but PacketDecodeError."""
    size = len(data)
    if size < _MINIMUM_SIZE or not SYN <= data[0] <= RESET:
        raise PacketDecodeError(f"{size} octets are no frame", trigger="header_parse_error")
    body = data[:-TRAILER_SIZE]
    if _CRC.unpack_from(data, size - TRAILER_SIZE)[0] != crc32(body):
        raise PacketDecodeError("the check sum is wrong", trigger="integrity_check_failed")
    kind, connection_id, number, ack = _HEADER.unpack_from(body)
    return kind, connection_id, number, ack, body[_HEADER.size :]


_RESET = Struct(">Q")


def encode_reset(error_code: int, reason: str) -> bytes:
    cut = reason.encode()[:REASON_SIZE_MAX].decode(errors="ignore")  # between characters
    return _RESET.pack(error_code) + cut.encode()


def decode_reset(payload: bytes) -> tuple[int, str]:
    """The error code and the reason, as far as they can be read: a reset ends the connection however it is worded."""
    if len(payload) < _RESET.size:
        return 0, ""
    reason = payload[_RESET.size : _RESET.size + REASON_SIZE_MAX]
    return int(_RESET.unpack_from(payload)[0]), reason.decode(errors="replace")
