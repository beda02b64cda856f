"""SendStream: written octets -> ranges to send, acknowledged, lost (RFC 9000 s3.1; RFC 9293 s3.3.1 for the variables).

FIN counts as one octet behind the last, as TCP's does (RFC 9293 s3.4), so that it is sent, lost and acknowledged like
any other. It takes no room and no credit.
"""

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.machine import Machine
from rudp_smtp.ranges import RangeSet
from rudp_smtp.transport.rudp.flow import Blocked, SendCredit
from rudp_smtp.transport.rudp.state import SEND_OVER, SEND_RESET, SEND_TRANSITIONS, SendInput, SendState

# When at least this much waited, the application is told once three quarters of the most that waited have left.
WRITABLE_THRESHOLD = 64 * 1024


class SendStream:
    """Owns the octets from the first unacknowledged one on, and what is known of each."""

    __slots__ = (
        "_acked",
        "_base",
        "_buffer",
        "_end",
        "_lost",
        "_machine",
        "_next",
        "blocked",
        "credit",
        "is_announcement_due",
        "is_fresh",
        "is_stopped",
        "is_urgent",
        "most_unsent",
        "replay_safe",
        "stream_id",
        "turn",
        "written",
    )

    def __init__(self, stream_id: int, credit: SendCredit, blocked: Blocked) -> None:
        self.stream_id = stream_id
        self.credit = credit  # `used` is the highest octet ever sent
        self.blocked = blocked
        self.is_announcement_due = False  # the peer should hear of the stream although there is nothing to say on it
        self.is_urgent = False  # these three are Schedule's: whether the stream is in its queues, and which turn it has
        self.is_fresh = False
        self.turn = 0
        self.is_stopped = False  # the peer gave up reading
        self._machine = Machine(SEND_TRANSITIONS, SendState.OPEN)
        self._buffer = bytearray()  # octets from _base on
        self._base = 0  # everything below is acknowledged (SND.UNA)
        self._next = 0  # nothing from here on was ever sent (SND.NXT)
        self.written = 0
        self._end = 0  # `written`, and one more once FIN is
        self._acked = RangeSet()  # above _base
        self._lost = RangeSet()  # to be sent again
        self.most_unsent = 0  # since the application was last told that there is room; 0 if it need not be told
        self.replay_safe = 0  # everything below may ride in a first flight

    @property
    def is_over(self) -> bool:
        """The peer has acknowledged the end, one way or the other."""
        return self._machine.state in SEND_OVER

    @property
    def is_reset(self) -> bool:
        return self._machine.state in SEND_RESET

    @property
    def is_flushed(self) -> bool:
        """All that was written is acknowledged, FIN too."""
        return self._base == self._end and (not self.is_reset or self.is_over)

    @property
    def unsent(self) -> int:
        return self.written - self.credit.used

    @property
    def next_offset(self) -> int:
        return self._next

    @property
    def has_fresh(self) -> bool:
        """Octets never sent, and this stream's credit for them."""
        return self.credit.used < self.written and self.credit.used < self.credit.limit

    @property
    def has_urgent(self) -> bool:
        """Something that needs no credit: lost octets, a bare FIN, an announcement."""
        return bool(self._lost) or self._is_fin_bare or self.is_announcement_due

    @property
    def is_blocked(self) -> bool:
        return self.credit.used < self.written and self.credit.used >= self.credit.limit

    @property
    def _is_fin_bare(self) -> bool:
        return self._next == self.written < self._end

    def write(self, data: bytes, is_fin: bool) -> None:
        if self._machine.state is not SendState.OPEN:
            raise LocalProtocolError(f"stream {self.stream_id} takes no more: {self._machine.state.value}")
        self._buffer += data
        self.written += len(data)
        self._end = self.written
        if is_fin:
            self._machine.advance(SendInput.FIN)
            self._end += 1
        unsent = self.written - self.credit.used
        if unsent > self.most_unsent and unsent >= WRITABLE_THRESHOLD:
            self.most_unsent = unsent

    def on_replay_safe(self, size: int) -> None:
        """The `size` octets just written may be taken twice; that counts where all before them may as well."""
        if self.replay_safe >= self.written - size:
            self.replay_safe = self._end

    def take_early(self, room: int, limit: int) -> tuple[int, int]:
        """The range that a first flight may carry, before the peer's limits are known: the stream's first octets."""
        stop = min(room, limit, self.replay_safe)
        if stop == self.written < self.replay_safe:
            stop += 1
        self._next = stop
        self.credit.used = min(stop, self.written)
        return 0, stop

    def take_back(self) -> None:
        """The peer did not take what take_early gave: it was never sent."""
        assert not self.is_reset
        self._next = self.credit.used = 0

    def take_fresh(self, room: int, connection_credit: int) -> tuple[int, int]:
        """The next range never sent, at most `room` octets; the FIN goes with the last. It may be empty."""
        start = self._next
        written = self.written
        credit = self.credit
        stop = start + (room if room < connection_credit else connection_credit)
        if stop > credit.limit:
            stop = credit.limit
        if stop >= written:
            stop = self._end
            if written > credit.used:
                credit.used = written
        else:
            credit.used = stop
        self._next = stop
        self.is_announcement_due = False
        return start, stop

    def take_urgent(self, room: int) -> tuple[int, int] | None:
        """The lowest lost range, at most `room` octets of it, or what has_urgent names besides."""
        if self._lost:
            start, lost_stop = self._lost.first()
            stop = min(lost_stop, start + room)
            if stop == self.written < lost_stop:
                stop += 1
            if stop == lost_stop:
                self._lost.pop_first()
            else:
                self._lost.subtract(start, stop)
            return start, stop
        if self._is_fin_bare:
            return self.take_fresh(0, 0)
        if self.is_announcement_due:
            self.is_announcement_due = False
            if not self.has_fresh:
                return 0, 0
        return None

    def octets(self, start: int, stop: int) -> bytes:
        """The data of a range; none for the FIN."""
        base = self._base
        return bytes(self._buffer[start - base : stop - base])

    def became_writable(self) -> bool:
        """Say, once, that most of the `most_unsent` octets have left."""
        if (self.written - self.credit.used) * 4 > self.most_unsent:
            return False
        self.most_unsent = 0
        return True

    def on_range_acked(self, start: int, stop: int) -> bool:
        """Forget acknowledged octets; True when that was the last of the stream."""
        if stop <= self._base or self._machine.state in SEND_RESET:
            return False
        if start <= self._base:
            base = stop
            acked = self._acked
            while acked.starts and acked.starts[0] <= base:
                base = max(base, acked.pop_first()[1])
            del self._buffer[: base - self._base]
            self._base = base
        else:
            self._acked.add(start, stop)
        if self._lost.starts:
            self._lost.subtract(start, stop)
        return self._base > self.written and self._machine.advance(SendInput.ALL_ACKED)

    def on_range_lost(self, start: int, stop: int) -> None:
        if self.is_reset:
            return
        if start == stop:  # an announcement; any octet sent since announces too
            self.is_announcement_due = self._next == 0
            return
        start = max(start, self._base)
        if start < stop:
            for missing_start, missing_stop in self._acked.gaps(start, stop):
                self._lost.add(missing_start, missing_stop)

    def reset(self) -> bool:
        """Give up; False when there is nothing to give up any more."""
        if not self._machine.advance(SendInput.RESET):
            return False
        self._buffer.clear()
        self._acked = RangeSet()
        self._lost = RangeSet()
        self.written = self._end = self._next = self._base = self.credit.used
        self.most_unsent = 0
        self.is_announcement_due = False
        self.blocked.is_needed = False
        return True

    def on_reset_acked(self) -> bool:
        return self._machine.advance(SendInput.RESET_ACKED)
