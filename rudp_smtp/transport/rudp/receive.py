"""Receiver: what each frame that arrived does."""

from collections.abc import Sequence
from typing import assert_never

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.transport import Established
from rudp_smtp.transport.rudp.parts import Parts
from rudp_smtp.wire.frames import (
    AckFrame,
    AckFrequencyFrame,
    ConnectionCloseFrame,
    DataBlockedFrame,
    Frame,
    HelloFrame,
    ImmediateAckFrame,
    MaxDataFrame,
    MaxStreamDataFrame,
    MaxStreamsFrame,
    PaddingFrame,
    PathChallengeFrame,
    PathResponseFrame,
    PingFrame,
    ResetStreamFrame,
    StopSendingFrame,
    StreamDataBlockedFrame,
    StreamFrame,
    StreamsBlockedFrame,
    TokenFrame,
)


class Receiver:
    """Owns nothing: hands each frame to the part it concerns. RemoteProtocolError says what a peer must not do."""

    __slots__ = (
        "_ack_frequency",
        "_acks",
        "_handshake",
        "_lifecycle",
        "_marking",
        "_mtu",
        "_paths",
        "_recovery",
        "_stats",
        "_streams",
    )

    def __init__(self, parts: Parts) -> None:
        self._handshake = parts.handshake
        self._lifecycle = parts.lifecycle
        self._streams = parts.streams
        self._recovery = parts.recovery
        self._acks = parts.acks
        self._ack_frequency = parts.ack_frequency
        self._paths = parts.path.paths
        self._mtu = parts.path.mtu
        self._marking = parts.path.marking
        self._stats = parts.stats

    def on_packet(self, frames: list[Frame], now: int) -> None:
        for frame in frames:
            self._on_frame(frame, now)
            if isinstance(frame, ConnectionCloseFrame):
                return

    def on_first_flight(self, frames: list[Frame], now: int) -> None:
        may_hold_data = isinstance(frames[0], TokenFrame)
        for frame in frames:
            self._on_first_flight_frame(frame, may_hold_data, now)
            if isinstance(frame, ConnectionCloseFrame):
                return

    def _on_frame(self, frame: Frame, now: int) -> None:
        match frame:
            case StreamFrame():
                self._streams.on_stream_frame(frame, self._recovery.rtt.smoothed_rtt, now)
            case AckFrame():
                self._on_ack(frame, now)
            case PaddingFrame() | PingFrame():
                pass
            case MaxDataFrame():
                self._streams.send_credit.raise_limit(frame.maximum)
            case MaxStreamDataFrame():
                self._streams.on_max_stream_data(frame)
            case MaxStreamsFrame():
                self._streams.on_max_streams(frame.maximum)
            case DataBlockedFrame():
                self._streams.on_data_blocked(frame)
            case StreamDataBlockedFrame():
                self._streams.on_stream_data_blocked(frame)
            case StreamsBlockedFrame():
                pass  # streams are admitted as others end, and a limit that was lost is repeated
            case ResetStreamFrame():
                self._streams.on_reset_stream(frame)
            case StopSendingFrame():
                self._streams.on_stop_sending(frame)
            case HelloFrame():
                self._on_hello(frame, now)
            case TokenFrame():
                self._handshake.on_new_token(frame.token, self._recovery.rtt.smoothed_rtt)
            case PathChallengeFrame():
                self._paths.on_challenge(frame.token)
            case PathResponseFrame():
                self._paths.on_response(frame.token, now)
            case AckFrequencyFrame():
                self._ack_frequency.on_frame(frame)
            case ImmediateAckFrame():
                self._acks.on_immediate_ack(now)
            case ConnectionCloseFrame():
                self._lifecycle.on_peer_closed(frame, now)
            case _:
                assert_never(frame)

    def _on_first_flight_frame(self, frame: Frame, may_hold_data: bool, now: int) -> None:
        """A frame of a client that does not know our limits, but by a ticket: it may name streams but not use them."""
        match frame:
            case StreamFrame():
                if self._handshake.is_early_data_taken:
                    self._streams.on_stream_frame(frame, self._recovery.rtt.smoothed_rtt, now)
                    return
                if (frame.offset or frame.data or frame.is_fin) and not may_hold_data:
                    raise RemoteProtocolError("data before HELLO", error_code=ErrorCode.PROTOCOL_VIOLATION)
                self._streams.on_announcement(frame.stream_id)
            case TokenFrame():
                pass  # read before any frame was
            case HelloFrame() | PaddingFrame() | PingFrame() | ConnectionCloseFrame():
                self._on_frame(frame, now)
            case _:
                name = type(frame).__name__
                raise RemoteProtocolError(f"{name} in a first flight", error_code=ErrorCode.PROTOCOL_VIOLATION)

    def on_confirmed(self, now: int) -> None:
        """The client knows our connection ID, so it is where it says, and the handshake is done, unless all is."""
        handshake = self._handshake
        handshake.on_confirmed()
        if self._lifecycle.is_ending:
            return
        assert handshake.peer_hello is not None
        self._complete_handshake(handshake.peer_hello, now)

    def _on_hello(self, hello: HelloFrame, now: int) -> None:
        if not self._handshake.on_hello(hello):
            return
        self._lifecycle.on_peer_limits(hello.max_idle_timeout, hello.max_ack_delay)
        if self._handshake.is_client:
            self._settle_early_data(hello)
        self._streams.on_hello(hello)
        self._ack_frequency.on_hello(hello)
        self._mtu.on_peer_limit(hello.max_datagram_size, now)
        if self._handshake.is_client:
            self._complete_handshake(hello, now)

    def _settle_early_data(self, hello: HelloFrame) -> None:
        early = self._handshake.early
        self._handshake.early = None
        if hello.is_early_data_taken:
            if early is None:
                raise RemoteProtocolError("no early data was sent", error_code=ErrorCode.TRANSPORT_PARAMETER_ERROR)
            early.check(hello)
        if early is not None:
            self._streams.settle_early(early.ranges, hello.is_early_data_taken)

    def _complete_handshake(self, hello: HelloFrame, now: int) -> None:
        self._recovery.set_handshake_complete(hello.max_ack_delay)
        self._lifecycle.on_peer_confirmed(now)
        self._marking.start(now)
        self._streams.events.push(Established())

    def _on_ack(self, frame: AckFrame, now: int) -> None:
        outcome = self._recovery.on_ack_received(frame.ranges, frame.ack_delay, now)
        self._stats.packets_acked += len(outcome.acked)
        self._on_acked(outcome.acked)
        if outcome.spurious:
            self._stats.packets_spurious += len(outcome.spurious)
            self._on_acked(outcome.spurious)
        if self._mtu.is_active:
            self._mtu.on_acked(outcome.acked, now)
        if outcome.lost:
            self.on_lost(outcome.lost, now)
        if self._marking.is_judging:
            self._marking.on_ack(frame, outcome, now)
        self._streams.collect()
        self._ack_frequency.on_ack_received()

    def on_lost(self, lost: Sequence[SentPacket], now: int) -> None:
        """What was in lost packets is sent again, if it still matters."""
        self._stats.packets_lost += len(lost)
        if self._mtu.is_active:
            self._mtu.on_lost(lost, now)
        for packet in lost:
            assert isinstance(packet.contents, list)
            for carried in packet.contents:
                carried.on_lost()

    def _on_acked(self, acked: Sequence[SentPacket]) -> None:
        for packet in acked:
            assert isinstance(packet.contents, list)
            for carried in packet.contents:
                carried.on_acked()
