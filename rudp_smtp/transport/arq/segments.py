"""Streams, cut into the segments that frames carry, and put together again.

    +------+-----------+--------------+      0  DATA   octets; none to say only that the stream is there
    | kind | stream ID |  rest  ...   |      1  FIN    the same, and they are the stream's last
    |  1   |     4     |              |      2  RESET  the sender gives the stream up; error code 8
    +------+-----------+--------------+      3  STOP   the receiver reads no more of it; error code 8
                                             4  CLOSE  the connection ends; nothing follows

Frames are delivered in the order they were first sent, exactly once, so a segment needs no offset. For the same reason
streams are only a convenience here: a frame that is missing stops them all.
"""

from collections import deque
from struct import Struct
from typing import Final

from rudp_smtp.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from rudp_smtp.transport import (
    Event,
    StreamData,
    StreamOpened,
    StreamReset,
    StreamStopped,
    StreamWritable,
    TransportStats,
)

DATA: Final = 0
FIN: Final = 1
RESET: Final = 2
STOP: Final = 3
CLOSE: Final = 4

STREAMS_MAX = 1 << 16  # of each side
WRITABLE_THRESHOLD = 64 * 1024  # when this much waited, the application is told once three quarters of it have left

_HEADER = Struct(">BI")
_CODE = Struct(">Q")
OVERHEAD = _HEADER.size


def split_segment(payload: bytes) -> tuple[int, int, bytes] | None:
    """Kind, stream and the rest, for who only looks on; None if it is none."""
    if len(payload) < OVERHEAD:
        return None
    kind, stream_id = _HEADER.unpack_from(payload)
    return (kind, stream_id, payload[OVERHEAD:]) if kind <= CLOSE else None


class Segment:
    """What a frame carries, and which octets of which stream those are. A value: left alone after it is made."""

    __slots__ = ("is_close", "payload", "start", "stop", "stream_id")

    def __init__(self, payload: bytes, stream_id: int, start: int, stop: int, is_close: bool = False) -> None:
        self.payload = payload
        self.stream_id = stream_id
        self.start = start
        self.stop = stop
        self.is_close = is_close


class _Outlet:
    """The sending side of a stream: the octets that no frame has carried yet, and what else is to be said."""

    __slots__ = (
        "is_announced",
        "is_ended",
        "is_fin_due",
        "is_queued",
        "most_unsent",
        "reset_code",
        "sent",
        "stop_code",
        "waiting",
    )

    def __init__(self) -> None:
        self.waiting = bytearray()
        self.sent = 0
        self.is_announced = False
        self.is_ended = False  # by FIN or reset: it takes no more
        self.is_fin_due = False
        self.is_queued = False
        self.reset_code: int | None = None  # RESET is due
        self.stop_code: int | None = None  # STOP is due
        self.most_unsent = 0  # since the application was last told that there is room


