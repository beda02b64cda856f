"""Streams: the set of them, who may open how many, and what frames do to them (RFC 9000 s2, s3, s4.6)."""

from rudp_smtp.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from rudp_smtp.transport import (
    StreamData,
    StreamOpened,
    StreamReset,
    StreamStopped,
    TransportStats,
)
from rudp_smtp.transport.rudp.config import TransportConfig
from rudp_smtp.transport.rudp.events import Events
from rudp_smtp.transport.rudp.flow import Blocked, MaxData, MaxStreamData, ReceiveCredit, SendCredit, WindowBudget
from rudp_smtp.transport.rudp.outbox import Control, Outbox
from rudp_smtp.transport.rudp.recv_stream import Pieces, RecvStream
from rudp_smtp.transport.rudp.schedule import EarlyRange, Schedule
from rudp_smtp.transport.rudp.send_stream import SendStream
from rudp_smtp.wire.fields import MAX_STREAM_COUNT
from rudp_smtp.wire.frames import (
    DataBlockedFrame,
    Frame,
    HelloFrame,
    MaxStreamDataFrame,
    MaxStreamsFrame,
    ResetStreamFrame,
    StopSendingFrame,
    StreamDataBlockedFrame,
    StreamFrame,
    StreamsBlockedFrame,
    stream_frame_overhead,
)

EARLY_OVERHEAD = stream_frame_overhead(0, has_length=True)
STREAMS_BLOCKED_HELD_MAX = 1 << 16  # streams our side may open beyond what the peer lets us


class StreamControl(Control):
    """RESET_STREAM or STOP_SENDING: sent until acknowledged or no longer needed."""

    __slots__ = ("_frame", "_stream")

    def __init__(self, outbox: Outbox, stream: "Stream", frame: ResetStreamFrame | StopSendingFrame) -> None:
        super().__init__(outbox)
        self._stream = stream
        self._frame = frame

    def frame(self) -> Frame | None:
        if isinstance(self._frame, ResetStreamFrame):
            return None if self._stream.sending.is_over else self._frame
        return None if self._stream.receiving.is_over else self._frame

    def on_acked(self) -> None:
        if isinstance(self._frame, ResetStreamFrame) and self._stream.sending.on_reset_acked():
            self._stream.streams.retire(self._stream.stream_id)


class MaxStreams(Control):
    __slots__ = ("_streams",)

    def __init__(self, outbox: Outbox, streams: "Streams") -> None:
        super().__init__(outbox)
        self._streams = streams

    def frame(self) -> Frame | None:
        return MaxStreamsFrame(self._streams.renew_remote_limit())


class StreamsBlocked(Control):
    __slots__ = ("_streams", "_told")

    def __init__(self, outbox: Outbox, streams: "Streams") -> None:
        super().__init__(outbox)
        self._streams = streams
        self._told = -1

    def frame(self) -> Frame | None:
        limit = self._streams.blocked_at
        if limit is None or limit == self._told:
            return None
        self._told = limit
        return StreamsBlockedFrame(limit)

    def on_lost(self) -> None:
        self._told = -1
        super().on_lost()


class Stream:
    """Both halves of a stream, and what waits until the peer's limit lets the stream be opened."""

    __slots__ = ("held", "is_paused", "is_wanted", "max_stream_data", "receiving", "sending", "stream_id", "streams")

    def __init__(self, streams: "Streams", sending: SendStream, receiving: RecvStream, control: MaxStreamData) -> None:
        self.streams = streams
        self.stream_id = sending.stream_id
        self.sending = sending
        self.receiving = receiving
        self.max_stream_data = control
        self.is_wanted = True  # False: the application no longer reads (STOP_SENDING)
        self.is_paused = False  # the application reads later: what it gets until then is not consumed
        self.held: list[StreamControl] = []


