"""ArqConnection: what the protocols share. Opening and closing, which kind of frame goes next, statistics and facts.

Opening: SYN, SYN_ACK, and an acknowledgement of nothing (Kurose and Ross, section 3.5.6). Closing: CLOSE is a segment
behind all others, so when it is acknowledged everything was delivered. Its receiver lingers, to acknowledge it again.
What asks for an answer is repeated by the same timer, until the peer has been silent for too long.
"""

from collections import deque

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.machine import Machine
from rudp_smtp.trace import VantagePoint
from rudp_smtp.transport import Address, Closed, Established, TransportStats, require_error_code
from rudp_smtp.transport.arq.books import ArqBooks, Outgoing
from rudp_smtp.transport.arq.frame import (
    ACK,
    DATA,
    RESET,
    SYN,
    SYN_ACK,
    Frame,
    decode_reset,
    encode_frame,
    encode_reset,
)
from rudp_smtp.transport.arq.parameters import ArqParameters
from rudp_smtp.transport.arq.protocol import DUPLICATE, WANTED
from rudp_smtp.transport.arq.segments import IncomingSegments, OutgoingSegments
from rudp_smtp.transport.arq.state import (
    CLOSED,
    ESTABLISHED,
    LINGERING,
    OVER,
    SYN_RECEIVED,
    SYN_SENT,
    TRANSITIONS,
    Input,
)
from rudp_smtp.transport.round_robin import RoundRobinConnection
from rudp_smtp.units import SECOND

RESETS_MAX = 3  # a RESET is said this often, and again to whoever has not heard it


