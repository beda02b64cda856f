"""One class per frame, encoder and decoder side by side (RFC 9000 s19; type codes and names are the RFC's).

A frame begins with its type, one octet. `decode` is given the offset of that octet in `data`, which ends where the
packet's frames end, and returns the frame and the offset after it. Whatever the octets are, it raises nothing but
PacketDecodeError and its work is linear in what it consumes. `encode` trusts its caller (assert, not errors).

Departures from RFC 9000: STREAM has fixed-width fields, because it is the frame of nearly every packet and one
`struct` call reads them all; HELLO stands where CRYPTO was, there being no encryption (`hello`); TOKEN goes both ways
(`token`); ACK delays are microseconds, so there is no ack_delay_exponent; CONNECTION_CLOSE does not name the offending
frame type.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Final

from rudp_smtp.wire.ack_frame import ACK, ACK_ECN
from rudp_smtp.wire.ack_frame import AckFrame as AckFrame  # this and others, so that this module has every frame
from rudp_smtp.wire.ack_frequency import ACK_FREQUENCY, IMMEDIATE_ACK
from rudp_smtp.wire.ack_frequency import AckFrequencyFrame as AckFrequencyFrame
from rudp_smtp.wire.ack_frequency import ImmediateAckFrame as ImmediateAckFrame
from rudp_smtp.wire.fields import (
    MAX_STREAM_COUNT,
    decode_octets,
    decode_stream_count,
    decode_stream_id,
    encode_integers,
    refusal,
)
from rudp_smtp.wire.hello import HELLO
from rudp_smtp.wire.hello import HelloFrame as HelloFrame
from rudp_smtp.wire.path_frames import PATH_CHALLENGE, PATH_RESPONSE
from rudp_smtp.wire.path_frames import PathChallengeFrame as PathChallengeFrame
from rudp_smtp.wire.path_frames import PathResponseFrame as PathResponseFrame
from rudp_smtp.wire.token import TOKEN
from rudp_smtp.wire.token import TokenFrame as TokenFrame
from rudp_smtp.wire.varint import VARINT_MAX, decode_varint, encode_varint

# Frame types: no class attributes, because mypyc takes those for fields.
PADDING: Final = 0x00
PING: Final = 0x01
RESET_STREAM: Final = 0x04
STOP_SENDING: Final = 0x05
STREAM: Final = 0x08  # and the three flags below
MAX_DATA: Final = 0x10
MAX_STREAM_DATA: Final = 0x11
MAX_STREAMS: Final = 0x12
DATA_BLOCKED: Final = 0x14
STREAM_DATA_BLOCKED: Final = 0x15
STREAMS_BLOCKED: Final = 0x16
CONNECTION_CLOSE: Final = 0x1C
CONNECTION_CLOSE_APPLICATION: Final = 0x1D

MAX_REASON_SIZE = 256  # octets of UTF-8; what is longer is cut, on either side

FIN: Final = 0x01
_LEN: Final = 0x02
_OFF64: Final = 0x04
_STREAM = Struct(">BII")
_STREAM_LEN = Struct(">BIIH")
_STREAM_OFF64 = Struct(">BIQ")
_STREAM_OFF64_LEN = Struct(">BIQH")
_U16 = Struct(">H")
_ZEROS = re.compile(b"\0+")


def stream_frame_overhead(offset: int, has_length: bool) -> int:
    """Octets of a STREAM frame that are not data."""
    return (9 if offset <= 0xFFFF_FFFF else 13) + (2 if has_length else 0)


@dataclass(slots=True)
class StreamFrame:
    """Stream octets from `offset` on (s19.8): type, stream ID 4, offset 4 (8 with OFF64), length 2 (with LEN)."""

    stream_id: int
    offset: int
    data: bytes
    is_fin: bool

    def encode_header(self, has_length: bool) -> bytes:
        """All but the data."""
        offset = self.offset
        if offset <= 0xFFFF_FFFF:
            if has_length:
                return _STREAM_LEN.pack(STREAM | _LEN | self.is_fin, self.stream_id, offset, len(self.data))
            return _STREAM.pack(STREAM | self.is_fin, self.stream_id, offset)
        assert offset + len(self.data) <= VARINT_MAX
        if has_length:
            return _STREAM_OFF64_LEN.pack(STREAM | _OFF64 | _LEN | self.is_fin, self.stream_id, offset, len(self.data))
        return _STREAM_OFF64.pack(STREAM | _OFF64 | self.is_fin, self.stream_id, offset)

    def encode(self, has_length: bool = True) -> bytes:
        """Without its length it must be the packet's last frame."""
        return self.encode_header(has_length) + self.data

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["StreamFrame", int]:
        flags = data[offset]
        end = len(data)
        start = offset + (13 if flags & _OFF64 else 9) + (2 if flags & _LEN else 0)
        if start > end:
            raise refusal("STREAM header runs past the end")
        _, stream_id, stream_offset = (_STREAM_OFF64 if flags & _OFF64 else _STREAM).unpack_from(data, offset)
        if flags & _LEN:
            stop: int = start + _U16.unpack_from(data, start - 2)[0]
            if stop > end:
                raise refusal("STREAM data runs past the end")
            end = stop
        if stream_offset + (end - start) > VARINT_MAX:
            raise refusal("STREAM data beyond offset 2**62 - 1")
        return StreamFrame(stream_id, stream_offset, data[start:end], flags & FIN != 0), end


