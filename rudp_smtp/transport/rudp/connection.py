"""Connection: the public object. It holds the parts and the order of calls (RFC 9000 s5)."""

from collections import deque

from rudp_smtp.datagram import CE, NOT_ECT
from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ErrorCode, LocalProtocolError, PacketDecodeError, RemoteProtocolError
from rudp_smtp.trace import NO_NUMBER, PacketDropped, PacketReceived, VantagePoint
from rudp_smtp.transport import Address, Event, Transport, TransportStats, require_error_code
from rudp_smtp.transport.rudp.assemble import Assembler
from rudp_smtp.transport.rudp.config import TransportConfig
from rudp_smtp.transport.rudp.events import Events
from rudp_smtp.transport.rudp.flow import WindowBudget
from rudp_smtp.transport.rudp.handshake import Handshake
from rudp_smtp.transport.rudp.opening import take_stateless_answer
from rudp_smtp.transport.rudp.parts import make_parts
from rudp_smtp.transport.rudp.path import is_probing
from rudp_smtp.transport.rudp.receive import Receiver
from rudp_smtp.transport.rudp.state import CLOSED, ENDING, FLUSHING, OPEN, State
from rudp_smtp.wire.frames import ConnectionCloseFrame, is_ack_eliciting
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet, decode_packet

UNPROVEN_PACKETS_MAX = 64  # in flight to an address that repeats itself and proves nothing: more than time-outs ask for


