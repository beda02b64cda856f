"""ARQ's frames as qlog has them: an acknowledgement names a sequence number, and qlog the packet that bore it last.

Which packet that was is known from the same log: of what the host sent, if the peer acknowledges, and of what it
received, if the host does. An acknowledgement names one frame here; that go-back-n's is of all before as well is in
`packets_acked`. One that names nothing, because nothing came yet, is left out.
"""

from rudp_smtp.errors import ErrorCode, PacketDecodeError
from rudp_smtp.experiment.qlog.packets import Fields, stream_fields
from rudp_smtp.trace import PacketSent
from rudp_smtp.transport.arq import frame as wire
from rudp_smtp.transport.arq import segments


class ArqNumbers:
    """Owns, for one host, which packet bore which sequence number last."""

    def __init__(self) -> None:
        self._packets: dict[tuple[bool, int, int], int] = {}  # whether it was sent, connection, sequence number

    def frames(self, data: bytes, sent: PacketSent | None, connection: int, *, is_local: bool) -> list[Fields] | None:
        """What a datagram holds, and what it acknowledges; None if it is no frame of ARQ's.

        `sent` is what its sender told of it, `connection` which one it is of at this host.
        """
        try:
            kind, _, number, ack, payload = wire.decode_frame(data)
        except PacketDecodeError:
            return None
        if kind == wire.RESET:
            return [_reset(payload)]
        if kind in (wire.SYN, wire.SYN_ACK):
            return [{"frame_type": "syn" if kind == wire.SYN else "syn_ack"}]
        frames = []
        if kind == wire.DATA and sent is not None:
            self._packets[is_local, connection, number] = sent.packet_number
            frames += _segment(payload, sent)
        acked = self._packets.get((not is_local, connection, ack))
        if acked is not None:
            frames.append({"frame_type": "ack", "acked_ranges": [[acked]]})
        return frames


def _segment(payload: bytes, sent: PacketSent) -> list[Fields]:
    segment = segments.split_segment(payload)
    if segment is None:
        return []
    kind, stream_id, rest = segment
    if kind == segments.CLOSE:
        return [{"frame_type": "connection_close", "error_space": "transport", "error": "no_error"}]
    (place,) = (start for _, start, _ in sent.streams)
    if kind in (segments.DATA, segments.FIN):
        return [stream_fields(stream_id, place, len(rest), is_fin=kind == segments.FIN)]
    error: Fields = {"stream_id": stream_id, "error": "unknown", "error_code": int.from_bytes(rest, "big")}
    if kind == segments.RESET:
        return [{"frame_type": "reset_stream", **error, "final_size": place}]
    return [{"frame_type": "stop_sending", **error}]


def _reset(payload: bytes) -> Fields:
    code, reason = wire.decode_reset(payload)
    known = {error.value: error.name.lower() for error in ErrorCode}
    error: Fields = {"error": known[code]} if code in known else {"error": "unknown", "error_code": code}
    return {"frame_type": "connection_close", "error_space": "transport", **error, "reason": reason}
