"""A datagram as qlog has it: header and frames (draft-ietf-quic-qlog-quic-events-13, PacketHeader and QUIC Frames).

RUDP's frames are QUIC's, but for three: HELLO stands where CRYPTO was and is called so, a client's TOKEN is a field of
the header, as in QUIC, and ACK_FREQUENCY and IMMEDIATE_ACK go by their own names. A datagram that is not RUDP's, be it
ARQ's or a peer's, is called a 1RTT packet; its frames are ARQ's (`arq`) or, of a peer's, the stream octets its sender
said it carries, or an ACK where it asks for none.
"""

from dataclasses import dataclass, replace
from typing import assert_never

from rudp_smtp.errors import ErrorCode, PacketDecodeError
from rudp_smtp.experiment.metrics import milliseconds
from rudp_smtp.trace import NO_NUMBER, PacketSent
from rudp_smtp.units import MILLISECOND
from rudp_smtp.wire.ack_frame import AckFrame
from rudp_smtp.wire.ack_frequency import AckFrequencyFrame, ImmediateAckFrame
from rudp_smtp.wire.frames import (
    ConnectionCloseFrame,
    DataBlockedFrame,
    Frame,
    MaxDataFrame,
    MaxStreamDataFrame,
    MaxStreamsFrame,
    PaddingFrame,
    PingFrame,
    ResetStreamFrame,
    StopSendingFrame,
    StreamDataBlockedFrame,
    StreamFrame,
    StreamsBlockedFrame,
)
from rudp_smtp.wire.hello import HelloFrame
from rudp_smtp.wire.packet import INITIAL, RETRY, VERSION, VERSION_NEGOTIATION, Packet, decode_packet
from rudp_smtp.wire.path_frames import PathChallengeFrame, PathResponseFrame
from rudp_smtp.wire.stateless import decode_version_negotiation
from rudp_smtp.wire.token import TokenFrame

Fields = dict[str, object]

ONE_RTT_NAME = "1RTT"
_TRANSPORT_ERRORS = {code.value: code.name.lower() for code in ErrorCode if code.name != "VERSION_NEGOTIATION_ERROR"}


@dataclass(frozen=True, slots=True)
class Contents:
    """A datagram in qlog's terms. `hello`: the parameters that its sender declares in it, which qlog has as an event of
    its own."""

    header: Fields
    frames: list[Fields] | None = None  # None: it has none, or they cannot be read
    supported_versions: list[str] | None = None
    hello: HelloFrame | None = None


def read_contents(data: bytes | None, sent: PacketSent | None, number: int, *, is_from_client: bool) -> Contents:
    """What a datagram holds, from its octets if they are RUDP's; `number` is of a packet that bears none itself."""
    if sent is not None:
        number = sent.packet_number
    if data:
        try:
            return _of_packet(decode_packet(data), is_from_client)
        except PacketDecodeError:
            if number == NO_NUMBER and data[0] == RETRY:
                return Contents({"packet_type": "retry"})
            if number == NO_NUMBER and data[0] == VERSION_NEGOTIATION:
                return _of_version_negotiation(data)
    if sent is None:
        return Contents(_header(ONE_RTT_NAME, number))
    frames: list[Fields] = [stream_fields(stream, start, stop - start) for stream, start, stop in sent.streams]
    if not sent.is_ack_eliciting:
        frames.append({"frame_type": "ack"})
    return Contents(_header(ONE_RTT_NAME, number), frames)


def _header(packet_type: str, number: int) -> Fields:
    return {"packet_type": packet_type} | ({} if number == NO_NUMBER else {"packet_number": number})


def _of_packet(packet: Packet, is_from_client: bool) -> Contents:
    frames = packet.frames
    header = _header(ONE_RTT_NAME, packet.packet_number)
    if packet.kind == INITIAL:
        header = _header("initial", packet.packet_number) | {
            "version": f"{VERSION:08x}",
            "scid": _octets(packet.source_connection_id),
            "dcid": _octets(packet.destination_connection_id),
        }
        if is_from_client and frames and isinstance(frames[0], TokenFrame):
            header["token"] = _token(frames[0])
            frames = frames[1:]
    hello = next((frame for frame in frames if isinstance(frame, HelloFrame)), None)
    return Contents(header, [frame_fields(frame) for frame in frames], hello=hello)


def _of_version_negotiation(data: bytes) -> Contents:
    contents = Contents({"packet_type": "version_negotiation"})
    try:
        answer = decode_version_negotiation(data)
    except PacketDecodeError:
        return contents
    return replace(contents, supported_versions=[f"{version:08x}" for version in answer.versions])


