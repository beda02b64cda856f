"""Assembler: what goes into the next packet, in priority order, and the books about it.

ACK, CONNECTION_CLOSE, HELLO, flow control and other single frames, lost stream octets, new ones; a PING where a packet
must ask for an acknowledgement and has nothing that does.
"""

from typing import ClassVar

from rudp_smtp.ack.tracker import AckTracker
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.trace import PacketSent
from rudp_smtp.transport import StreamWritable
from rudp_smtp.transport.rudp.ack_frequency import IMMEDIATE_ACK
from rudp_smtp.transport.rudp.mtu import WORTH_DATAGRAMS
from rudp_smtp.transport.rudp.opening import first_flight
from rudp_smtp.transport.rudp.outbox import Carried, Outbox
from rudp_smtp.transport.rudp.parts import Parts
from rudp_smtp.transport.rudp.schedule import SentRange
from rudp_smtp.transport.rudp.state import ENDING, OPEN, SHAKING_HANDS
from rudp_smtp.wire.frames import AckFrame, PingFrame, StreamFrame, stream_frame_overhead
from rudp_smtp.wire.packet import (
    INITIAL_HEADER_SIZE,
    SHORT_HEADER_SIZE,
    TRAILER_SIZE,
    encode_initial_header,
    encode_short_header,
    encode_stream_packet,
    seal,
)

ACK_RANGES_SENT = 32  # per ACK: each is repeated in that many and more
ACK_RANGE_SIZE_MAX = 16  # octets: two integers; an ACK's other fields take less than two ranges do
CONTROL_SPACE = 64  # octets that any single frame from an outbox fits into
STREAM_SPACE = 32  # below this a further STREAM frame is not worth its header
STREAM_OVERHEAD_MAX = stream_frame_overhead(1 << 32, has_length=True)
PING = PingFrame().encode()


class SentAck(Carried):
    """An ACK frame: once it arrived, what it reported need not be reported again."""

    __slots__ = ("_acks", "_largest")

    is_repeatable: ClassVar[bool] = False

    def __init__(self, acks: AckTracker, largest: int) -> None:
        self._acks = acks
        self._largest = largest

    def on_acked(self) -> None:
        self._acks.on_ack_acked(self._largest)

    def on_lost(self) -> None:
        return


