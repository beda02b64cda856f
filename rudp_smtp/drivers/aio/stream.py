"""StreamTransport: one stream of a connection as an `asyncio.Transport`, for any protocol that runs over TCP."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rudp_smtp.transport import PausableTransport

if TYPE_CHECKING:
    from rudp_smtp.drivers.aio.port import Port

HIGH_WATER = 64 * 1024  # asyncio's own: above this many octets not yet sent the protocol is asked to wait
ABORTED = 1  # the error code of a stream or connection that its application gave up


class StreamTransport(asyncio.Transport):
    """Owns what has arrived and was not handed over yet. Whoever writes is held back by the path, as over TCP.

    `is_sole`: the stream is all that its connection is for, so closing one closes the other, and `connection_lost`
    tells that the peer has everything. Otherwise it tells that everything was sent, as the kernel's TCP does.
    """

    _start_tls_compatible = True  # what loop.start_tls looks for

    def __init__(
        self,
        port: "Port",
        connection: PausableTransport,
        stream_id: int,
        *,
        is_sole: bool,
        extra: Mapping[str, object],
    ) -> None:
        super().__init__(extra)
        self._port = port
        self._connection = connection
        self._stream_id = stream_id
        self._is_sole = is_sole
        self._protocol: asyncio.BaseProtocol = asyncio.Protocol()
        self._is_started = False
        self._arrived: deque[bytes] = deque()
        self._is_eof_due = False
        self._error: Exception | None = None
        self._is_over = False  # nothing more arrives, and nothing that is written goes anywhere
        self._is_lost = False  # the protocol has been told so
        self._is_stopped = False  # the peer reads no more: what is written goes nowhere
        self._is_closing = False
        self._is_eof_written = False
        self._is_reading_paused = False
        self._is_writing_paused = False
        self._is_delivery_due = False
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4

    def introduce(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell it that this is its transport, and hand over what arrives."""
        self._protocol = protocol  # it may be asked to wait as soon as it writes
        protocol.connection_made(self)
        self.start(protocol)

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """From now on hand over what arrives; what has arrived already comes first."""
        self._protocol = protocol
        self._is_started = True
        self._schedule_delivery()

    # What the application asks

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_extra_info(self, name: str, default: object = None) -> object:
        """`peername`, `sockname` and `socket` as over TCP; `rudp_stats` are the connection's counters."""
        if name == "rudp_stats":
            return self._connection.stats
        return super().get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._is_closing or self._is_over or self._is_stopped

    def is_reading(self) -> bool:
        return not self._is_reading_paused and not self._is_closing

    def pause_reading(self) -> None:
        if self.is_reading():
            self._is_reading_paused = True
            self._connection.pause_reading(self._stream_id)

    def resume_reading(self) -> None:
        if self._is_reading_paused and not self._is_closing:
            self._is_reading_paused = False
            self._connection.resume_reading(self._stream_id)
            self._port.schedule()
            self._schedule_delivery()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._hold_writer()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Octets that have not been sent; what waits for its acknowledgement is the transport's affair."""
        return 0 if self._is_over else self._connection.unsent_bytes(self._stream_id)

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._is_closing or self._is_over or not data:
            return
        self._connection.send(self._stream_id, bytes(data))
        self._port.schedule()
        self._hold_writer()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._is_eof_written or self._is_closing or self._is_over:
            return
        self._is_eof_written = True
        self._connection.send(self._stream_id, b"", True)
        self._port.schedule()

    def close(self) -> None:
        """Send what was written, then end; what still arrives is of no interest."""
        if self._is_closing:
            return
        self._is_closing = True
        self._arrived.clear()
        if self._is_over:
            self._schedule_delivery()
            return
        if not self._is_eof_written:
            self._connection.send(self._stream_id, b"", True)
        if self._is_reading_paused:
            self._connection.resume_reading(self._stream_id)
        if self._is_sole:
            self._connection.close(self._port.now())
        else:
            self._port.watch(self)
        self._port.schedule()

    def abort(self) -> None:
        self._force_close(None)

    def _force_close(self, error: Exception | None) -> None:
        """Abort, and say why; asyncio's TLS calls it by this name."""
        self._is_closing = True
        self._arrived.clear()
        if self._is_over:
            self._schedule_delivery()  # the end may have waited behind what had arrived
            return
        if self._is_sole:
            self._connection.reset(ABORTED, "aborted", self._port.now())
        else:
            self._connection.reset_stream(self._stream_id, ABORTED)
            self._connection.stop_sending(self._stream_id, ABORTED)
        self._port.schedule()
        self.on_over(error)

    # What the port tells

    def on_data(self, data: bytes, is_fin: bool) -> None:
        if self._is_closing:
            return
        if data:
            self._arrived.append(data)
        self._is_eof_due = self._is_eof_due or is_fin
        self._schedule_delivery()

    def on_stopped(self) -> None:
        self._is_stopped = True

    def on_reset(self, error: Exception) -> None:
        """The peer gave its side up, and ours is of no use to it either."""
        if self._is_sole and not self._is_closing:
            self._connection.close(self._port.now())
            self._port.schedule()
        self.on_over(error)

    def on_over(self, error: Exception | None) -> None:
        """Nothing more comes or goes; the protocol first gets what had arrived."""
        if not self._is_over:
            self._is_over = True
            self._error = error
            if error is not None:
                self._arrived.clear()  # as a reset does over TCP
                self._is_eof_due = False
            self._port.forget(self._connection, self._stream_id)
            self._port.unwatch(self)
            self._schedule_delivery()

    def on_drained(self) -> None:
        """As much was sent as may be for now."""
        if self._is_over:
            return
        if self._is_writing_paused and self.get_write_buffer_size() <= self._low:
            self._is_writing_paused = False
            if not self._is_closing:
                self._port.unwatch(self)
            self._protocol.resume_writing()  # which may write again, and close
        if self._is_closing and not self._is_sole and self.get_write_buffer_size() == 0:
            self.on_over(None)

    def _hold_writer(self) -> None:
        if not self._is_writing_paused and self.get_write_buffer_size() > self._high:
            self._is_writing_paused = True
            self._port.watch(self)
            self._protocol.pause_writing()

    # Handing over, from the loop and not from the middle of what the port does

    def _schedule_delivery(self) -> None:
        if self._is_started and not self._is_delivery_due:
            self._is_delivery_due = True
            self._port.loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        """A protocol that raises loses its connection, and the loop's exception handler hears of it."""
        self._is_delivery_due = False
        is_well = False
        try:
            self._hand_over()
            is_well = True
        finally:
            if not is_well and not self._is_lost:
                self.abort()

    def _hand_over(self) -> None:
        if self._is_over and self._is_writing_paused:
            self._is_writing_paused = False
            self._protocol.resume_writing()
        if self._arrived and not self._is_reading_paused:
            octets = b"".join(self._arrived)
            self._arrived.clear()
            self._feed(octets)
        if self._arrived:
            return  # paused, perhaps just now: the end waits behind what has yet to be read
        if self._is_eof_due and not self._is_closing and not self._is_reading_paused:
            self._is_eof_due = False
            protocol = self._protocol
            assert isinstance(protocol, asyncio.Protocol | asyncio.BufferedProtocol)
            if not protocol.eof_received():
                self.close()
        if self._is_over and not self._is_lost and not (self._is_eof_due and not self._is_closing):
            self._is_lost = self._is_closing = True
            self._protocol.connection_lost(self._error)

    def _feed(self, octets: bytes) -> None:
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(octets)
            return
        left = memoryview(octets)
        while left:
            buffer = memoryview(protocol.get_buffer(len(left)))
            if not buffer:
                raise RuntimeError("get_buffer() returned an empty buffer")
            count = min(len(buffer), len(left))
            buffer[:count] = left[:count]
            left = left[count:]
            protocol.buffer_updated(count)
