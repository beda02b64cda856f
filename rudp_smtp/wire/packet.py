"""Packets: a header, at least one frame, and an integrity check (RFC 9000 s12 and s17, without the encryption).

One datagram is one packet. All integers are big-endian; widths are in octets.

    INITIAL, both ways until the handshake is done           ONE_RTT, from then on

    +------+---------+----------------+                      +------+----------------+
    | 0x50 | version | destination ID |                      | 0x51 | destination ID |
    |  1   |    4    |       8        |                      |  1   |       8        |
    +------+---------+----------------+                      +------+----------------+
    |    source ID   |  packet number |                      |  packet number        |
    |       8        |       8        |                      |       8               |
    +----------------+----------------+                      +-----------------------+
    |   frames, at least one    ...   |                      |   frames        ...   |
    +---------------------------------+                      +-----------------------+
    |   CRC-32 of all the above   4   |                      |   CRC-32         4    |
    +---------------------------------+                      +-----------------------+

A server that keeps no state answers a client's INITIAL packet with one of these (`stateless`), which have no frames:

    VERSION_NEGOTIATION                                      RETRY

    +------+---------+----------------+                      +------+---------+----------------+
    | 0x52 |    0    | destination ID |                      | 0x53 | version | destination ID |
    |  1   |    4    |       8        |                      |  1   |    4    |       8        |
    +------+---------+----------------+                      +------+---------+----------------+
    |    source ID   |  versions      |                      |  token, 1 to 512     ...        |
    |       8        |  4 each   ...  |                      +---------------------------------+
    +----------------+----------------+                      |  tag over the client's original |
    |   CRC-32 of all the above   4   |                      |  destination ID and this    16  |
    +---------------------------------+                      +---------------------------------+
                                                             |   CRC-32                    4   |
                                                             +---------------------------------+

The high four bits of the first octet are always 0101: none of STUN, DTLS, TURN or RTP begins so (RFC 9443), and the
low four are the packet's type. A packet number is whole, not truncated as in RFC 9000 s17.1: eight octets for a
decoder without state. The CRC-32 is zlib's (ISO 3309). What every version of INITIAL shares (RFC 8999): the first
octet, version and both IDs, and the CRC-32.

The frames, each after its type octet (`v` is a variable-length integer, RFC 9000 s16):

    0x00  PADDING              -                                0x10  MAX_DATA             maximum v
    0x01  PING                 -                                0x11  MAX_STREAM_DATA      stream ID v, maximum v
    0x02  ACK                  largest v, delay v (us),         0x12  MAX_STREAMS          maximum v
                               further ranges v, first v,       0x14  DATA_BLOCKED         limit v
                               then each: gap v, range v        0x15  STREAM_DATA_BLOCKED  stream ID v, limit v
    0x03  the same, then what came with ECT(0) v, ECT(1) v,     0x16  STREAMS_BLOCKED      limit v
          and CE v                                              0x1a  PATH_CHALLENGE       token 8
    0x04  RESET_STREAM         stream ID v, code v, size v      0x1b  PATH_RESPONSE        token 8
    0x05  STOP_SENDING         stream ID v, code v              0x1c  CONNECTION_CLOSE     code v, length v, reason
    0x06  HELLO                length v, then each:             0x1d  the same, by the application
                               ID v, length v, value
    0x07  TOKEN                length v, token
    0x08  STREAM               stream ID 4, offset 4, data to the end of the packet
     +1   FIN                  the data is the stream's last
     +2   LEN                  after the offset, length 2: other frames may follow
     +4   OFF64                the offset is 8 wide

An ACK's first and range count packets less one, a gap the missing packets between two ranges less one (s19.3.1).
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final
from zlib import crc32

from rudp_smtp.errors import ErrorCode, PacketDecodeError
from rudp_smtp.wire.frames import FIN, STREAM, Frame, StreamFrame, decode_frames
from rudp_smtp.wire.varint import VARINT_MAX

VERSION = 0x5255_4401  # "RUD", 1
INITIAL: Final = 0x50
ONE_RTT: Final = 0x51
VERSION_NEGOTIATION: Final = 0x52
RETRY: Final = 0x53

INITIAL_HEADER_SIZE = 29
SHORT_HEADER_SIZE = 17
TRAILER_SIZE = 4
MAX_DATAGRAM_SIZE = 65_527  # RFC 9000 s18.2: the most that UDP over IPv6 carries

_INITIAL_HEADER = Struct(">BIQQQ")
_SHORT_HEADER = Struct(">BQQ")
_SHORT_AND_STREAM_HEADER = Struct(">BQQBII")  # ONE_RTT, then STREAM with neither LEN nor OFF64
_CONNECTION_ID = Struct(">Q")
_CRC = Struct(">I")


@dataclass(slots=True)
class Packet:
    """`kind` is INITIAL or ONE_RTT; only INITIAL packets carry a source connection ID (and a version, ours)."""

    kind: int
    destination_connection_id: int
    packet_number: int
    frames: list[Frame]
    source_connection_id: int = 0


def encode_initial_header(destination_connection_id: int, source_connection_id: int, packet_number: int) -> bytes:
    assert packet_number <= VARINT_MAX
    return _INITIAL_HEADER.pack(INITIAL, VERSION, destination_connection_id, source_connection_id, packet_number)


def encode_short_header(destination_connection_id: int, packet_number: int) -> bytes:
    assert packet_number <= VARINT_MAX
    return _SHORT_HEADER.pack(ONE_RTT, destination_connection_id, packet_number)


def seal(pieces: list[bytes]) -> bytes:
    """Join a header and encoded frames into a packet and append its integrity check."""
    body = b"".join(pieces)
    return body + _CRC.pack(crc32(body))


def encode_packet(packet: Packet) -> bytes:
    """The datagram. A STREAM frame at the end goes without its length."""
    frames = packet.frames
    assert frames
    if packet.kind == ONE_RTT:
        header = encode_short_header(packet.destination_connection_id, packet.packet_number)
    else:
        assert packet.kind == INITIAL
        header = encode_initial_header(
            packet.destination_connection_id, packet.source_connection_id, packet.packet_number
        )
    pieces = [header, *[frame.encode() for frame in frames[:-1]]]
    last = frames[-1]
    pieces.append(last.encode(has_length=False) if isinstance(last, StreamFrame) else last.encode())
    return seal(pieces)


def encode_stream_packet(
    destination_connection_id: int, packet_number: int, preceding: bytes, frame: StreamFrame
) -> bytes:
    """A ONE_RTT packet that ends in stream data, after `preceding` encoded frames: bulk transfer's fast path."""
    if preceding or frame.offset > 0xFFFF_FFFF:
        header = encode_short_header(destination_connection_id, packet_number)
        return seal([header, preceding, frame.encode_header(has_length=False), frame.data])
    body = (
        _SHORT_AND_STREAM_HEADER.pack(
            ONE_RTT, destination_connection_id, packet_number, STREAM | frame.is_fin, frame.stream_id, frame.offset
        )
        + frame.data
    )
    return body + _CRC.pack(crc32(body))