def frame_fields(frame: Frame) -> Fields:
    match frame:
        case StreamFrame():
            return stream_fields(frame.stream_id, frame.offset, len(frame.data), is_fin=frame.is_fin)
        case AckFrame():
            return _ack(frame)
        case PaddingFrame(length):
            return {"frame_type": "padding", "raw": {"length": length, "payload_length": length}}
        case PingFrame():
            return {"frame_type": "ping"}
        case HelloFrame():
            return {"frame_type": "crypto", "offset": 0, "raw": {"length": len(frame.encode())}}
        case TokenFrame():
            return {"frame_type": "new_token", "token": _token(frame)}
        case ResetStreamFrame(stream_id, error_code, final_size):
            return {"frame_type": "reset_stream", "stream_id": stream_id} | {
                "error": "unknown",
                "error_code": error_code,
                "final_size": final_size,
            }
        case StopSendingFrame(stream_id, error_code):
            return {
                "frame_type": "stop_sending",
                "stream_id": stream_id,
                "error": "unknown",
                "error_code": error_code,
            }
        case PathChallengeFrame(token):
            return {"frame_type": "path_challenge", "data": _octets(token)}
        case PathResponseFrame(token):
            return {"frame_type": "path_response", "data": _octets(token)}
        case AckFrequencyFrame():
            return _ack_frequency(frame)
        case ImmediateAckFrame():
            return {"frame_type": "immediate_ack"}
        case ConnectionCloseFrame():
            return _connection_close(frame)
        case _:
            return _credit(frame)


def _credit(
    frame: MaxDataFrame
    | MaxStreamDataFrame
    | MaxStreamsFrame
    | DataBlockedFrame
    | StreamDataBlockedFrame
    | StreamsBlockedFrame,
) -> Fields:
    match frame:
        case MaxDataFrame(maximum):
            return {"frame_type": "max_data", "maximum": maximum}
        case MaxStreamDataFrame(stream_id, maximum):
            return {"frame_type": "max_stream_data", "stream_id": stream_id, "maximum": maximum}
        case MaxStreamsFrame(maximum):
            return {"frame_type": "max_streams", "stream_type": "bidirectional", "maximum": maximum}
        case DataBlockedFrame(limit):
            return {"frame_type": "data_blocked", "limit": limit}
        case StreamDataBlockedFrame(stream_id, limit):
            return {"frame_type": "stream_data_blocked", "stream_id": stream_id, "limit": limit}
        case StreamsBlockedFrame(limit):
            return {"frame_type": "streams_blocked", "stream_type": "bidirectional", "limit": limit}
        case _:
            assert_never(frame)


def stream_fields(stream_id: int, offset: int, length: int, *, is_fin: bool = False) -> Fields:
    fields: Fields = {"frame_type": "stream", "stream_id": stream_id, "offset": offset}
    if is_fin:
        fields["fin"] = True
    return fields | {"raw": {"length": length}}


def _ack(frame: AckFrame) -> Fields:
    ranges = [[start] if stop - start == 1 else [start, stop - 1] for start, stop in reversed(frame.ranges)]
    fields: Fields = {"frame_type": "ack", "ack_delay": milliseconds(frame.ack_delay), "acked_ranges": ranges}
    if frame.ecn is not None:
        fields |= dict(zip(("ect0", "ect1", "ce"), frame.ecn, strict=True))
    return fields


def _ack_frequency(frame: AckFrequencyFrame) -> Fields:
    return {
        "frame_type": "ack_frequency",
        "sequence_number": frame.sequence_number,
        "ack_eliciting_threshold": frame.ack_eliciting_threshold,
        "request_max_ack_delay": milliseconds(frame.max_ack_delay),
        "reordering_threshold": frame.reordering_threshold,
    }


def _connection_close(frame: ConnectionCloseFrame) -> Fields:
    fields: Fields = {"frame_type": "connection_close"}
    if frame.is_application:
        fields |= {"error_space": "application", "error": "unknown", "error_code": frame.error_code}
    elif frame.error_code in _TRANSPORT_ERRORS:
        fields |= {"error_space": "transport", "error": _TRANSPORT_ERRORS[frame.error_code]}
    else:
        fields |= {"error_space": "transport", "error": "unknown", "error_code": frame.error_code}
    return fields | {"reason": frame.reason}


def _token(frame: TokenFrame) -> Fields:
    return {"raw": {"length": len(frame.token), "data": frame.token.hex()}}


def _octets(value: int) -> str:
    """Eight octets, as qlog writes octets."""
    return f"{value:016x}"


def hello_fields(hello: HelloFrame, *, is_local: bool) -> Fields:
    """QUIC's transport parameters. All streams are bidirectional and have one limit, whoever opened them."""
    return {
        "initiator": "local" if is_local else "remote",
        "max_idle_timeout": hello.max_idle_timeout // MILLISECOND,
        "max_udp_payload_size": hello.max_datagram_size,
        "max_ack_delay": hello.max_ack_delay // MILLISECOND,
        "initial_max_data": hello.initial_max_data,
        "initial_max_stream_data_bidi_local": hello.initial_max_stream_data,
        "initial_max_stream_data_bidi_remote": hello.initial_max_stream_data,
        "initial_max_streams_bidi": hello.initial_max_streams,
    }