class ArqConnection(RoundRobinConnection):
    """Owns a sender, a receiver and the streams they carry."""

    __slots__ = (
        "_acks",
        "_books",
        "_has_sent_since_receipt",
        "_idle_since",
        "_incoming",
        "_is_line_awaited",
        "_is_request_due",
        "_last_ack",
        "_line_free_at",
        "_linger_deadline",
        "_outgoing",
        "_parameters",
        "_receiver",
        "_request_number",
        "_request_sent_time",
        "_requests",
        "_reset",
        "_sender",
        "_timer",
        "connection_id",
        "is_client",
        "machine",
    )

    def __init__(
        self,
        parameters: ArqParameters,
        *,
        connection_id: int,
        remote: Address,
        is_client: bool,
        vantage: VantagePoint,
        awake: deque["ArqConnection"],
        now: int,
    ) -> None:
        super().__init__(remote=remote, vantage=vantage, awake=awake)
        self.connection_id = connection_id
        self.is_client = is_client
        self.machine = Machine(TRANSITIONS, SYN_SENT if is_client else SYN_RECEIVED)
        self._parameters = parameters
        self._timer = timer = parameters.make_timer()
        self._books = books = ArqBooks(vantage, timer.rtt, parameters.window_frames * parameters.segment_size)
        self._outgoing = OutgoingSegments(
            segment_size=parameters.segment_size, is_client=is_client, events=self.events, stats=books.stats
        )
        self._incoming = IncomingSegments(self._outgoing, self.events, books.stats)
        self._sender = parameters.sender(self._outgoing, timer, books)
        self._receiver = parameters.receiver()
        self._acks: deque[int] = deque()  # to be said
        self._last_ack = parameters.mask  # the number before the first: nothing came yet
        self._line_free_at = 0
        self._is_line_awaited = False
        self._is_request_due = True  # SYN, the server's SYN_ACK, or RESET: due now, how often said, and when last
        self._requests = 0
        self._request_sent_time = 0
        self._request_number = 0
        self._idle_since = now
        self._has_sent_since_receipt = False
        self._linger_deadline = 0
        self._reset = b""  # what the RESET says, if one is to be said
        books.on_state(self.machine.state.value, now)
        self.wake()

    # Commands

    def open_stream(self) -> int:
        self._require_not_left()
        self.wake()
        return self._outgoing.open()

    def send(self, stream_id: int, data: bytes, fin: bool = False, *, is_replay_safe: bool = False) -> None:
        """Queue octets. Nothing leaves before the handshake is complete, so it is no matter which are replay-safe."""
        self._require_not_left()
        if self.machine.state not in OVER:  # else the end is on its way to the application
            self._outgoing.send(stream_id, data, fin)
            self.wake()

    def unsent_bytes(self, stream_id: int) -> int:
        return self._outgoing.unsent(stream_id)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        self._require_not_left()
        require_error_code(error_code)
        self._outgoing.reset(stream_id, error_code)
        self.wake()

    def stop_sending(self, stream_id: int, error_code: int) -> None:
        self._require_not_left()
        require_error_code(error_code)
        if not self._incoming.has_ended(stream_id):
            self._outgoing.stop(stream_id, error_code)
            self._incoming.stop(stream_id)
            self.wake()

    def close(self, now: int) -> None:
        if not self._is_left and self.machine.state not in OVER:
            self._outgoing.close()
            self.wake()
        self._is_left = True

    def reset(self, error_code: int, reason: str, now: int) -> None:
        require_error_code(error_code)
        self._is_left = True
        if self.machine.state not in OVER:
            self._abort("local", error_code, reason, now)

    @property
    def stats(self) -> TransportStats:
        return self._books.summary()

    @property
    def is_gone(self) -> bool:
        return self.machine.state is CLOSED

    @property
    def is_half_open(self) -> bool:
        return self.machine.state is SYN_RECEIVED

    # Input

    def receive(self, frame: Frame, size: int, now: int) -> None:
        """Take a sound frame that came in a datagram of `size` octets."""
        if self.machine.state is CLOSED:  # and the endpoint has not yet had the time to forget it
            self._books.on_dropped(size, "unknown_connection_id", now)
            return
        self.wake()
        self._idle_since = now
        self._has_sent_since_receipt = False
        kind, _, number, ack, payload = frame
        if kind == RESET:
            self._books.on_received(size, now)
            self._on_reset(payload, now)
            return
        state = self.machine.state
        if state is LINGERING:
            self._on_late_frame(kind, number, size, now)
            return
        if state is not ESTABLISHED and not self._shake_hands(kind, size, now):
            return
        if kind in (DATA, ACK) and max(number, ack) > self._parameters.mask:
            self._books.on_dropped(size, "frame_encoding_error", now)
            self._abort("protocol_error", ErrorCode.FRAME_ENCODING_ERROR, "a number wider than was agreed on", now)
        elif kind == DATA:
            self._on_data(number, ack, payload, size, now)
        elif kind == ACK:
            self._books.on_received(size, now)
            self._sender.on_ack(ack, now)
        else:
            self._books.on_dropped(size, "duplicate", now)
            if kind == SYN_ACK and not self._acks:  # the server has not heard that we know
                self._acks.append(self._last_ack)
        if self._books.is_all_acked and self.machine.state is ESTABLISHED:
            self._finish(Input.ALL_ACKED, Closed("local", 0, ""), now)

    def handle_timeout(self, now: int) -> None:
        if self.machine.state is CLOSED:
            return
        if self.machine.state is LINGERING:
            if now >= self._linger_deadline:
                self._finish(Input.LINGERED, None, now)
            else:
                self._is_request_due = bool(self._reset)
            return
        if now >= self._idle_since + self._parameters.max_idle_timeout:
            # Everything was acknowledged but our goodbye: the peer has had its time to hear it.
            cause = "local" if self._books.is_all_acked_but_close else "idle_timeout"
            self._finish(Input.SILENCE, Closed(cause, 0, ""), now)
        elif self.machine.state is not ESTABLISHED:
            if self._requests and now >= self._request_sent_time + self._timer.timeout:
                self._timer.on_expired(self._request_sent_time, now)
                self._books.on_lost(self._request_number, now)
                self._is_request_due = True
        else:
            deadline = self._sender.next_timeout()
            if deadline is not None and deadline <= now:
                self._sender.handle_timeout(now)

    # Outputs, besides events

    def next_datagram(self, now: int) -> bytes | None:
        state = self.machine.state
        if state is ESTABLISHED:
            if now >= self._line_free_at:
                self._is_line_awaited = False
                outgoing = self._sender.next_frame()
                if outgoing is not None:
                    return self._send_data(outgoing, now)
            else:
                self._is_line_awaited = True
        elif state is CLOSED:
            return None
        elif self._is_request_due:
            return self._next_request(now)
        return self._send_ack(now) if self._acks else None

    def next_timeout(self) -> int | None:
        state = self.machine.state
        if state is CLOSED:
            return None
        if state is LINGERING:
            if self._reset and self._requests < RESETS_MAX:
                return min(self._request_sent_time + self._timer.timeout, self._linger_deadline)
            return self._linger_deadline
        deadline = self._idle_since + self._parameters.max_idle_timeout
        if state is not ESTABLISHED:
            return min(deadline, self._request_sent_time + self._timer.timeout)
        due = self._sender.next_timeout()
        if due is not None and due < deadline:
            deadline = due
        if self._is_line_awaited and self._line_free_at < deadline:
            deadline = self._line_free_at
        return deadline

    # Opening

    def _next_request(self, now: int) -> bytes:
        """What asks for an answer before there is data, or ends it all."""
        self._is_request_due = False
        parameters = self._parameters
        if self._reset:
            datagram = encode_frame(RESET, self.connection_id, 0, 0, self._reset)
        else:
            kind = SYN if self.is_client else SYN_ACK
            name = parameters.name.encode()
            datagram = encode_frame(kind, self.connection_id, parameters.sequence_bits, parameters.window_frames, name)
            self._on_request_sent(now)
        self._requests += 1
        self._request_sent_time = now
        self._request_number = self._books.stats.packets_sent
        self._books.on_sent(len(datagram), now, is_ack_eliciting=not self._reset)
        self._occupy_line(len(datagram), now)
        return datagram

    def _shake_hands(self, kind: int, size: int, now: int) -> bool:
        """True when this frame completes the handshake and there is more to it."""
        if self.is_client and kind == SYN_ACK:
            self._books.on_received(size, now)
            self._confirm(now)
            self._acks.append(self._last_ack)
        elif not self.is_client and kind == SYN:
            if self._requests:
                self._books.on_dropped(size, "duplicate", now)
            else:
                self._books.on_received(size, now)
            self._is_request_due = True
        elif not self.is_client and kind in (DATA, ACK) and self._requests:
            self._confirm(now)
            return True
        else:
            self._books.on_dropped(size, "no_handshake", now)
        return False

    def _confirm(self, now: int) -> None:
        self._timer.on_acked(self._request_sent_time, self._requests, now)
        self._advance(Input.CONFIRMED, now)
        self._is_request_due = False
        self.events.append(Established())

    # Data

    def _on_data(self, number: int, ack: int, payload: bytes, size: int, now: int) -> None:
        self._sender.on_ack(ack, now)
        receiver = self._receiver
        arrival = receiver.judge(number)
        if arrival is WANTED:
            self._books.on_received(size, now)
            turn = receiver.take(number, payload)
        else:
            self._books.on_dropped(size, "duplicate" if arrival is DUPLICATE else "out_of_order", now)
            turn = ()
        acknowledgement = receiver.acknowledgement(number, arrival)
        if acknowledgement is not None:
            self._acks.append(acknowledgement)
        try:
            for octets in turn:
                if self._incoming.take(octets):
                    cause = "local" if self._is_left else "peer"
                    self._linger_deadline = now + self._parameters.max_idle_timeout
                    self._finish(Input.PEER_CLOSED, Closed(cause, 0, ""), now)
                    return
        except RemoteProtocolError as error:
            self._abort("protocol_error", error.error_code, str(error), now)

    def _send_data(self, frame: Outgoing, now: int) -> bytes:
        if self._acks:
            self._last_ack = self._acks.popleft()
        parameters = self._parameters
        number = frame.index & parameters.mask
        datagram = encode_frame(DATA, self.connection_id, number, self._last_ack, frame.segment.payload)
        self._books.on_frame_sent(frame, len(datagram), now)
        self._on_request_sent(now)
        self._occupy_line(len(datagram), now)
        return datagram

    def _send_ack(self, now: int) -> bytes:
        self._last_ack = self._acks.popleft()
        self._books.stats.acks_sent += 1
        datagram = encode_frame(ACK, self.connection_id, 0, self._last_ack)
        self._books.on_sent(len(datagram), now, is_ack_eliciting=False)
        self._occupy_line(len(datagram), now)
        return datagram

    def _occupy_line(self, size: int, now: int) -> None:
        """Only data waits until the line is free, but all that leaves takes its time on it."""
        rate = self._parameters.line_rate
        if rate is not None:
            self._line_free_at = max(now, self._line_free_at) - (-size * 8 * SECOND // rate)

    def _on_request_sent(self, now: int) -> None:
        """RFC 9000 section 10.1: the first since something arrived gives the peer the whole time-out to answer."""
        if not self._has_sent_since_receipt:
            self._has_sent_since_receipt = True
            self._idle_since = now

    # Ending

    def _abort(self, cause: str, error_code: int, reason: str, now: int) -> None:
        self._reset = encode_reset(error_code, reason)
        self._is_request_due = True
        self._requests = 0
        self._request_sent_time = now
        self._linger_deadline = now + self._parameters.max_idle_timeout
        self._acks.clear()
        self._finish(Input.RESET, Closed(cause, error_code, reason), now)

    def _on_reset(self, payload: bytes, now: int) -> None:
        if self.machine.state is LINGERING:
            self._finish(Input.PEER_RESET, None, now)
            return
        error_code, reason = decode_reset(payload)
        self._finish(Input.PEER_RESET, Closed("peer", error_code, reason), now)

    def _on_late_frame(self, kind: int, number: int, size: int, now: int) -> None:
        """The peer does not know that it is over: say it again."""
        self._linger_deadline = now + self._parameters.max_idle_timeout
        self._books.on_dropped(size, "duplicate", now)
        if self._reset:
            self._is_request_due = True
        elif kind == DATA:
            acknowledgement = self._receiver.acknowledgement(number, self._receiver.judge(number))
            if acknowledgement is not None:
                self._acks.append(acknowledgement)

    def _finish(self, given: Input, end: Closed | None, now: int) -> None:
        """Take a last transition. Of a connection that never was, a server's application has not heard."""
        is_known = self.is_client or self.machine.state is not SYN_RECEIVED
        self._advance(given, now)
        if end is not None and is_known:
            self.events.append(end)
        self.wake()

    def _advance(self, given: Input, now: int) -> None:
        self.machine.advance(given)
        self._books.on_state(self.machine.state.value, now)