class Connection:
    """Owns its parts. `awake` is the endpoint's queue of connections to drain: every input and command joins it."""

    __slots__ = (
        "_acks",
        "_awake",
        "_handshake",
        "_is_left",
        "_lifecycle",
        "_marks",
        "_mtu",
        "_parts",
        "_receiver",
        "_recovery",
        "_stats",
        "_streams",
        "_vantage",
        "alarm",
        "assembler",
        "deadline",
        "is_awake",
        "machine",
        "marking",
        "paths",
    )

    def __init__(
        self,
        config: TransportConfig,
        handshake: Handshake,
        *,
        remote: Address,
        draws: DrawKey,
        vantage: VantagePoint,
        events: deque[tuple[Transport, Event]],
        awake: deque["Connection"],
        budget: WindowBudget,
    ) -> None:
        self.is_awake = False  # these three are the endpoint's
        self.deadline: int | None = None
        self.alarm: int | None = None
        parts = make_parts(config, handshake, Events(events, self), vantage, remote=remote, draws=draws, budget=budget)
        self._parts = parts
        self._handshake = parts.handshake
        self._lifecycle = parts.lifecycle
        self.machine = parts.lifecycle.machine
        self._streams = parts.streams
        self._recovery = parts.recovery
        self._acks = parts.acks
        self._stats = parts.stats
        self.paths = parts.path.paths  # these two the endpoint reads
        self.marking = parts.path.marking
        self._marks = parts.path.marks
        self._mtu = parts.path.mtu
        self._vantage = vantage
        self._receiver = Receiver(parts)
        self.assembler = Assembler(parts)  # the endpoint pulls datagrams from it
        self._awake = awake
        self._is_left = False  # by our application: close or reset

    # Commands

    def start(self, now: int) -> None:
        self._lifecycle.start(now)
        self._wake()

    def open_stream(self) -> int:
        self._require_not_left()
        stream_id = self._streams.open()
        self._wake()
        return stream_id

    def send(self, stream_id: int, data: bytes, fin: bool = False, *, is_replay_safe: bool = False) -> None:
        """Queue octets. Nothing happens once the peer has ended the connection: Closed is on its way."""
        self._require_not_left()
        if not self._lifecycle.is_ending:
            self._streams.send(stream_id, data, fin, is_replay_safe)
            self._wake()

    def unsent_bytes(self, stream_id: int) -> int:
        return self._streams.unsent(stream_id)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        self._require_not_left()
        require_error_code(error_code)
        self._streams.reset(stream_id, error_code)
        self._wake()

    def stop_sending(self, stream_id: int, error_code: int) -> None:
        self._require_not_left()
        require_error_code(error_code)
        self._streams.stop_sending(stream_id, error_code)
        self._wake()

    def pause_reading(self, stream_id: int) -> None:
        self._streams.pause(stream_id)

    def resume_reading(self, stream_id: int) -> None:
        self._streams.resume(stream_id)
        self._wake()

    def close(self, now: int) -> None:
        self._is_left = True
        self._lifecycle.close(now)
        self._end_if_flushed(now)
        self._wake()

    def reset(self, error_code: int, reason: str, now: int) -> None:
        require_error_code(error_code)
        self._is_left = True
        self._lifecycle.abort(ConnectionCloseFrame(error_code, reason, True), "local", now)
        self._wake()

    @property
    def window_growth(self) -> int:
        """Octets of the endpoint's budget that are in this connection's window."""
        return self._streams.receive_credit.growth

    @property
    def vantage(self) -> VantagePoint:
        return self._vantage

    @property
    def stats(self) -> TransportStats:
        stats = self._stats
        rtt = self._recovery.rtt
        if rtt.has_sample:
            stats.smoothed_rtt = rtt.smoothed_rtt
            stats.min_rtt = rtt.min_rtt
        stats.congestion_window = self._recovery.congestion.congestion_window
        stats.datagram_size = self._mtu.size
        stats.packets_missing = max(self._acks.largest + 1 - stats.packets_received, 0)
        return stats

    @property
    def remote(self) -> Address:
        return self.paths.remote

    @property
    def state(self) -> State:
        return self.machine.state

    @property
    def is_half_open(self) -> bool:
        """A client's first flight arrived and nothing proves its address. That it was refused does not, either: what
        remembers the refusal is no less kept for a stranger."""
        return not self._handshake.is_address_proven

    @property
    def connection_id(self) -> int:
        """What the peer addresses its packets to."""
        return self._handshake.local_id

    # Inputs

    def receive_datagram(self, data: bytes, now: int, ecn: int = NOT_ECT) -> None:
        try:
            packet = decode_packet(data)
        except PacketDecodeError as error:
            self._drop(len(data), error.trigger, now)
            if error.error_code:  # intact, and nonsense: the peer itself is wrong
                self._abort(error, now)
                self._wake()
            return
        if self.paths.is_restricted:
            self.paths.on_received(len(data))
        self.receive_packet(packet, len(data), now, ecn)

    def receive_from_elsewhere(self, data: bytes, remote: Address, now: int, ecn: int) -> None:
        """Take a datagram that names us and is not from the peer's address: the peer may have moved (s9).

        Servers do not move; and before the handshake is done nobody does.
        """
        size = len(data)
        if self._handshake.is_client or self.machine.state not in OPEN:
            self._drop(size, "unknown_path", now)
            return
        try:
            packet = decode_packet(data)
        except PacketDecodeError as error:
            self._drop(size, error.trigger, now)  # whoever sent it need not be the peer: the connection goes on
            return
        if packet.kind != ONE_RTT:
            self._drop(size, "unknown_path", now)
            return
        received = self._acks.ack_ranges(1)
        is_newest = packet.packet_number >= received[0][1]
        self.paths.arrival = (remote, size)
        self.receive_packet(packet, size, now, ecn)
        self.paths.arrival = None
        if is_newest and self.machine.state in OPEN and not is_probing(packet.frames):
            self.paths.on_peer_moved(remote, size, now)

    def receive_packet(self, packet: Packet, size: int, now: int, ecn: int = NOT_ECT) -> None:
        """Take a packet that came in a datagram of `size` octets."""
        if not self.is_awake:
            self.is_awake = True
            self._awake.append(self)
        if packet.kind == INITIAL:
            if not self._handshake.accepts(packet):
                self._drop(size, "unexpected_source_connection_id", now)
                return
        elif self._handshake.peer_id is None:  # a server's first words are INITIAL; we could not even acknowledge this
            self._drop(size, "no_handshake", now)
            return
        if not self._acks.on_packet_received(
            packet.packet_number, is_ack_eliciting(packet.frames), size, self._recovery.rtt.smoothed_rtt, now
        ):
            self._stats.packets_duplicate += 1
            self._drop(size, "duplicate", now)
            return
        self._stats.packets_received += 1
        self._stats.bytes_received += size
        if ecn:
            self._on_mark(ecn, now)
        vantage = self._vantage
        if vantage.sink is not None:
            vantage.sink.emit(PacketReceived(now, vantage.host, vantage.connection, packet.packet_number, size))
        self._lifecycle.on_packet_received(now)
        if not self._handshake.is_confirmed:
            self._on_unconfirmed_packet(packet, size, now)
        try:
            if self.machine.state in ENDING:
                self._on_late_packet(packet, now)
            elif packet.kind == INITIAL and not self._handshake.is_client:
                self._receiver.on_first_flight(packet.frames, now)
            else:
                self._receiver.on_packet(packet.frames, now)
        except RemoteProtocolError as error:
            self._abort(error, now)
        if self.machine.state is FLUSHING:
            self._end_if_flushed(now)

    def receive_stateless_answer(self, data: bytes, now: int) -> None:
        """Take a RETRY or VERSION_NEGOTIATION, which come from a server that has no connection of ours."""
        self._wake()
        try:
            take_stateless_answer(self._parts, data, now)
        except PacketDecodeError as error:
            self._drop(len(data), error.trigger, now)
        else:
            self._stats.packets_received += 1
            self._stats.bytes_received += len(data)
            vantage = self._vantage
            if vantage.sink is not None:
                vantage.sink.emit(PacketReceived(now, vantage.host, vantage.connection, NO_NUMBER, len(data)))

    def handle_timeout(self, now: int) -> None:
        self._wake()
        self._lifecycle.handle_timeout(now)
        if self._lifecycle.is_ending:
            return
        outcome = self._recovery.on_timeout(now)
        if outcome.lost:
            self._receiver.on_lost(outcome.lost, now)
        paths = self.paths
        if paths.deadline is not None and paths.deadline <= now:
            paths.on_timeout(now)
        if self.marking.is_testing:
            self.marking.on_timeout(now)
        if outcome.probes:
            self.assembler.probe(outcome.probes)

    # Outputs, besides the assembler's next_datagram

    def next_timeout(self) -> int | None:
        deadline = self._recovery.next_timeout()
        path_deadline = self.paths.deadline
        if path_deadline is not None and (deadline is None or path_deadline < deadline):
            deadline = path_deadline
        if not self._recovery.is_muted:
            ack_deadline = self._acks.ack_deadline
            if ack_deadline is not None and (deadline is None or ack_deadline < deadline):
                deadline = ack_deadline
            pacing_deadline = self.assembler.pacing_deadline
            if pacing_deadline is not None and (deadline is None or pacing_deadline < deadline):
                deadline = pacing_deadline
        return self._lifecycle.next_timeout(deadline)

    # Steps

    def _on_mark(self, ecn: int, now: int) -> None:
        self._marks.on_packet_received(ecn)
        if ecn == CE and self._acks.ack_deadline is not None:
            self._acks.ack_deadline = now  # RFC 9000 section 13.2.1: the sender is to know at once

    def _on_unconfirmed_packet(self, packet: Packet, size: int, now: int) -> None:
        self._handshake.on_unproven_received(size)
        if packet.destination_connection_id == self._handshake.local_id:
            self._receiver.on_confirmed(now)
        elif 0 < self._recovery.sent.ack_eliciting_in_flight < UNPROVEN_PACKETS_MAX:
            self.assembler.probe(1)  # the client repeats itself: it may not have got our answer

    def _on_late_packet(self, packet: Packet, now: int) -> None:
        for frame in packet.frames:
            if isinstance(frame, ConnectionCloseFrame):
                if self.state is not CLOSED:
                    self._lifecycle.on_peer_closed(frame, now)
                return
        self._lifecycle.on_late_packet(now)

    def _end_if_flushed(self, now: int) -> None:
        if self.machine.state is FLUSHING and self._streams.is_flushed:
            self._lifecycle.on_flushed(now)

    def _abort(self, error: RemoteProtocolError, now: int) -> None:
        frame = ConnectionCloseFrame(error.error_code, str(error), False)
        self._lifecycle.abort(frame, "protocol_error", now)

    def _drop(self, size: int, trigger: str, now: int) -> None:
        self._stats.packets_dropped += 1
        sink = self._vantage.sink
        if sink is not None:
            sink.emit(PacketDropped(now, self._vantage.host, size, trigger))

    def _require_not_left(self) -> None:
        if self._is_left:
            raise LocalProtocolError("the connection was closed", error_code=ErrorCode.NO_ERROR)

    def _wake(self) -> None:
        if not self.is_awake:
            self.is_awake = True
            self._awake.append(self)
