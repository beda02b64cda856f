"""RecvStream: scattered ranges -> octets in order (RFC 9000 s2.2, s3.2, s4.5)."""

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.machine import Machine
from rudp_smtp.ranges import RangeSet
from rudp_smtp.transport.rudp.flow import ReceiveCredit
from rudp_smtp.transport.rudp.state import (
    DELIVERED,
    RECEIVE_OVER,
    RECEIVE_TRANSITIONS,
    ReceiveInput,
    ReceiveState,
)

# Who sends crumbs gets little more of our memory than its window, for the books about a piece take some 80 octets. A
# window that a fast path has earned has room for more pieces: one for each six full packets.
SCATTERED_RANGES_MIN, SCATTERED_RANGES_MAX = 256, 4096
CRUMB_OCTETS, RANGE_OCTETS = 128, 8 << 10  # of a window, for each piece: up to SCATTERED_RANGES_MAX, and beyond


class Pieces:
    """Owns the number of pieces that lie scattered in all streams of a connection."""

    __slots__ = ("_count", "_credit")

    def __init__(self, credit: ReceiveCredit) -> None:
        """`credit` is the connection's."""
        self._credit = credit
        self._count = 0

    def add(self, count: int) -> None:
        self._count += count
        if self._count <= SCATTERED_RANGES_MIN:
            return
        window = self._credit.window
        limit = max(SCATTERED_RANGES_MIN, min(SCATTERED_RANGES_MAX, window // CRUMB_OCTETS), window // RANGE_OCTETS)
        if self._count > limit:
            raise RemoteProtocolError(f"more than {limit} pieces", error_code=ErrorCode.PROTOCOL_VIOLATION)

    def remove(self, count: int) -> None:
        self._count -= count


class RecvStream:
    """Owns the octets that came too early: the stream's credit bounds them, `pieces` how many they are."""

    __slots__ = ("_buffer", "_machine", "_offset", "_pieces", "_scattered", "_size", "credit", "stream_id")

    def __init__(self, stream_id: int, credit: ReceiveCredit, pieces: Pieces) -> None:
        self.stream_id = stream_id
        self._pieces = pieces
        self.credit = credit  # `received` is the highest octet seen
        self._machine = Machine(RECEIVE_TRANSITIONS, ReceiveState.OPEN)
        self._offset = 0  # everything below is delivered
        self._buffer = bytearray()  # from _offset on; only what _scattered names has meaning
        self._scattered = RangeSet()
        self._size: int | None = None

    @property
    def is_over(self) -> bool:
        return self._machine.state in RECEIVE_OVER

    @property
    def is_delivered(self) -> bool:
        return self._machine.state is DELIVERED

    @property
    def is_size_known(self) -> bool:
        return self._size is not None

    def on_data(self, offset: int, data: bytes, is_fin: bool) -> bytes | None:
        """Take a range; the octets that are in order now. None: nothing to tell, b"" too when only the end is new."""
        stop = offset + len(data)
        if is_fin or self._size is not None:
            self._check_size(stop, is_fin)
            if self.is_over:
                return None
        if stop > self.credit.received:
            self.credit.on_received(stop - self.credit.received)
        if offset == self._offset and not self._scattered.starts:
            self._offset = stop
        else:
            data = self._reassemble(offset, data)
        if self._size == self._offset:
            self._machine.advance(ReceiveInput.ALL_DELIVERED)
            return data
        return data or None

    def on_reset(self, final_size: int) -> bool:
        """Take the peer's giving up; False when it changes nothing."""
        self._check_size(final_size, is_fin=True)
        if final_size > self.credit.received:
            self.credit.on_received(final_size - self.credit.received)
        self._buffer.clear()
        self._pieces.remove(len(self._scattered))
        self._scattered = RangeSet()
        return self._machine.advance(ReceiveInput.RESET)

    def _check_size(self, stop: int, is_fin: bool) -> None:
        """s4.5: once known, a final size does not change, and nothing lies beyond it."""
        size = self._size
        if is_fin:
            is_wrong = stop < self.credit.received if size is None else stop != size
        else:
            is_wrong = size is not None and stop > size
        if is_wrong:
            raise RemoteProtocolError(
                f"stream {self.stream_id}: final size broken at {stop}", error_code=ErrorCode.FINAL_SIZE_ERROR
            )
        if is_fin:
            self._size = stop
            self._machine.advance(ReceiveInput.FIN)

    def _reassemble(self, offset: int, data: bytes) -> bytes:
        stop = offset + len(data)
        if offset < self._offset:
            data = data[self._offset - offset :]
            offset = self._offset
        if stop <= offset:
            return b""
        scattered = self._scattered
        before = len(scattered)
        self._store(offset, data)
        if scattered.first()[0] > self._offset:
            self._pieces.add(len(scattered) - before)
            return b""
        _, stop = scattered.pop_first()
        self._pieces.remove(before - len(scattered))
        count = stop - self._offset
        octets = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._offset = stop
        return octets

    def _store(self, offset: int, data: bytes) -> None:
        buffer, base = self._buffer, self._offset
        start = offset - base
        stop = start + len(data)
        for known_start, known_stop in self._scattered.overlap(offset, offset + len(data)):
            if buffer[known_start - base : known_stop - base] != data[known_start - offset : known_stop - offset]:
                raise RemoteProtocolError(  # s2.2
                    f"stream {self.stream_id}: other octets at {known_start}", error_code=ErrorCode.PROTOCOL_VIOLATION
                )
        if len(buffer) < stop:
            buffer.extend(bytes(stop - len(buffer)))
        buffer[start:stop] = data
        self._scattered.add(offset, offset + len(data))
