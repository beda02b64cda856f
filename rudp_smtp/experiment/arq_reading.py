"""ARQ's frames for match rules: what they are called, and where in their streams the octets of their segments are.

A segment says no offset (`transport.arq.segments`): a frame's place among all that its sender made does. A link sees
every transmission in the order it was made, so of 2**bits numbers the next is that of a new frame, and all others are
those of the last frames again.
"""

from collections import deque
from collections.abc import Hashable

from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.link.following import Piece
from rudp_smtp.transport.arq import frame as wire
from rudp_smtp.transport.arq import segments

FRAMES = {wire.SYN: "syn", wire.SYN_ACK: "syn_ack", wire.DATA: "data", wire.ACK: "ack", wire.RESET: "reset"}
SEGMENTS = {  # DATA has no other name than its frame
    segments.FIN: "fin",
    segments.RESET: "reset_stream",
    segments.STOP: "stop_sending",
    segments.CLOSE: "close",
}
NAMES = (*FRAMES.values(), *SEGMENTS.values())
CONNECTIONS_MAX = 1024  # directions of connections that are remembered: the oldest is forgotten
STREAMS_MAX = 256  # of one


class _Numbers:
    """One direction of a connection: where its last frames' octets are, and where those of the next will be."""

    __slots__ = ("_ends", "_mask", "_next", "_offsets")

    def __init__(self, bits: int) -> None:
        self._mask = (1 << bits) - 1
        self._next = 0
        self._offsets: deque[int] = deque(maxlen=self._mask)
        self._ends: dict[int, int] = {}  # of streams

    def offset(self, number: int, stream_id: int, size: int) -> int | None:
        """Where the frame's octets begin; None for what was sent before we looked on."""
        behind = (self._next - number) & self._mask
        if behind:
            return self._offsets[-behind] if behind <= len(self._offsets) else None
        start = self._ends.pop(stream_id, 0)
        self._ends[stream_id] = start + size
        while len(self._ends) > STREAMS_MAX:
            del self._ends[next(iter(self._ends))]
        self._offsets.append(start)
        self._next += 1
        return start


class ArqFlows:
    """Owns what is known of connections; both directions of a path share one."""

    def __init__(self) -> None:
        self._bits: dict[int, int] = {}  # by connection, as SYN says
        self._numbers: dict[tuple[int, Hashable], _Numbers] = {}

    def read(self, data: bytes, source: Hashable) -> tuple[frozenset[str], tuple[Piece, ...]] | None:
        """A frame's names and the octets of a stream that it carries; None if it is no frame of ARQ's."""
        try:
            kind, connection_id, number, _, payload = wire.decode_frame(data)
        except PacketDecodeError:
            return None
        names = frozenset((FRAMES[kind],))
        if kind in (wire.SYN, wire.SYN_ACK):
            self._note(connection_id, number)
        segment = segments.split_segment(payload) if kind == wire.DATA else None
        if segment is None:
            return names, ()
        segment_kind, stream_id, rest = segment
        is_octets = segment_kind in (segments.DATA, segments.FIN)
        if segment_kind in SEGMENTS:
            names |= {SEGMENTS[segment_kind]}
        numbers = self._direction(connection_id, source)
        size = len(rest) if is_octets else 0
        offset = None if numbers is None else numbers.offset(number, stream_id, size)
        if offset is None or not size:
            return names, ()
        return names, (Piece((connection_id, stream_id), offset, rest),)

    def _note(self, connection_id: int, bits: int) -> None:
        if not 0 < bits <= wire.SEQUENCE_BITS_MAX or connection_id in self._bits:
            return
        self._bits[connection_id] = bits
        while len(self._bits) > CONNECTIONS_MAX:
            del self._bits[next(iter(self._bits))]

    def _direction(self, connection_id: int, source: Hashable) -> _Numbers | None:
        bits = self._bits.get(connection_id)
        if bits is None:
            return None
        numbers = self._numbers.get((connection_id, source))
        if numbers is None:
            numbers = self._numbers[connection_id, source] = _Numbers(bits)
            while len(self._numbers) > 2 * CONNECTIONS_MAX:
                del self._numbers[next(iter(self._numbers))]
        return numbers