@dataclass(slots=True)
class PaddingFrame:
    """`length` zero octets (s19.1); a run of them is decoded as one frame."""

    length: int

    def encode(self) -> bytes:
        assert self.length > 0
        return bytes(self.length)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["PaddingFrame", int]:
        run = _ZEROS.match(data, offset)
        assert run is not None
        return PaddingFrame(run.end() - offset), run.end()


@dataclass(slots=True)
class PingFrame:
    """Asks for an acknowledgement, no more (s19.2)."""

    def encode(self) -> bytes:
        return encode_varint(PING)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["PingFrame", int]:
        return PingFrame(), offset + 1


@dataclass(slots=True)
class ResetStreamFrame:
    """The sender gives up the stream, which ends at `final_size` for flow control (s19.4)."""

    stream_id: int
    error_code: int
    final_size: int

    def encode(self) -> bytes:
        return encode_integers(RESET_STREAM, self.stream_id, self.error_code, self.final_size)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["ResetStreamFrame", int]:
        stream_id, offset = decode_stream_id(data, offset + 1)
        error_code, offset = decode_varint(data, offset)
        final_size, offset = decode_varint(data, offset)
        return ResetStreamFrame(stream_id, error_code, final_size), offset


@dataclass(slots=True)
class StopSendingFrame:
    """The receiver no longer reads the stream (s19.5)."""

    stream_id: int
    error_code: int

    def encode(self) -> bytes:
        return encode_integers(STOP_SENDING, self.stream_id, self.error_code)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["StopSendingFrame", int]:
        stream_id, offset = decode_stream_id(data, offset + 1)
        error_code, offset = decode_varint(data, offset)
        return StopSendingFrame(stream_id, error_code), offset


@dataclass(slots=True)
class MaxDataFrame:
    """Connection credit: octets of all streams together (s19.9)."""

    maximum: int

    def encode(self) -> bytes:
        return encode_integers(MAX_DATA, self.maximum)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["MaxDataFrame", int]:
        maximum, offset = decode_varint(data, offset + 1)
        return MaxDataFrame(maximum), offset


@dataclass(slots=True)
class MaxStreamDataFrame:
    """Credit of one stream (s19.10)."""

    stream_id: int
    maximum: int

    def encode(self) -> bytes:
        return encode_integers(MAX_STREAM_DATA, self.stream_id, self.maximum)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["MaxStreamDataFrame", int]:
        stream_id, offset = decode_stream_id(data, offset + 1)
        maximum, offset = decode_varint(data, offset)
        return MaxStreamDataFrame(stream_id, maximum), offset


@dataclass(slots=True)
class MaxStreamsFrame:
    """How many streams the peer may have opened, past ones counted (s19.11)."""

    maximum: int

    def encode(self) -> bytes:
        assert self.maximum <= MAX_STREAM_COUNT
        return encode_integers(MAX_STREAMS, self.maximum)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["MaxStreamsFrame", int]:
        maximum, offset = decode_stream_count(data, offset + 1)
        return MaxStreamsFrame(maximum), offset


@dataclass(slots=True)
class DataBlockedFrame:
    """The sender has data but no connection credit beyond `limit` (s19.12)."""

    limit: int

    def encode(self) -> bytes:
        return encode_integers(DATA_BLOCKED, self.limit)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["DataBlockedFrame", int]:
        limit, offset = decode_varint(data, offset + 1)
        return DataBlockedFrame(limit), offset


@dataclass(slots=True)
class StreamDataBlockedFrame:
    """The sender has data but no credit on this stream beyond `limit` (s19.13)."""

    stream_id: int
    limit: int

    def encode(self) -> bytes:
        return encode_integers(STREAM_DATA_BLOCKED, self.stream_id, self.limit)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["StreamDataBlockedFrame", int]:
        stream_id, offset = decode_stream_id(data, offset + 1)
        limit, offset = decode_varint(data, offset)
        return StreamDataBlockedFrame(stream_id, limit), offset


