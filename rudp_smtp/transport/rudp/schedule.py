"""Schedule: which stream sends next. Round robin; what needs no credit, lost octets above all, goes first."""

from collections import deque

from rudp_smtp.transport.rudp.flow import Blocked, SendCredit
from rudp_smtp.transport.rudp.outbox import Carried, Outbox
from rudp_smtp.transport.rudp.send_stream import SendStream
from rudp_smtp.wire.frames import stream_frame_overhead

OFFSET_SHORT_MAX = 0xFFFF_FFFF  # where a STREAM frame's header grows
STREAM_OVERHEAD = stream_frame_overhead(OFFSET_SHORT_MAX, has_length=False)
STREAM_OVERHEAD_LONG = stream_frame_overhead(OFFSET_SHORT_MAX + 1, has_length=False)


class SentRange(Carried):
    """Octets of a stream in a packet."""

    __slots__ = ("_schedule", "is_fin", "is_retransmission", "start", "stop", "stream")

    def __init__(
        self, schedule: "Schedule", stream: SendStream, start: int, stop: int, is_retransmission: bool
    ) -> None:
        self._schedule = schedule
        self.stream = stream
        self.start = start
        self.stop = stop
        self.is_fin = stop > stream.written  # FIN counts as an octet of the range
        self.is_retransmission = is_retransmission

    def on_acked(self) -> None:
        if self.stream.on_range_acked(self.start, self.stop):
            self._schedule.finished.append(self.stream.stream_id)

    def on_lost(self) -> None:
        self.stream.on_range_lost(self.start, self.stop)
        self._schedule.add(self.stream)


class Schedule:
    """Owns the two queues. A stream without anything to send is in neither, so an idle stream costs nothing."""

    __slots__ = ("_blocked", "_credit", "_outbox", "finished", "fresh", "urgent")

    def __init__(self, credit: SendCredit, outbox: Outbox) -> None:
        self._credit = credit  # the connection's
        self._outbox = outbox
        self._blocked = Blocked(outbox, credit)
        self.urgent: deque[SendStream] = deque()  # need no credit: lost octets, bare FINs, announcements
        self.fresh: deque[SendStream] = deque()  # octets never sent, for which the stream has credit
        self.finished: list[int] = []  # streams all of whose octets are acknowledged; their set collects them

    def add(self, stream: SendStream) -> None:
        """Queue a stream wherever it has something to send."""
        if not stream.is_urgent and stream.has_urgent:
            stream.is_urgent = True
            self.urgent.append(stream)
        if stream.has_fresh:
            if not stream.is_fresh:
                stream.is_fresh = True
                self.fresh.append(stream)
            if self._credit.used >= self._credit.limit:
                self._outbox.add(self._blocked)
        elif stream.is_blocked:
            self._outbox.add(stream.blocked)

    def take(self, space: int) -> SentRange | None:
        """The next range for a STREAM frame of at most `space` octets, header included.

        None also where only the connection's credit holds octets back.
        """
        if self.urgent:
            taken = self._take_urgent(space)
            if taken is not None:
                return taken
        fresh, credit = self.fresh, self._credit
        while fresh and credit.used < credit.limit:
            stream = fresh[0]
            used = stream.credit.used
            room = space - (STREAM_OVERHEAD if used <= OFFSET_SHORT_MAX else STREAM_OVERHEAD_LONG)
            start, stop = stream.take_fresh(room, credit.limit - credit.used)
            credit.used += stream.credit.used - used
            self._turn(stream)
            if start < stop:
                return SentRange(self, stream, start, stop, False)
        return None

    def _turn(self, stream: SendStream) -> None:
        """Put a stream that was served behind the others, or out."""
        fresh = self.fresh
        if stream.credit.used >= stream.written or stream.credit.used >= stream.credit.limit:
            fresh.popleft()
            stream.is_fresh = False
            if stream.is_blocked:
                self._outbox.add(stream.blocked)
        elif len(fresh) > 1:
            fresh.rotate(-1)
        if fresh and self._credit.used >= self._credit.limit:
            self._outbox.add(self._blocked)

    def _take_urgent(self, space: int) -> SentRange | None:
        urgent = self.urgent
        while urgent:
            stream = urgent.popleft()
            next_offset = stream.next_offset
            taken = stream.take_urgent(space - stream_frame_overhead(next_offset, has_length=False))
            if stream.has_urgent:
                urgent.append(stream)
            else:
                stream.is_urgent = False
            if taken is not None:
                start, stop = taken
                return SentRange(self, stream, start, stop, start < stop <= next_offset)
        return None
