"""KcpConnection and KcpEndpoint: KCP (its own C code) with what it leaves to its user.

KCP repeats and orders messages between two hosts that agree on a conversation number. It has no handshake, no streams,
no end and no integrity check; so each datagram here begins with a CRC-32 of the rest, and each message, one to a
segment, with a kind and a stream ID (`_RECORD`):

    HELLO   a client's first; the server takes the conversation for established, the client when the server is heard
    OPEN    a stream begins
    DATA    octets of a stream;  LAST: the same, and there will be no more
    RESET   the sender gives a stream up;  STOP: the receiver does: an error code follows
    CLOSE   behind everything else; the connection is over when it is acknowledged

KCP does not wait for an answer before it sends data: neither does the adapter, so data rides with HELLO. A connection
that is given up says so once, and again to whoever has not heard it, in a datagram with a command KCP does not know
(`_GIVE_UP`). A connection that is over goes on acknowledging for a while, as its peer may not know yet.

KCP's clock ticks every `interval` from the connection's beginning on. Ticks that would find nothing to do are left out,
which changes nothing but the time it takes to simulate them. The binding's `update_check` reads the computer's clock
and is not used.

What is sent again is read from the segments KCP hands over; what it takes for lost and why, it does not tell.
"""

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

from kcp.exceptions import KCPException
from kcp.extension import KCP

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.trace import Sink, VantagePoint
from rudp_smtp.transport import Address, Closed, Established
from rudp_smtp.transport.books import Range
from rudp_smtp.transport.peers.connection import PeerConnection
from rudp_smtp.transport.round_robin import CONNECTIONS_MAX, RoundRobinEndpoint
from rudp_smtp.units import MILLISECOND

if TYPE_CHECKING:
    from rudp_smtp.transport.peers.kcp import Kcp

STREAMS_MAX = 1 << 16  # that a peer may open

_CHECK = Struct("<I")
_SEGMENT = Struct("<IBBHIIII")  # ikcp.c: conv, cmd, frg, wnd, ts, sn, una, len
_PUSH, _ACK, _ASK_WINDOW, _TELL_WINDOW, _GIVE_UP = 81, 82, 83, 84, 85
_RECORD = Struct("<BI")
_CODE = Struct("<Q")
_HELLO, _OPEN, _DATA, _LAST, _RESET, _STOP, _CLOSE = range(7)
_CONVERSATION_MAX = 0x7FFF_FFFF  # the binding takes a signed int
_MILLISECONDS = 0xFFFF_FFFF  # KCP's clock
_REASON_MAX = 256
UNTOLD = frozenset({"packets_spurious", "packets_lost", "probes_sent"})