@dataclass(slots=True)
class StreamsBlockedFrame:
    """The sender would open a stream beyond `limit` (s19.14)."""

    limit: int

    def encode(self) -> bytes:
        assert self.limit <= MAX_STREAM_COUNT
        return encode_integers(STREAMS_BLOCKED, self.limit)

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["StreamsBlockedFrame", int]:
        limit, offset = decode_stream_count(data, offset + 1)
        return StreamsBlockedFrame(limit), offset


@dataclass(slots=True)
class ConnectionCloseFrame:
    """The connection is over (s19.19): type 0x1c by the transport's decision, 0x1d by the application's."""

    error_code: int
    reason: str
    is_application: bool

    def encode(self) -> bytes:
        reason = self.reason.encode(errors="replace")
        if len(reason) > MAX_REASON_SIZE:
            reason = reason[:MAX_REASON_SIZE].decode(errors="ignore").encode()  # cut between characters
        frame_type = CONNECTION_CLOSE_APPLICATION if self.is_application else CONNECTION_CLOSE
        return encode_integers(frame_type, self.error_code, len(reason)) + reason

    @staticmethod
    def decode(data: bytes, offset: int) -> tuple["ConnectionCloseFrame", int]:
        is_application = data[offset] == CONNECTION_CLOSE_APPLICATION
        error_code, offset = decode_varint(data, offset + 1)
        reason, offset = decode_octets(data, offset)
        text = reason[:MAX_REASON_SIZE].decode(errors="replace")
        return ConnectionCloseFrame(error_code, text, is_application), offset


Frame = (
    StreamFrame
    | AckFrame
    | PaddingFrame
    | PingFrame
    | HelloFrame
    | TokenFrame
    | ResetStreamFrame
    | StopSendingFrame
    | MaxDataFrame
    | MaxStreamDataFrame
    | MaxStreamsFrame
    | DataBlockedFrame
    | StreamDataBlockedFrame
    | StreamsBlockedFrame
    | PathChallengeFrame
    | PathResponseFrame
    | AckFrequencyFrame
    | ImmediateAckFrame
    | ConnectionCloseFrame
)

_DECODERS: dict[int, Callable[[bytes, int], tuple[Frame, int]]] = {
    **{STREAM | flags: StreamFrame.decode for flags in range(8)},
    ACK: AckFrame.decode,
    ACK_ECN: AckFrame.decode,
    PADDING: PaddingFrame.decode,
    PING: PingFrame.decode,
    HELLO: HelloFrame.decode,
    TOKEN: TokenFrame.decode,
    RESET_STREAM: ResetStreamFrame.decode,
    STOP_SENDING: StopSendingFrame.decode,
    MAX_DATA: MaxDataFrame.decode,
    MAX_STREAM_DATA: MaxStreamDataFrame.decode,
    MAX_STREAMS: MaxStreamsFrame.decode,
    DATA_BLOCKED: DataBlockedFrame.decode,
    STREAM_DATA_BLOCKED: StreamDataBlockedFrame.decode,
    STREAMS_BLOCKED: StreamsBlockedFrame.decode,
    PATH_CHALLENGE: PathChallengeFrame.decode,
    PATH_RESPONSE: PathResponseFrame.decode,
    ACK_FREQUENCY: AckFrequencyFrame.decode,
    IMMEDIATE_ACK: ImmediateAckFrame.decode,
    CONNECTION_CLOSE: ConnectionCloseFrame.decode,
    CONNECTION_CLOSE_APPLICATION: ConnectionCloseFrame.decode,
}

_NOT_ACK_ELICITING = (AckFrame, PaddingFrame, ConnectionCloseFrame)


def is_ack_eliciting(frames: list[Frame]) -> bool:
    """Say whether a packet of these frames asks to be acknowledged (RFC 9002 s2)."""
    for frame in frames:  # noqa: SIM110 - no generator on the hot path
        if not isinstance(frame, _NOT_ACK_ELICITING):
            return True
    return False


def decode_frames(data: bytes, offset: int) -> list[Frame]:
    """Every frame from `offset` to the end of `data`."""
    frames: list[Frame] = []
    end = len(data)
    while offset < end:
        decoder = _DECODERS.get(data[offset])
        if decoder is None:
            raise refusal(f"unknown frame type {data[offset]:#04x}")
        frame, offset = decoder(data, offset)
        frames.append(frame)
    return frames