class Streams:
    """Owns the streams, the limits on their number, and the connection's credit."""

    __slots__ = (
        "_by_id",
        "_local_limit",
        "_local_opened",
        "_max_data",
        "_max_streams",
        "_outbox",
        "_own_bit",
        "_peer_stream_credit",
        "_pieces",
        "_remote_limit",
        "_remote_opened",
        "_remote_retired",
        "_stats",
        "_streams_blocked",
        "_streams_max",
        "_window",
        "_window_max",
        "events",
        "receive_credit",
        "schedule",
        "send_credit",
    )

    def __init__(
        self,
        config: TransportConfig,
        is_client: bool,
        outbox: Outbox,
        events: Events,
        stats: TransportStats,
        *,
        budget: WindowBudget,
    ) -> None:
        self.events = events
        self.send_credit = SendCredit()
        self.receive_credit = ReceiveCredit(config.first_connection_window, config.connection_window, budget)
        self.schedule = Schedule(self.send_credit, outbox)
        self._pieces = Pieces(self.receive_credit)
        self._by_id: dict[int, Stream] = {}
        self._own_bit = 0 if is_client else 1  # of a stream ID: who opened it (s2.1)
        self._outbox = outbox
        self._stats = stats
        self._window = config.first_stream_window
        self._window_max = config.stream_window
        self._peer_stream_credit = 0
        self._local_opened = 0
        self._local_limit = 0  # the peer's word
        self._streams_max = config.max_streams
        self._remote_opened = 0
        self._remote_retired = 0
        self._remote_limit = config.max_streams  # as announced
        self._max_data = MaxData(outbox, self.receive_credit)
        self._max_streams = MaxStreams(outbox, self)
        self._streams_blocked = StreamsBlocked(outbox, self)

    # Commands

    def open(self) -> int:
        if self._local_opened - self._local_limit >= STREAMS_BLOCKED_HELD_MAX:
            raise LocalProtocolError(f"{self._local_opened} streams are open; the peer allows {self._local_limit}")
        stream = self._make(self._local_opened << 2 | self._own_bit)
        self._local_opened += 1
        if self._may_send(stream.stream_id):
            self._admit(stream)
        else:
            self._outbox.add(self._streams_blocked)
        return stream.stream_id

    def send(self, stream_id: int, data: bytes, is_fin: bool, is_replay_safe: bool = False) -> None:
        sending = self._opened(stream_id).sending
        if sending.is_stopped:
            return  # the application is about to hear of it
        sending.write(data, is_fin)
        if is_replay_safe:
            sending.on_replay_safe(len(data))
        if self._may_send(stream_id):
            self.schedule.add(sending)

    def unsent(self, stream_id: int) -> int:
        stream = self._by_id.get(stream_id)
        return 0 if stream is None else stream.sending.unsent

    def reset(self, stream_id: int, error_code: int) -> None:
        self._reset(self._opened(stream_id), error_code)

    def stop_sending(self, stream_id: int, error_code: int) -> None:
        stream = self._opened(stream_id)
        stream.is_wanted = False
        if not stream.receiving.is_size_known:  # s3.5: of no use once the final size is known
            self._queue(stream, StreamControl(self._outbox, stream, StopSendingFrame(stream_id, error_code)))

    def pause(self, stream_id: int) -> None:
        stream = self._by_id.get(stream_id)
        if stream is not None:
            stream.is_paused = True

    def resume(self, stream_id: int) -> None:
        stream = self._by_id.get(stream_id)
        if stream is None or not stream.is_paused:
            return
        stream.is_paused = False
        self._release(stream)

    # What rides in a client's first flight

    def take_early(self, limits: HelloFrame, space: int) -> list[EarlyRange]:
        """Claim what `space` octets of frames may carry under remembered limits: streams' replay-safe beginnings."""
        ranges: list[EarlyRange] = []
        for stream_id in self.local_ids(limits.initial_max_streams):
            sending = self._by_id[stream_id].sending
            room = min(space - EARLY_OVERHEAD, limits.initial_max_data - self.send_credit.used)
            if room <= 0:
                break
            if sending.is_reset or not sending.replay_safe:
                continue
            start, stop = sending.take_early(room, limits.initial_max_stream_data)
            taken = EarlyRange(self.schedule, sending, start, stop, False)
            ranges.append(taken)
            space -= EARLY_OVERHEAD + taken.size
            self.send_credit.used += taken.size
            self._stats.stream_bytes_sent += taken.size
        return ranges

    def settle_early(self, ranges: list[EarlyRange], is_taken: bool) -> None:
        """The server has taken these octets, or they are as if never sent."""
        for sent in ranges:
            if is_taken:
                sent.on_taken()
            elif not sent.stream.is_reset:  # if so, the final size holds them, whether they arrived or not (s4.5)
                sent.stream.take_back()
                self.send_credit.used -= sent.size
                self._stats.stream_bytes_sent -= sent.size
                self._stats.stream_bytes_retransmitted += sent.size
        self.collect()

    # What the peer said

    def on_hello(self, hello: HelloFrame) -> None:
        """Take the peer's first limits."""
        self.send_credit.raise_limit(hello.initial_max_data)
        self._peer_stream_credit = hello.initial_max_stream_data
        for stream in self._by_id.values():
            self._raise_limit(
                stream, hello.initial_max_stream_data
            )  # the peer's streams may have come before its HELLO
        self.on_max_streams(hello.initial_max_streams)

    def on_stream_frame(self, frame: StreamFrame, smoothed_rtt: int, now: int) -> None:
        stream = self._by_id.get(frame.stream_id) or self._accept(frame.stream_id)
        if stream is None:
            return
        receiving = stream.receiving
        before = receiving.credit.received
        octets = receiving.on_data(frame.offset, frame.data, frame.is_fin)
        if receiving.credit.received > before:
            self.receive_credit.on_received(receiving.credit.received - before)
        if octets is None:
            if stream.is_paused:
                return
            if receiving.credit.on_held_up():
                self._outbox.add(stream.max_stream_data)
                self._make_room_beside(receiving.credit)
            if self.receive_credit.on_held_up():
                self._outbox.add(self._max_data)
            return
        if octets:
            size = len(octets)
            if stream.is_paused:
                receiving.credit.withheld += size
                self.receive_credit.withheld += size
            else:
                self._consume(stream, size, smoothed_rtt, now)
            if stream.is_wanted:
                self._stats.stream_bytes_delivered += size
        if stream.is_wanted:
            self.events.push(StreamData(stream.stream_id, octets, receiving.is_delivered))
        if receiving.is_size_known:
            stream.max_stream_data.is_needed = False
            self.retire(stream.stream_id)

    def _consume(self, stream: Stream, size: int, smoothed_rtt: int, now: int) -> None:
        credit = stream.receiving.credit
        if credit.on_consumed(size) and not stream.max_stream_data.is_waiting:
            credit.tune(smoothed_rtt, now)
            self._outbox.add(stream.max_stream_data)
            self._make_room_beside(credit)
        if self.receive_credit.on_consumed(size) and not self._max_data.is_waiting:
            self.receive_credit.tune(smoothed_rtt, now)
            self._outbox.add(self._max_data)

    def _release(self, stream: Stream) -> None:
        """The application has read, or never will, what it was handed while it had paused."""
        credit = stream.receiving.credit
        size = credit.withheld
        if not size:
            return
        if credit.release(size):
            self._outbox.add(stream.max_stream_data)
        if self.receive_credit.release(size):
            self._outbox.add(self._max_data)

    def on_reset_stream(self, frame: ResetStreamFrame) -> None:
        stream = self._by_id.get(frame.stream_id) or self._accept(frame.stream_id)
        if stream is None:
            return
        receiving = stream.receiving
        before = receiving.credit.received
        is_change = receiving.on_reset(frame.final_size)
        self.receive_credit.on_received(receiving.credit.received - before)
        if not is_change:
            return
        self._release(stream)
        if self.receive_credit.on_consumed(frame.final_size - receiving.credit.consumed):  # s4.5
            self._outbox.add(self._max_data)
        stream.max_stream_data.is_needed = False
        self.events.push(StreamReset(stream.stream_id, frame.error_code))
        self.retire(stream.stream_id)

    def on_stop_sending(self, frame: StopSendingFrame) -> None:
        stream = self._by_id.get(frame.stream_id) or self._accept(frame.stream_id)
        if stream is not None and self._reset(stream, frame.error_code):  # s3.5
            stream.sending.is_stopped = True
            self.events.push(StreamStopped(stream.stream_id, frame.error_code))

    def on_max_stream_data(self, frame: MaxStreamDataFrame) -> None:
        stream = self._by_id.get(frame.stream_id) or self._accept(frame.stream_id)
        if stream is not None:
            self._raise_limit(stream, frame.maximum)

    def on_data_blocked(self, frame: DataBlockedFrame) -> None:
        if self.receive_credit.on_blocked(frame.limit):
            self._outbox.add(self._max_data)

    def on_stream_data_blocked(self, frame: StreamDataBlockedFrame) -> None:
        stream = self._by_id.get(frame.stream_id) or self._accept(frame.stream_id)
        if stream is None or stream.is_paused:
            return
        if stream.receiving.credit.on_blocked(frame.limit):
            self._outbox.add(stream.max_stream_data)
            self._make_room_beside(stream.receiving.credit)

    def _make_room_beside(self, credit: ReceiveCredit) -> None:
        """Keep the connection's window above each stream's, so that one stream's losses do not hold up the others."""
        if self.receive_credit.grow_to(credit.window + credit.window // 2):
            self._outbox.add(self._max_data)

    def on_max_streams(self, maximum: int) -> None:
        first = self._local_limit
        if maximum <= first:
            return
        self._local_limit = maximum
        for index in range(first, min(maximum, self._local_opened)):
            stream = self._by_id.get(index << 2 | self._own_bit)
            if stream is not None:
                self._admit(stream)
        if self.blocked_at is not None:
            self._outbox.add(self._streams_blocked)

    def on_announcement(self, stream_id: int) -> None:
        """Open a stream the peer named before it could know our limit; it repeats what we leave out here."""
        if stream_id >> 2 < self._remote_limit and stream_id not in self._by_id:
            self._accept(stream_id)

    # What our packets' fate means

    def collect(self) -> None:
        """Let go of the streams that were acknowledged to their end."""
        finished = self.schedule.finished
        while finished:
            self.retire(finished.pop())

    def retire(self, stream_id: int) -> None:
        """Forget a stream once both its halves are over, which lets the peer open another one."""
        stream = self._by_id.get(stream_id)
        if stream is None or not stream.sending.is_over or not stream.receiving.is_over:
            return
        self._release(stream)
        del self._by_id[stream_id]
        stream.sending.blocked.is_needed = False
        if stream_id & 1 != self._own_bit:
            self._remote_retired += 1
            if (self._remote_limit - self._remote_retired) * 2 <= self._streams_max:
                self._outbox.add(self._max_streams)

    # What others ask

    @property
    def is_flushed(self) -> bool:
        """Everything written is acknowledged, but for what was given up before the peer could hear of it."""
        return all(
            stream.sending.is_flushed or (stream.sending.is_reset and not self._may_send(stream.stream_id))
            for stream in self._by_id.values()
        )

    @property
    def blocked_at(self) -> int | None:
        """The limit on streams that holds one of ours back."""
        return self._local_limit if 0 < self._local_limit < self._local_opened else None

    def local_ids(self, limit: int) -> list[int]:
        """The first streams our side opened."""
        return [index << 2 | self._own_bit for index in range(min(limit, self._local_opened))]

    def renew_remote_limit(self) -> int:
        """The new limit on the peer's streams, which is announced with this."""
        self._remote_limit = min(self._remote_retired + self._streams_max, MAX_STREAM_COUNT)
        return self._remote_limit

    def _opened(self, stream_id: int) -> Stream:
        stream = self._by_id.get(stream_id)
        if stream is None:
            raise LocalProtocolError(f"stream {stream_id} is not open")
        return stream

    def _raise_limit(self, stream: Stream, limit: int) -> None:
        if stream.sending.credit.raise_limit(limit) and self._may_send(stream.stream_id):
            self.schedule.add(stream.sending)

    def _may_send(self, stream_id: int) -> bool:
        return stream_id & 1 != self._own_bit or stream_id >> 2 < self._local_limit

    def _make(self, stream_id: int) -> Stream:
        send_credit = SendCredit(self._peer_stream_credit)
        receive_credit = ReceiveCredit(self._window, self._window_max)
        sending = SendStream(stream_id, send_credit, Blocked(self._outbox, send_credit, stream_id))
        receiving = RecvStream(stream_id, receive_credit, self._pieces)
        stream = Stream(self, sending, receiving, MaxStreamData(self._outbox, stream_id, receive_credit))
        self._by_id[stream_id] = stream
        return stream

    def _admit(self, stream: Stream) -> None:
        """The peer's limit allows a stream of ours: let what waited go, or at least its name."""
        for control in stream.held:
            self._outbox.add(control)
        stream.held.clear()
        stream.sending.is_announcement_due = not stream.sending.is_reset and not stream.sending.next_offset
        self.schedule.add(stream.sending)

    def _queue(self, stream: Stream, control: StreamControl) -> None:
        if self._may_send(stream.stream_id):
            self._outbox.add(control)
        else:
            stream.held.append(control)

    def _reset(self, stream: Stream, error_code: int) -> bool:
        if not stream.sending.reset():
            return False
        frame = ResetStreamFrame(stream.stream_id, error_code, stream.sending.credit.used)
        self._queue(stream, StreamControl(self._outbox, stream, frame))
        return True

    def _accept(self, stream_id: int) -> Stream | None:
        """Open the peer's stream, and those below it (s3.2); None when it is over already."""
        index = stream_id >> 2
        if stream_id & 1 == self._own_bit:
            if stream_id & 2 or index >= self._local_opened:
                raise RemoteProtocolError(f"no stream {stream_id}", error_code=ErrorCode.STREAM_STATE_ERROR)
            return None
        if stream_id & 2 or index >= self._remote_limit:  # s2.1: of unidirectional streams we allow none
            raise RemoteProtocolError(f"stream {stream_id} is too many", error_code=ErrorCode.STREAM_LIMIT_ERROR)
        while self._remote_opened <= index:
            stream = self._make(self._remote_opened << 2 | stream_id & 1)
            self._remote_opened += 1
            self.events.push(StreamOpened(stream.stream_id))
        return self._by_id.get(stream_id)