class OutgoingSegments:
    """Owns what waits to be sent, stream by stream; those with something to say take turns."""

    def __init__(self, *, segment_size: int, is_client: bool, events: deque[Event], stats: TransportStats) -> None:
        self._segment_size = segment_size
        self._own_bit = 0 if is_client else 1  # RFC 9000 section 2.1: the least bit says who opened a stream
        self._events = events
        self._stats = stats
        self._outlets: dict[int, _Outlet] = {}
        self._queue: deque[int] = deque()
        self._opened = 0
        self._is_close_due = False

    # Commands

    def open(self) -> int:
        if self._opened == STREAMS_MAX:
            raise LocalProtocolError(f"a connection has {STREAMS_MAX} streams at the most")
        stream_id = self._opened << 2 | self._own_bit
        self._opened += 1
        self._queue_up(stream_id, self.adopt(stream_id))
        return stream_id

    def adopt(self, stream_id: int) -> _Outlet:
        """Make the sending side of a stream, here of one that the peer opened."""
        outlet = self._outlets[stream_id] = _Outlet()
        outlet.is_announced = stream_id & 1 != self._own_bit
        return outlet

    def knows(self, stream_id: int) -> bool:
        return stream_id in self._outlets

    def is_own(self, stream_id: int) -> bool:
        return stream_id & 1 == self._own_bit

    def send(self, stream_id: int, data: bytes, is_fin: bool) -> None:
        outlet = self._known(stream_id)
        if outlet.is_ended:
            raise LocalProtocolError(f"stream {stream_id} takes no more: it was ended")
        outlet.waiting += data
        outlet.is_ended = outlet.is_fin_due = is_fin
        unsent = len(outlet.waiting)
        if unsent > outlet.most_unsent and unsent >= WRITABLE_THRESHOLD:
            outlet.most_unsent = unsent
        if data or is_fin:
            self._queue_up(stream_id, outlet)

    def unsent(self, stream_id: int) -> int:
        return len(self._known(stream_id).waiting)

    def reset(self, stream_id: int, error_code: int) -> None:
        """Give the stream up, unless its end has left already."""
        outlet = self._known(stream_id)
        if outlet.is_ended and not outlet.is_fin_due:
            return
        outlet.waiting.clear()
        outlet.is_ended, outlet.is_fin_due = True, False
        outlet.reset_code = error_code
        self._queue_up(stream_id, outlet)

    def stop(self, stream_id: int, error_code: int) -> None:
        outlet = self._known(stream_id)
        outlet.stop_code = error_code
        self._queue_up(stream_id, outlet)

    def close(self) -> None:
        """When all that waits has been said, say CLOSE."""
        self._is_close_due = True

    # Output

    def next_segment(self) -> Segment | None:
        queue = self._queue
        if not queue:
            if not self._is_close_due:
                return None
            self._is_close_due = False
            return Segment(_HEADER.pack(CLOSE, 0), 0, 0, 0, is_close=True)
        stream_id = queue.popleft()
        outlet = self._outlets[stream_id]
        segment = self._cut(stream_id, outlet)
        if outlet.waiting or outlet.is_fin_due or outlet.reset_code is not None or outlet.stop_code is not None:
            queue.append(stream_id)
        else:
            outlet.is_queued = False
        return segment

    def _cut(self, stream_id: int, outlet: _Outlet) -> Segment:
        start = outlet.sent
        if outlet.is_announced and outlet.stop_code is not None:
            kind, rest, outlet.stop_code = STOP, _CODE.pack(outlet.stop_code), None
        elif outlet.is_announced and outlet.reset_code is not None:
            kind, rest, outlet.reset_code = RESET, _CODE.pack(outlet.reset_code), None
        else:
            waiting = outlet.waiting
            rest = bytes(waiting[: self._segment_size])
            del waiting[: self._segment_size]
            outlet.is_announced = True
            outlet.sent = start + len(rest)
            self._stats.stream_bytes_sent += len(rest)
            kind = FIN if outlet.is_fin_due and not waiting else DATA
            if kind == FIN:
                outlet.is_fin_due = False
            if outlet.most_unsent and len(waiting) * 4 <= outlet.most_unsent:
                outlet.most_unsent = 0
                self._events.append(StreamWritable(stream_id))
        return Segment(_HEADER.pack(kind, stream_id) + rest, stream_id, start, outlet.sent)

    def _queue_up(self, stream_id: int, outlet: _Outlet) -> None:
        if not outlet.is_queued:
            outlet.is_queued = True
            self._queue.append(stream_id)

    def _known(self, stream_id: int) -> _Outlet:
        outlet = self._outlets.get(stream_id)
        if outlet is None:
            raise LocalProtocolError(f"no stream {stream_id}")
        return outlet


class IncomingSegments:
    """Owns which of the peer's streams are still open, and tells the application what came in."""

    def __init__(self, outgoing: OutgoingSegments, events: deque[Event], stats: TransportStats) -> None:
        self._outgoing = outgoing
        self._events = events
        self._stats = stats
        self._ended: set[int] = set()
        self._unwanted: set[int] = set()
        self._opened = 0  # by the peer

    def has_ended(self, stream_id: int) -> bool:
        """The peer's last octet is here, or it gave the stream up."""
        return stream_id in self._ended

    def stop(self, stream_id: int) -> None:
        """The application reads no more of this stream."""
        self._unwanted.add(stream_id)

    def take(self, payload: bytes) -> bool:
        """Tell the application of the next segment in order; True when it was the last, CLOSE."""
        if len(payload) < OVERHEAD:
            raise RemoteProtocolError("a segment ends in its header", error_code=ErrorCode.FRAME_ENCODING_ERROR)
        kind, stream_id = _HEADER.unpack_from(payload)
        if kind == CLOSE:
            return True
        if kind > CLOSE or (kind >= RESET and len(payload) != OVERHEAD + _CODE.size):
            raise RemoteProtocolError(f"no segment of kind {kind}", error_code=ErrorCode.FRAME_ENCODING_ERROR)
        if not self._outgoing.knows(stream_id):
            self._open(stream_id)
        if kind == STOP:
            self._events.append(StreamStopped(stream_id, _CODE.unpack_from(payload, OVERHEAD)[0]))
            return False
        if stream_id in self._ended:
            raise RemoteProtocolError(f"stream {stream_id} had ended", error_code=ErrorCode.STREAM_STATE_ERROR)
        if kind != DATA:
            self._ended.add(stream_id)
        if kind == RESET:
            self._events.append(StreamReset(stream_id, _CODE.unpack_from(payload, OVERHEAD)[0]))
        elif len(payload) > OVERHEAD or kind == FIN:
            self._deliver(stream_id, payload[OVERHEAD:], kind == FIN)
        return False

    def _deliver(self, stream_id: int, data: bytes, is_fin: bool) -> None:
        if stream_id in self._unwanted:
            return
        self._stats.stream_bytes_delivered += len(data)
        self._events.append(StreamData(stream_id, data, is_fin))

    def _open(self, stream_id: int) -> None:
        if self._outgoing.is_own(stream_id) or stream_id & 2:
            raise RemoteProtocolError(f"no stream {stream_id}", error_code=ErrorCode.STREAM_STATE_ERROR)
        if self._opened == STREAMS_MAX:
            raise RemoteProtocolError("too many streams", error_code=ErrorCode.STREAM_LIMIT_ERROR)
        self._opened += 1
        self._outgoing.adopt(stream_id)
        self._events.append(StreamOpened(stream_id))