class KcpConnection(PeerConnection):
    def __init__(
        self,
        parameters: "Kcp",
        *,
        conversation: int,
        remote: Address,
        is_client: bool,
        vantage: VantagePoint,
        awake: "deque[KcpConnection]",
        now: int,
    ) -> None:
        super().__init__(remote=remote, is_client=is_client, vantage=vantage, untold=UNTOLD, awake=awake)
        self.conversation = conversation
        self._kcp = KCP(
            conversation,
            max_transmission=parameters.datagram_size - _CHECK.size,
            no_delay=parameters.value("nodelay"),
            update_interval=parameters.value("interval") // MILLISECOND,
            resend_count=parameters.value("resend"),
            no_congestion_control=parameters.value("nc"),
            send_window_size=parameters.value("send_window"),
            receive_window_size=parameters.value("receive_window"),
        )
        self._kcp.include_outbound_handler(lambda _, data: self._ready.append(data))
        self._ready: deque[bytes] = deque()  # handed over by KCP, to leave at once
        self._payload_max = parameters.datagram_size - _CHECK.size - _SEGMENT.size - _RECORD.size
        self._segments_max = 2 * parameters.value("send_window")  # in KCP at a time: what a whole window may ask for
        self._is_eager = parameters.eager_flush
        self._interval = parameters.value("interval")
        self._max_idle_timeout = parameters.max_idle_timeout
        self._origin = now - now % MILLISECOND
        self._tick_at: int | None = now  # None: nothing to do at the next
        self._opened = 0  # streams, by the peer
        self._is_owing = False  # KCP has something to answer
        self._is_eager_due = False
        self._queue: deque[bytes] = deque()  # records that KCP has not taken yet
        self._ended: set[int] = set()  # streams whose last record KCP has taken
        self._next_number = 0  # of the first segment that has not left
        self._offsets: dict[int, int] = {}  # how many octets of a stream have left
        self._idle_since = now
        self._has_sent_since_receipt = False
        self._is_established = False
        self._is_close_queued = False
        self._farewell: bytes | None = None  # said to whoever goes on after a connection was given up
        self._is_past = False
        if is_client:
            self._queue.append(_RECORD.pack(_HELLO, 0))
            self.wake()

    # Commands

    def _open(self, stream_id: int) -> None:
        self._queue.append(_RECORD.pack(_OPEN, stream_id))

    def _write(self, stream_id: int, data: bytes, fin: bool) -> None:
        size = self._payload_max
        pieces = [data[start : start + size] for start in range(0, len(data), size)] or [b""]
        for piece in pieces[:-1]:
            self._queue.append(_RECORD.pack(_DATA, stream_id) + piece)
        if pieces[-1] or fin:
            self._queue.append(_RECORD.pack(_LAST if fin else _DATA, stream_id) + pieces[-1])

    def _reset_stream(self, stream_id: int, error_code: int) -> None:
        if stream_id in self._ended:
            return
        given_up = {_RECORD.pack(_DATA, stream_id), _RECORD.pack(_LAST, stream_id)}
        self._queue = deque(record for record in self._queue if record[: _RECORD.size] not in given_up)
        self._queue.append(_RECORD.pack(_RESET, stream_id) + _CODE.pack(error_code))

    def _stop_sending(self, stream_id: int, error_code: int) -> None:
        self._queue.append(_RECORD.pack(_STOP, stream_id) + _CODE.pack(error_code))

    def _reset(self, error_code: int, reason: str) -> None:
        header = _SEGMENT.pack(self.conversation, _GIVE_UP, 0, 0, 0, 0, 0, 0)
        self._farewell = header + _CODE.pack(error_code) + reason.encode()[:_REASON_MAX]
        self._queue.clear()
        self._ready.clear()
        self._ready.append(self._farewell)

    # Inputs

    def receive(self, data: bytes, now: int) -> None:
        """Octets whose checksum and conversation are right."""
        self.wake()
        self._idle_since, self._has_sent_since_receipt = now, False
        if data[4] == _GIVE_UP:
            self._on_given_up(data)
            return
        if self._farewell is not None:
            self._ready.append(self._farewell)
            return
        if self._is_eager:
            self._kcp.update(now // MILLISECOND & _MILLISECONDS)
        try:
            self._kcp.receive(data)
        except KCPException:
            self.books.on_dropped(len(data) + _CHECK.size, "header_parse_error", now)
            return
        self.books.on_received(len(data) + _CHECK.size, now)
        if self.is_client:
            self._establish()
        if any(command in (_PUSH, _ASK_WINDOW) for command, *_ in _segments(data)):
            self._is_owing = True
        self._is_eager_due = self._is_eager
        while self._kcp.next_packet_available:
            record = bytes(self._kcp.get_received())
            if not self._is_over:
                self._take(record)
        if self._is_close_queued and not self._is_over and not self._queue and not self._kcp.get_outbound_packets():
            self._is_past = True  # the peer has heard CLOSE, and all before it
            self.end(Closed("local", ErrorCode.NO_ERROR, ""))

    def handle_timeout(self, now: int) -> None:
        if now < self._idle_since + self._max_idle_timeout:
            return  # a tick: next_datagram sees to it
        self._is_past = True
        self.end(Closed("idle_timeout", 0, ""))

    # Outputs

    def next_datagram(self, now: int) -> bytes | None:
        if self._is_past:
            return None
        self._advance(now)
        if not self._ready:
            return None
        body = self._ready.popleft()
        if not self._has_sent_since_receipt:
            self._idle_since, self._has_sent_since_receipt = now, True
        self._note_sent(body, now)
        return _CHECK.pack(crc32(body)) + body

    def next_timeout(self) -> int | None:
        if self._is_past:
            return None
        idle_at = self._idle_since + self._max_idle_timeout
        return idle_at if self._tick_at is None else min(self._tick_at, idle_at)

    @property
    def is_gone(self) -> bool:
        return self._is_past

    # Inside

    def _advance(self, now: int) -> None:
        """Let KCP tick, or flush at once, if it is time."""
        if self._is_left and not self._is_over and not self._is_close_queued:
            self._is_close_queued = True
            self._queue.append(_RECORD.pack(_CLOSE, 0))
        is_tick = self._tick_at is not None and self._tick_at <= now
        is_eager = self._is_eager_due or (self._is_eager and bool(self._queue))
        if self._farewell is None and (is_tick or is_eager):
            self._is_eager_due = False
            self._flush(now)
        if self._tick_at is not None and self._tick_at > now:
            return
        is_busy = bool(self._queue) or self._kcp.get_outbound_packets() > 0
        if self._farewell is None and (self._is_owing or (is_busy and not self._is_over)):
            self._tick_at = self._origin + ((now - self._origin) // self._interval + 1) * self._interval
        else:
            self._tick_at = None

    def _flush(self, now: int) -> None:
        kcp = self._kcp
        while self._queue and kcp.get_outbound_packets() < self._segments_max:
            record = self._queue.popleft()
            kind, stream_id = _RECORD.unpack_from(record)
            if kind == _LAST:
                self._ended.add(stream_id)
            kcp.enqueue(record)
        kcp.update(now // MILLISECOND & _MILLISECONDS)
        if self._is_eager:
            kcp.flush()
        self._is_owing = False

    def _note_sent(self, body: bytes, now: int) -> None:
        streams: list[Range] = []
        is_again = False
        commands = set()
        for command, number, payload in _segments(body):
            commands.add(command)
            if command != _PUSH:
                continue
            kind, stream_id = _RECORD.unpack_from(payload)
            size = len(payload) - _RECORD.size
            if number < self._next_number:
                is_again = True
                if kind in (_DATA, _LAST):
                    self.stats.stream_bytes_retransmitted += size
                continue
            self._next_number = number + 1
            if kind in (_DATA, _LAST) and size:
                start = self._offsets.get(stream_id, 0)
                self._offsets[stream_id] = start + size
                self.on_range_sent(stream_id, start, start + size)
                streams.append((stream_id, start, start + size))
        self.stats.acks_sent += commands == {_ACK}
        is_eliciting = bool(commands & {_PUSH, _ASK_WINDOW})
        self.books.on_sent(
            len(body) + _CHECK.size,
            now,
            is_ack_eliciting=is_eliciting,
            is_retransmission=is_again,
            streams=tuple(streams),
        )

    def _establish(self) -> None:
        if not self._is_established and not self._is_over:
            self._is_established = True
            self.events.append(Established())

    def _on_given_up(self, data: bytes) -> None:
        self._is_past = True
        if len(data) >= _SEGMENT.size + _CODE.size:
            (code,) = _CODE.unpack_from(data, _SEGMENT.size)
            reason = data[_SEGMENT.size + _CODE.size :].decode(errors="replace")
            self.end(Closed("peer", code, reason))
        else:
            self.end(Closed("peer", 0, ""))

    def _take(self, record: bytes) -> None:
        """Obey a record of the peer's; one that makes no sense ends the connection."""
        try:
            self._obey(record)
        except RemoteProtocolError as error:
            self._is_left = True
            self._reset(ErrorCode.PROTOCOL_VIOLATION, str(error))
            self.end(Closed("protocol_error", ErrorCode.PROTOCOL_VIOLATION, str(error)))

    def _obey(self, record: bytes) -> None:
        if len(record) < _RECORD.size:
            raise RemoteProtocolError("a record without its header")
        kind, stream_id = _RECORD.unpack_from(record)
        octets = record[_RECORD.size :]
        if kind == _HELLO:
            self._establish()
        elif kind == _CLOSE:
            self.end(Closed("local" if self._is_left else "peer", ErrorCode.NO_ERROR, ""))
        elif kind == _OPEN:
            if self.is_ours(stream_id) or self.is_known(stream_id):
                raise RemoteProtocolError(f"the peer cannot open stream {stream_id}")
            if self._opened == STREAMS_MAX:
                raise RemoteProtocolError("too many streams")
            self._opened += 1
            self.on_opened(stream_id)
        elif not self.is_known(stream_id):
            raise RemoteProtocolError(f"there is no stream {stream_id}")
        elif kind == _STOP and len(octets) == _CODE.size:
            self.on_stopped(stream_id, *_CODE.unpack(octets))
        elif self.has_ended(stream_id):
            raise RemoteProtocolError(f"stream {stream_id} had ended")
        elif kind in (_DATA, _LAST):
            self.on_stream_data(stream_id, octets, kind == _LAST)
        elif kind == _RESET and len(octets) == _CODE.size:
            self.on_reset(stream_id, *_CODE.unpack(octets))
        else:
            raise RemoteProtocolError(f"a record of kind {kind} and {len(octets)} octets")


class KcpEndpoint(RoundRobinEndpoint[KcpConnection]):
    """A conversation's number, and the host it is with, say which connection a datagram belongs to."""

    def __init__(self, parameters: "Kcp", *, host: str, accepts: bool, draws: DrawKey, sink: Sink | None) -> None:
        super().__init__(host=host, sink=sink)
        self._parameters = parameters
        self._accepts = accepts
        self._draws = draws
        self._draw_count = 0
        self._by_conversation: dict[tuple[Address, int], KcpConnection] = {}

    def connect(self, remote: Address, now: int) -> KcpConnection:
        """Under a number that this host and the other do not use, nor did lately: there are few for a draw."""
        while True:
            conversation = self._draws.below(self._draw_count, _CONVERSATION_MAX) + 1
            self._draw_count += 1
            if (remote, conversation) not in self._by_conversation and (remote, conversation) not in self._ended:
                return self._make(conversation, remote, now, is_client=True)

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        body = data[_CHECK.size :]
        if len(body) < _SEGMENT.size:
            self._drop(len(data), "header_parse_error", now)
            return
        if _CHECK.unpack_from(data)[0] != crc32(body):
            self._drop(len(data), "integrity_check_failed", now)
            return
        conversation, command = _SEGMENT.unpack_from(body)[:2]
        connection = self._by_conversation.get((remote, conversation))
        if connection is None:
            is_first = self._accepts and command == _PUSH and 0 < conversation <= _CONVERSATION_MAX
            if not is_first or (remote, conversation) in self._ended or len(self._connections) >= CONNECTIONS_MAX:
                self._drop(len(data), "unknown_connection_id", now)
                return
            connection = self._make(conversation, remote, now, is_client=False)
        connection.receive(body, now)

    def _make(self, conversation: int, remote: Address, now: int, *, is_client: bool) -> KcpConnection:
        connection = KcpConnection(
            self._parameters,
            conversation=conversation,
            remote=remote,
            is_client=is_client,
            vantage=self._vantage(),
            awake=self._awake,
            now=now,
        )
        self._connections[connection] = None
        self._by_conversation[remote, conversation] = connection
        return connection

    def _forget(self, connection: KcpConnection) -> None:
        key = connection.remote, connection.conversation
        del self._by_conversation[key]
        self._remember(key)


def _segments(body: bytes) -> list[tuple[int, int, bytes]]:
    """Command, number and payload of each segment in a datagram, as far as it makes sense."""
    found, place = [], 0
    while place + _SEGMENT.size <= len(body):
        _, command, _, _, _, number, _, size = _SEGMENT.unpack_from(body, place)
        place += _SEGMENT.size
        if place + size > len(body):
            break
        found.append((command, number, body[place : place + size]))
        place += size
    return found