class Assembler:
    """Owns the packet number and the probes that are due."""

    __slots__ = (
        "_ack_frequency",
        "_acks",
        "_copies",
        "_handshake",
        "_is_held",
        "_lifecycle",
        "_machine",
        "_marking",
        "_marks",
        "_mtu",
        "_outbox",
        "_packet_number",
        "_paths",
        "_probe_from",
        "_probes_due",
        "_recovery",
        "_schedule",
        "_skips",
        "_stats",
        "_streams",
        "_vantage",
        "pacing_deadline",
    )

    def __init__(self, parts: Parts) -> None:
        self._handshake = parts.handshake
        self._lifecycle = parts.lifecycle
        self._machine = parts.lifecycle.machine
        self._streams = parts.streams
        self._schedule = parts.streams.schedule
        self._outbox = parts.outbox
        self._recovery = parts.recovery
        self._acks = parts.acks
        self._ack_frequency = parts.ack_frequency
        self._paths = parts.path.paths
        self._mtu = parts.path.mtu
        self._marks = parts.path.marks
        self._marking = parts.path.marking
        self._skips = parts.path.skips
        self._copies = parts.copies
        self._stats = parts.stats
        self._vantage = parts.vantage
        self._packet_number = 0
        self._is_held = False  # new octets wait until the window has room for a probe larger than they are
        self._probes_due = 0
        self._probe_from = 0
        self.pacing_deadline: int | None = None  # when what waits may leave

    def probe(self, count: int) -> None:
        """Send ack-eliciting packets whatever the window says (RFC 9002 section 6.2.4)."""
        self._probes_due = count
        self._probe_from = 0

    def next_datagram(self, now: int) -> bytes | None:
        """The next packet, if anything may leave now."""
        self.pacing_deadline = None
        self._recovery.is_muted = False
        if self._copies is not None:
            self._copies.revive(now)
            self.pacing_deadline = self._copies.deadline
        state = self._machine.state
        if state in OPEN:
            paths, mtu = self._paths, self._mtu
            if paths.is_due or paths.is_restricted or mtu.is_busy or self._probes_due:
                return self._next_unusual_packet(now)
            return self._next_packet(now, mtu.size - SHORT_HEADER_SIZE - TRAILER_SIZE)
        if state in SHAKING_HANDS:
            return self._next_handshake_packet(now)
        if state in ENDING:
            return self._next_close(now)
        return None

    def _next_unusual_packet(self, now: int) -> bytes | None:
        """Where a path is asked about, proves itself, or may carry another size."""
        paths, mtu, is_probe = self._paths, self._mtu, self._probes_due > 0
        if paths.is_due and (datagram := self._next_path_datagram(now)) is not None:
            return datagram
        size = mtu.size_of(self._packet_number, is_probe)
        if paths.is_restricted:
            size = min(size, paths.spare_allowance)
            if size < 2 * CONTROL_SPACE:
                self._recovery.is_muted = True
                return None
        elif mtu.probe_time <= now and not is_probe and self._is_bulk():
            if self._recovery.fits(mtu.probe_size, now):
                return self._next_mtu_probe(now)
            self._is_held = mtu.probe_size * 2 <= self._recovery.congestion.congestion_window
        datagram = self._next_packet(now, size - SHORT_HEADER_SIZE - TRAILER_SIZE)
        self._is_held = False
        return datagram

    def _next_packet(self, now: int, space: int) -> bytes | None:
        """A packet with `space` octets for its frames."""
        is_probe = self._probes_due > 0
        if is_probe:
            self._revive_oldest()
        schedule, handshake = self._schedule, self._handshake
        if (
            schedule.fresh
            or schedule.urgent
            or self._outbox.waiting
            or handshake.outbox.waiting
            or handshake.is_confirmation_due
        ):
            may_send = is_probe or self._may_send(now)
        else:
            may_send = is_probe
            if self._recovery.tracks_delivery and not is_probe:
                self._recovery.on_application_limited(now)
        acks = self._acks
        ack_deadline = acks.ack_deadline
        if not may_send and (ack_deadline is None or ack_deadline > now):
            return None
        pieces: list[bytes] = []
        contents: list[Carried] = []
        if ack_deadline is not None:
            space -= self._add_ack(pieces, contents, space, now)
        acks_only = len(contents)
        tail: StreamFrame | None = None
        if may_send:
            if is_probe and self._ack_frequency.is_sparse:
                pieces.append(IMMEDIATE_ACK)
                space -= len(IMMEDIATE_ACK)
            if self._handshake.outbox.waiting:
                space -= self._add_controls(self._handshake.outbox, pieces, contents, space)
            if self._outbox.waiting:
                space -= self._add_controls(self._outbox, pieces, contents, space)
            tail = self._add_streams(pieces, contents, space)
        is_ack_eliciting = len(contents) > acks_only
        if not is_ack_eliciting:
            if self._wants_ping(is_probe, may_send, now):
                pieces.append(PING)
                is_ack_eliciting = True
            elif not pieces:  # what waited is no longer needed, or has no credit
                self._recovery.on_application_limited(now)
                return None
            else:
                self._stats.acks_sent += 1
        if ack_deadline is not None:
            acks.on_ack_sent(now, is_ack_eliciting)
        return self._send(self._encode(pieces, tail), contents, is_ack_eliciting, is_probe, now)

    def _may_send(self, now: int) -> bool:
        """Whether window and pacer let go what waits."""
        recovery = self._recovery
        if self._is_held and not self._schedule.urgent:
            return False
        if recovery.send_allowance(now) == 0:
            self.pacing_deadline = recovery.pacing_deadline(now)
            return False
        return True

    def _wants_ping(self, is_probe: bool, may_send: bool, now: int) -> bool:
        if is_probe or (may_send and self._handshake.is_confirmation_due):
            return True
        acks, recovery = self._acks, self._recovery
        if acks.ack_deadline is None or not acks.wants_ack_of_ack(recovery.rtt.smoothed_rtt, now):
            return False
        return recovery.send_allowance(now) > 0  # if not, what fills the window carries acknowledgements too

    # Packets of the handshake and of the end

    def _next_handshake_packet(self, now: int) -> bytes | None:
        handshake = self._handshake
        if handshake.is_client:
            if handshake.peer_id is None:
                return self._next_first_flight(now)
            return self._next_packet(now, self._mtu.size - SHORT_HEADER_SIZE - TRAILER_SIZE)
        space = min(self._mtu.size, handshake.allowance) - INITIAL_HEADER_SIZE - TRAILER_SIZE
        if space < 2 * CONTROL_SPACE:
            self._recovery.is_muted = True
            return None
        return self._next_packet(now, space)

    def _next_first_flight(self, now: int) -> bytes | None:
        """The client's HELLO, once more where a probe is due."""
        handshake = self._handshake
        is_probe = self._probes_due > 0
        if is_probe:
            handshake.outbox.add(handshake.hello)
        if not handshake.outbox.waiting:
            return None
        pieces, contents = first_flight(handshake, self._streams, self._stats)
        return self._send(self._encode(pieces, None), contents, True, is_probe, now)

    def _next_close(self, now: int) -> bytes | None:
        close = self._lifecycle.take_close(now)
        if close is None:
            return None
        pieces: list[bytes] = []
        contents: list[Carried] = []
        if self._acks.ack_ranges(1):
            self._add_ack(pieces, contents, self._mtu.size // 2, now)
            self._acks.on_ack_sent(now, is_ack_eliciting=False)
        pieces.append(close.encode())
        datagram = self._encode(pieces, None)
        handshake = self._handshake
        if not handshake.is_address_proven and len(datagram) > handshake.allowance:
            return None
        self._paths.target = self._paths.remote
        if self._paths.is_restricted and len(datagram) > self._paths.allowance:
            return None
        return self._send(datagram, contents, False, False, now)

    # Packets that ask whether a path works: their loss is no sign of congestion, and nothing in them is sent again

    def _next_path_datagram(self, now: int) -> bytes | None:
        due = self._paths.take(now)
        if due is None:
            return None
        return self._send_path_probe([frame.encode() for frame in due.frames], due.size, now)

    def _next_mtu_probe(self, now: int) -> bytes:
        """PING and PADDING (RFC 9000 section 14.4)."""
        self._mtu.on_probe_sent(self._packet_number)
        return self._send_path_probe([PING], self._mtu.probe_size, now)

    def _send_path_probe(self, pieces: list[bytes], size: int, now: int) -> bytes:
        padding = size - SHORT_HEADER_SIZE - TRAILER_SIZE - sum(map(len, pieces))
        if padding > 0:
            pieces.append(bytes(padding))
        return self._send(self._encode(pieces, None), [], True, False, now, is_path_probe=True)

    def _is_bulk(self) -> bool:
        """Whether so much waits that larger datagrams would pay."""
        worth = WORTH_DATAGRAMS * self._mtu.size
        return any(stream.written - stream.credit.used >= worth for _, _, stream in self._schedule.fresh)

    # What the pieces are

    def _encode(self, pieces: list[bytes], tail: StreamFrame | None) -> bytes:
        """The datagram: `pieces` are encoded frames, `tail` the last one, which needs no length."""
        handshake = self._handshake
        number = self._packet_number
        peer_id = handshake.peer_id
        if peer_id is not None and handshake.is_confirmed:
            if tail is not None:
                return encode_stream_packet(peer_id, number, b"".join(pieces), tail)
            return seal([encode_short_header(peer_id, number), *pieces])
        if tail is not None:
            pieces.append(tail.encode(has_length=False))
        destination = handshake.original_id if peer_id is None else peer_id
        return seal([encode_initial_header(destination, handshake.local_id, number), *pieces])

    def _add_ack(self, pieces: list[bytes], contents: list[Carried], space: int, now: int) -> int:
        acks = self._acks
        limit = space // ACK_RANGE_SIZE_MAX - 1  # seldom less than all
        ranges = acks.ack_ranges(limit if limit < ACK_RANGES_SENT else ACK_RANGES_SENT)
        octets = AckFrame(ranges, acks.ack_delay(now), self._marks.counts).encode()
        pieces.append(octets)
        contents.append(SentAck(acks, ranges[0][1] - 1))
        return len(octets)

    def _add_controls(self, outbox: Outbox, pieces: list[bytes], contents: list[Carried], space: int) -> int:
        used = 0
        while outbox.waiting and space - used >= CONTROL_SPACE:
            control = outbox.take()
            frame = control.frame()
            if frame is None:
                continue
            octets = frame.encode()
            pieces.append(octets)
            contents.append(control)
            used += len(octets)
        return used

    def _add_streams(self, pieces: list[bytes], contents: list[Carried], space: int) -> StreamFrame | None:
        """Fill the packet with ranges, one from each stream in turn; the last frame is handed back."""
        schedule = self._schedule
        tail: StreamFrame | None = None
        while space >= STREAM_SPACE and (schedule.fresh or schedule.urgent):
            taken = schedule.take(space)
            if taken is None:
                break
            if tail is not None:
                pieces.append(tail.encode())
            start, stream = taken.start, taken.stream
            octets = stream.octets(start, taken.stop)
            tail = StreamFrame(stream.stream_id, start, octets, taken.is_fin)
            contents.append(taken)
            space -= len(octets) + STREAM_OVERHEAD_MAX
            if taken.is_retransmission:
                self._stats.stream_bytes_retransmitted += len(octets)
            else:
                self._stats.stream_bytes_sent += len(octets)
                if stream.most_unsent and stream.became_writable():
                    self._streams.events.push(StreamWritable(stream.stream_id))
        if self._ack_frequency.is_sparse and tail is not None and space > 0 and not (schedule.fresh or schedule.urgent):
            pieces.append(IMMEDIATE_ACK)  # nothing follows that would bring an acknowledgement
        return tail

    def _revive_oldest(self) -> None:
        """Give a probe something to say: what the oldest unacknowledged packet said.

        RFC 9002 section 6.2.4 would rather send new data. But what is most likely missing is the oldest, and to send
        it saves the round trip in which an answer to new data would prove the loss.
        """
        self._schedule.is_repairing = True
        self._revive(self._probe_from)
        if not self._has_urgent:  # all are revived already: what is that old may be said twice
            self._revive(0)

    def _revive(self, first: int) -> None:
        for packet in self._recovery.sent.outstanding.values():
            if self._has_urgent:
                return
            if packet.is_ack_eliciting and packet.packet_number >= first:
                self._probe_from = packet.packet_number + 1
                assert isinstance(packet.contents, list)
                for carried in packet.contents:
                    carried.on_lost()

    @property
    def _has_urgent(self) -> bool:
        return bool(self._schedule.urgent or self._outbox.waiting or self._handshake.outbox.waiting)

    # The books

    def _send(
        self,
        datagram: bytes,
        contents: list[Carried],
        is_ack_eliciting: bool,
        is_probe: bool,
        now: int,
        *,
        is_path_probe: bool = False,
    ) -> bytes:
        number = self._packet_number
        self._packet_number = number + 1
        size = len(datagram)
        packet = SentPacket(number, now, size, is_ack_eliciting, is_ack_eliciting, contents, is_probe, is_path_probe)
        self._recovery.on_packet_sent(packet)
        if number + 1 == self._skips.upcoming:
            self._packet_number = self._skips.skip(self._mtu.size)
        if self._marking.is_testing:
            self._marking.on_packet_sent(number, now)
        if self._paths.is_restricted:
            self._paths.on_sent(size)
        handshake, stats = self._handshake, self._stats
        stats.packets_sent += 1
        stats.bytes_sent += size
        if not handshake.is_address_proven:
            handshake.on_unproven_sent(size)
        if is_ack_eliciting:
            self._lifecycle.on_ack_eliciting_sent(now)
            handshake.is_confirmation_due = False
            if self._copies is not None and self._copies.on_packet_sent(packet):
                stats.copies_sent += 1
        if is_probe:
            self._probes_due -= 1
            stats.probes_sent += 1
        if self._vantage.sink is not None:
            self._emit(packet, contents)
        return datagram

    def _emit(self, packet: SentPacket, contents: list[Carried]) -> None:
        vantage = self._vantage
        assert vantage.sink is not None
        ranges = [carried for carried in contents if isinstance(carried, SentRange)]
        vantage.sink.emit(
            PacketSent(
                time=packet.sent_time,
                host=vantage.host,
                connection=vantage.connection,
                packet_number=packet.packet_number,
                size=packet.size,
                is_ack_eliciting=packet.is_ack_eliciting,
                streams=tuple((r.stream.stream_id, r.start, r.stop - r.is_fin) for r in ranges),
                is_retransmission=any(r.is_retransmission for r in ranges),
                is_probe=packet.is_probe,
                is_path_probe=packet.is_path_probe,
            )
        )
