"""Flow control: credit, for a stream and for a connection (RFC 9000 s4)."""

from rudp_smtp.errors import ErrorCode, RemoteProtocolError
from rudp_smtp.transport.rudp.outbox import Control, Outbox
from rudp_smtp.wire.frames import (
    DataBlockedFrame,
    Frame,
    MaxDataFrame,
    MaxStreamDataFrame,
    StreamDataBlockedFrame,
)

RENEWAL_DIVISOR = 4  # a limit is renewed once this part of the window is used, so three quarters can be in flight


class SendCredit:
    """Owns how much the peer lets us send, and how much of it is used. Both only grow."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.used = 0

    def raise_limit(self, limit: int) -> bool:
        """Take the peer's word; False when it is old news (s4.1: a smaller limit is ignored)."""
        if limit <= self.limit:
            return False
        self.limit = limit
        return True


class WindowBudget:
    """Owns the octets that the windows of all connections of an endpoint may still grow by, together.

    Peers that leave a hole and fill their window behind it hold its octets in our memory, as many peers as there are.
    """

    __slots__ = ("_left", "_whole")

    def __init__(self, octets: int, whole: "WindowBudget | None" = None) -> None:
        """With a `whole`, this is a client's share of it: what is taken here is taken there as well."""
        self._left = octets
        self._whole = whole

    def take(self, octets: int) -> bool:
        """Whether there were so many; then they are the caller's."""
        if octets > self._left or (self._whole is not None and not self._whole.take(octets)):
            return False
        self._left -= octets
        return True

    def give_back(self, octets: int) -> None:
        self._left += octets
        if self._whole is not None:
            self._whole.give_back(octets)


class ReceiveCredit:
    """Owns how much we let the peer send: a window beyond what was consumed, which grows with the path up to a maximum.

    It doubles where a quarter of it is consumed within a round trip, which is the idea of Linux's dynamic right-sizing:
    four times what the path carries covers the repair of losses, and our estimate of the round trip may be old. It
    doubles where a quarter of it waits for a repair: nothing is consumed behind a lost octet, and a sender whose own
    window doubles each round trip would run out of credit. And it doubles where the peer says that it was held back. A
    peer with little to say does none of these. What it grows by comes out of `budget`, if there is one.
    """

    __slots__ = (
        "_budget",
        "_held_from",
        "_renew_below",
        "_renewed_at",
        "_window_first",
        "_window_max",
        "consumed",
        "limit",
        "received",
        "window",
        "withheld",
    )

    def __init__(self, window: int, window_max: int, budget: WindowBudget | None = None) -> None:
        self.window = window
        self._window_first = window
        self._budget = budget
        self._window_max = window_max
        self._renew_below = window - window // RENEWAL_DIVISOR
        self._renewed_at: int | None = None
        self._held_from = window  # the first limit that this window was announced with
        self.limit = window  # as announced
        self.received = 0  # highest octet, or sum of the streams' highest
        self.consumed = 0
        self.withheld = 0  # handed to an application that has yet to read it: no more credit for these

    @property
    def growth(self) -> int:
        """How much of the budget is here."""
        return self.window - self._window_first

    def on_received(self, count: int) -> None:
        """Charge octets never seen before."""
        self.received += count
        if self.received > self.limit:
            raise RemoteProtocolError(
                f"{self.received} octets against a credit of {self.limit}", error_code=ErrorCode.FLOW_CONTROL_ERROR
            )

    def on_held_up(self) -> bool:
        """Octets wait for a repair; True if they are so many that the window has grown."""
        held_up = self.received - self.consumed - self.withheld
        return held_up > self.window // RENEWAL_DIVISOR and self.grow_to(2 * self.window)

    def on_consumed(self, count: int) -> bool:
        """Release octets; True when so much of the window is used that the peer must hear of more."""
        self.consumed += count
        return self.limit - self.consumed <= self._renew_below

    def release(self, count: int) -> bool:
        """Let the peer send as much again as the application has read at last; True as in on_consumed."""
        self.withheld -= count
        return self.on_consumed(count)

    def tune(self, smoothed_rtt: int, now: int) -> None:
        """Before a limit is renewed: let the window grow if it was used up fast."""
        renewed_at = self._renewed_at
        self._renewed_at = now
        if renewed_at is not None and now - renewed_at < smoothed_rtt:
            self.grow_to(2 * self.window)

    def on_blocked(self, limit: int) -> bool:
        """Take the peer's word that `limit` holds it back; True if the window has grown.

        Not where it is our application that does not read on.
        """
        return not self.withheld and self._held_from <= limit <= self.limit and self.grow_to(2 * self.window)

    def grow_to(self, window: int) -> bool:
        window = min(window, self._window_max)
        if window <= self.window or (self._budget is not None and not self._budget.take(window - self.window)):
            return False
        self.window = window
        self._renew_below = window - window // RENEWAL_DIVISOR
        self._held_from = self.consumed + window
        return True

    def renew(self) -> int:
        """The new limit, which is announced with this."""
        self.limit = max(self.limit, self.consumed + self.window)
        return self.limit


class MaxData(Control):
    __slots__ = ("_credit",)

    def __init__(self, outbox: Outbox, credit: ReceiveCredit) -> None:
        super().__init__(outbox)
        self._credit = credit

    def frame(self) -> Frame | None:
        return MaxDataFrame(self._credit.renew())


class MaxStreamData(Control):
    __slots__ = ("_credit", "_stream_id", "is_needed")

    def __init__(self, outbox: Outbox, stream_id: int, credit: ReceiveCredit) -> None:
        super().__init__(outbox)
        self._stream_id = stream_id
        self._credit = credit
        self.is_needed = True  # until the stream's size is known (s4.1)

    def frame(self) -> Frame | None:
        return MaxStreamDataFrame(self._stream_id, self._credit.renew()) if self.is_needed else None


class Blocked(Control):
    """Says, once per limit, that credit holds us back; repeated only while it still does (s13.3)."""

    __slots__ = ("_credit", "_stream_id", "_told", "is_needed")

    def __init__(self, outbox: Outbox, credit: SendCredit, stream_id: int | None = None) -> None:
        super().__init__(outbox)
        self._credit = credit
        self._stream_id = stream_id  # None: the whole connection's credit
        self._told = -1
        self.is_needed = True

    def frame(self) -> Frame | None:
        limit = self._credit.limit
        if not self.is_needed or self._credit.used < limit or self._told == limit:
            return None
        self._told = limit
        return DataBlockedFrame(limit) if self._stream_id is None else StreamDataBlockedFrame(self._stream_id, limit)

    def on_lost(self) -> None:
        self._told = -1
        super().on_lost()