def decode_packet(data: bytes) -> Packet:
    """Read a datagram whatever its octets are; raises nothing but PacketDecodeError."""
    size = len(data)
    if not SHORT_HEADER_SIZE + TRAILER_SIZE < size <= MAX_DATAGRAM_SIZE:
        raise PacketDecodeError(f"{size} octets cannot be a packet", trigger="header_parse_error")
    body = data[:-TRAILER_SIZE]  # a copy, but faster than a memoryview: crc32 and the frames both read from it
    if _CRC.unpack_from(data, size - TRAILER_SIZE)[0] != crc32(body):
        raise PacketDecodeError("the check sum is wrong", trigger="integrity_check_failed")
    if body[0] == ONE_RTT and body[SHORT_HEADER_SIZE] & ~FIN == STREAM and len(body) >= _SHORT_AND_STREAM_HEADER.size:
        return _decode_stream_packet(body)
    source = 0
    if body[0] == ONE_RTT:
        kind, destination, packet_number = _SHORT_HEADER.unpack_from(body)
        offset = SHORT_HEADER_SIZE
    elif body[0] == INITIAL:
        if len(body) <= INITIAL_HEADER_SIZE:
            raise PacketDecodeError("INITIAL packet ends in its header", trigger="header_parse_error")
        kind, version, destination, source, packet_number = _INITIAL_HEADER.unpack_from(body)
        if version != VERSION:
            raise PacketDecodeError(f"version {version:#010x} is not ours", trigger="unsupported_version")
        offset = INITIAL_HEADER_SIZE
    else:
        raise PacketDecodeError(f"unknown packet type {body[0]:#04x}", trigger="header_parse_error")
    if packet_number > VARINT_MAX:
        raise _packet_number_refusal()
    return Packet(kind, destination, packet_number, decode_frames(body, offset), source)


def _decode_stream_packet(body: bytes) -> Packet:
    """What encode_stream_packet made with nothing preceding: both headers are read at once."""
    kind, destination, packet_number, flags, stream_id, offset = _SHORT_AND_STREAM_HEADER.unpack_from(body)
    if packet_number > VARINT_MAX:
        raise _packet_number_refusal()
    frame = StreamFrame(stream_id, offset, body[_SHORT_AND_STREAM_HEADER.size :], flags != STREAM)
    return Packet(kind, destination, packet_number, [frame])


def _packet_number_refusal() -> PacketDecodeError:
    """RFC 9000 s12.3: an ACK could not name it."""
    return PacketDecodeError(
        "packet number beyond 2**62 - 1", trigger="header_parse_error", error_code=ErrorCode.PROTOCOL_VIOLATION
    )


def destination_connection_id(data: bytes) -> int | None:
    """Peek at where a datagram belongs, unchecked: its length and type are looked at, not its integrity."""
    size = len(data)
    if size > SHORT_HEADER_SIZE + TRAILER_SIZE and data[0] == ONE_RTT:
        offset = 1
    elif size > INITIAL_HEADER_SIZE + TRAILER_SIZE and data[0] == INITIAL:
        offset = 5
    else:
        return None
    value: int = _CONNECTION_ID.unpack_from(data, offset)[0]
    return value
