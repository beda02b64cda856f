"""Schedule: which stream sends next. Round robin; what needs no credit, lost octets above all, goes first."""

from collections import deque

from rudp_smtp.transport.rudp.flow import Blocked, SendCredit
from rudp_smtp.transport.rudp.outbox import Carried, Outbox
from rudp_smtp.transport.rudp.send_stream import SendStream
from rudp_smtp.wire.frames import stream_frame_overhead


class SentRange(Carried):
    """Octets of a stream in a packet."""

    __slots__ = ("_schedule", "is_retransmission", "start", "stop", "stream")

    def __init__(
        self, schedule: "Schedule", stream: SendStream, start: int, stop: int, is_retransmission: bool
    ) -> None:
        self._schedule = schedule
        self.stream = stream
        self.start = start
        self.stop = stop
        self.is_retransmission = is_retransmission

    @property
    def is_fin(self) -> bool:
        return self.stream.is_fin_in(self.stop)

    def on_acked(self) -> None:
        if self.stream.on_range_acked(self.start, self.stop):
            self._schedule.finished.append(self.stream.stream_id)

    def on_lost(self) -> None:
        self.stream.on_range_lost(self.start, self.stop)
        self._schedule.add(self.stream)


class Schedule:
    """Owns the two queues. A stream without anything to send is in neither, so an idle stream costs nothing."""

    __slots__ = ("_blocked", "_credit", "_fresh", "_outbox", "_urgent", "finished")

    def __init__(self, credit: SendCredit, outbox: Outbox) -> None:
        self._credit = credit  # the connection's
        self._outbox = outbox
        self._blocked = Blocked(outbox, credit)
        self._urgent: deque[SendStream] = deque()
        self._fresh: deque[SendStream] = deque()
        self.finished: list[int] = []  # streams all of whose octets are acknowledged; their set collects them

    def add(self, stream: SendStream) -> None:
        """Queue a stream wherever it has something to send."""
        if not stream.is_urgent and stream.has_urgent:
            stream.is_urgent = True
            self._urgent.append(stream)
        if stream.has_fresh:
            if not stream.is_fresh:
                stream.is_fresh = True
                self._fresh.append(stream)
            if self._credit.used >= self._credit.limit:
                self._outbox.add(self._blocked)
        elif stream.is_blocked:
            self._outbox.add(stream.blocked)

    @property
    def has_urgent(self) -> bool:
        return bool(self._urgent)

    @property
    def has_any(self) -> bool:
        return bool(self._urgent) or (bool(self._fresh) and self._credit.used < self._credit.limit)

    def take(self, space: int) -> SentRange | None:
        """The next range for a STREAM frame of at most `space` octets, header included."""
        return self._take_urgent(space) if self._urgent else self._take_fresh(space)

    def _take_urgent(self, space: int) -> SentRange | None:
        urgent = self._urgent
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
        return self._take_fresh(space)

    def _take_fresh(self, space: int) -> SentRange | None:
        fresh, credit = self._fresh, self._credit
        while fresh and credit.used < credit.limit:
            stream = fresh[0]
            used = stream.credit.used
            taken = stream.take_fresh(space - stream_frame_overhead(used, has_length=False), credit.limit - credit.used)
            credit.used += stream.credit.used - used
            if not stream.has_fresh:
                fresh.popleft()
                stream.is_fresh = False
                if stream.is_blocked:
                    self._outbox.add(stream.blocked)
            elif len(fresh) > 1:
                fresh.rotate(-1)
            if fresh and credit.used >= credit.limit:
                self._outbox.add(self._blocked)
            if taken is not None:
                start, stop = taken
                return SentRange(self, stream, start, stop, False)
        return None
