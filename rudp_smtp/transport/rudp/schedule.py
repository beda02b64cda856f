"""Schedule: which stream sends next. Each gets an equal share of the octets that leave, whatever waits behind it.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): a stream's turn is the octets it has sent, counted from where the
others stood when it last had nothing to say. The least turn is served first, so a stream that says little is served at
once beside any number of full ones, and streams that always have something to say take turns packet by packet. What is
sent again counts like what is new: one stream's losses hold no other stream up.
"""

from heapq import heappop, heappush, heapreplace

from rudp_smtp.transport.rudp.flow import Blocked, SendCredit
from rudp_smtp.transport.rudp.outbox import Carried, Outbox
from rudp_smtp.transport.rudp.send_stream import SendStream
from rudp_smtp.wire.frames import StreamFrame, stream_frame_overhead

Entry = tuple[int, int, SendStream]  # its turn, what decides between equal ones, the stream
SERVED = 1 << 62  # added to the number of an entry that had its turn: it lets newcomers pass

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


class EarlyRange(SentRange):
    """A stream's first octets in a first flight. Not acknowledgements but the server's HELLO tells their fate."""

    __slots__ = ()

    def on_acked(self) -> None:
        return

    def on_lost(self) -> None:
        return

    def on_taken(self) -> None:
        super().on_acked()

    @property
    def size(self) -> int:
        """Octets, FIN being none."""
        return self.stop - self.is_fin

    def encode(self) -> bytes:
        stream = self.stream
        return StreamFrame(stream.stream_id, 0, stream.octets(0, self.stop), self.is_fin).encode()


class Schedule:
    """Owns the two queues, heaps by turn. A stream without anything to send is in neither, so it costs nothing.

    A stream's turn grows while its entry stays where it is; an entry that is behind is put right when it comes up.
    """

    __slots__ = ("_blocked", "_count", "_credit", "_outbox", "_turn", "finished", "fresh", "is_repairing", "urgent")

    def __init__(self, credit: SendCredit, outbox: Outbox) -> None:
        self._credit = credit  # the connection's
        self._outbox = outbox
        self._blocked = Blocked(outbox, credit)
        self._turn = 0  # of the stream served last
        self._count = 0  # of entries made: newcomers of one turn keep their order
        self.urgent: list[Entry] = []  # need no credit: lost octets, bare FINs, announcements
        self.fresh: list[Entry] = []  # octets never sent, for which the stream has credit
        self.is_repairing = False  # what is urgent goes before anything else, once
        self.finished: list[int] = []  # streams all of whose octets are acknowledged; their set collects them

    def add(self, stream: SendStream) -> None:
        """Queue a stream wherever it has something to send."""
        if not stream.is_urgent and stream.has_urgent:
            self._join(stream)
            stream.is_urgent = True
            heappush(self.urgent, (stream.turn, self._count, stream))
        if stream.has_fresh:
            if not stream.is_fresh:
                self._join(stream)
                stream.is_fresh = True
                heappush(self.fresh, (stream.turn, self._count, stream))
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
            stream = fresh[0][2] if len(fresh) == 1 else _first(fresh)
            self._turn = stream.turn
            used = stream.credit.used
            room = space - (STREAM_OVERHEAD if used <= OFFSET_SHORT_MAX else STREAM_OVERHEAD_LONG)
            start, stop = stream.take_fresh(room, credit.limit - credit.used)
            sent = stream.credit.used - used
            credit.used += sent
            stream.turn += sent
            self._settle(stream)
            if start < stop:
                return SentRange(self, stream, start, stop, False)
        return None

    def _join(self, stream: SendStream) -> None:
        """Let a stream that had nothing to say start where the others are: it is owed nothing for its silence."""
        self._count += 1
        if stream.turn < self._turn:
            stream.turn = self._turn

    def _settle(self, stream: SendStream) -> None:
        """Put the first fresh stream, which was served, out if it has no more."""
        fresh = self.fresh
        if stream.credit.used >= stream.written or stream.credit.used >= stream.credit.limit:
            heappop(fresh)
            stream.is_fresh = False
            if stream.is_blocked:
                self._outbox.add(stream.blocked)
        if fresh and self._credit.used >= self._credit.limit:
            self._outbox.add(self._blocked)

    def _take_urgent(self, space: int) -> SentRange | None:
        """From the first urgent stream, unless a fresh one is before it; a stream's own losses go before the rest."""
        urgent, fresh, credit = self.urgent, self.fresh, self._credit
        while urgent:
            stream = _first(urgent)
            if fresh and not self.is_repairing and credit.used < credit.limit and _first(fresh).turn < stream.turn:
                return None
            self._turn = stream.turn
            next_offset = stream.next_offset
            taken = stream.take_urgent(space - stream_frame_overhead(next_offset, has_length=False))
            if not stream.has_urgent:
                heappop(urgent)
                stream.is_urgent = False
            if taken is not None:
                start, stop = taken
                stream.turn += stop - start
                self.is_repairing = False
                return SentRange(self, stream, start, stop, start < stop <= next_offset)
        return None


def _first(queue: list[Entry]) -> SendStream:
    """The stream with the least turn, after putting entries right that are behind."""
    turn, _, stream = queue[0]
    while turn != stream.turn:
        heapreplace(queue, (stream.turn, queue[0][1] | SERVED, stream))
        turn, _, stream = queue[0]
    return stream
