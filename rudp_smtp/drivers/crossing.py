"""What every live path does, whatever carries its packets: send what is due at its time, and change while it is used.

The links are those of a simulated run. Changes are those of a simulated run too, at times counted from the moment the
first packet enters, which is when a simulated client sends its first.
"""

from collections.abc import Callable, Iterable, Iterator

from rudp_smtp.datagram import Label
from rudp_smtp.drivers.clock import Lateness, Waiter
from rudp_smtp.link.link import NEVER, Link

Action = Callable[[int], None]  # is told the time
Send = Callable[[bytes, Label], None]


class Crossing:
    """Owns both links, how late packets left them, and what is still to happen to them."""

    def __init__(self, forward: Link, reverse: Link, waiter: Waiter) -> None:
        self.forward = forward
        self.reverse = reverse
        self.lateness = Lateness()
        self._clock = waiter.now
        self._moments: Iterator[tuple[int, Action]] = iter(())
        self._change_at = NEVER
        self._change: Action = _nothing
        self._began: int | None = None  # when the first packet entered, once there is somebody to ask

    def schedule(self, moments: Iterable[tuple[int, Action]]) -> None:
        """Have these done at these times after the first packet, which never go back."""
        self._moments = iter(moments)
        self._advance()

    def next_timeout(self) -> int | None:
        """When something is due; a first packet makes it sooner."""
        due = self.forward.next_timeout()
        other = self.reverse.next_timeout()
        if due is None or (other is not None and other < due):
            due = other
        change_at = self._next_change()
        return change_at if change_at is not None and (due is None or change_at < due) else due

    def carry(self, send_forward: Send, send_reverse: Send) -> None:
        """Do what is due: changes first."""
        while (due := self._next_change()) is not None and due <= (now := self._clock()):
            self._change(now)
            self._advance()
        self._send_due(self.forward, send_forward)
        self._send_due(self.reverse, send_reverse)

    def _send_due(self, link: Link, send: Send) -> None:
        clock, stats, add = self._clock, link.stats, self.lateness.add
        now = clock()
        due = link.next_timeout()
        while due is not None and due <= now:
            arrived = link.next_datagram(now)
            if arrived is None:  # the transmitter was not through with it yet
                return
            send(*arrived)
            now = clock()
            assert stats.delivered_last is not None
            add(now - stats.delivered_last)
            due = link.next_timeout()

    def _next_change(self) -> int | None:
        """Its time on our clock; None before the first packet, and after the last change."""
        if self._change_at == NEVER:
            return None
        if self._began is None:
            entered = [link.stats.entered_first for link in (self.forward, self.reverse)]
            self._began = min((time for time in entered if time is not None), default=None)
        return None if self._began is None else self._began + self._change_at

    def _advance(self) -> None:
        self._change_at, self._change = next(self._moments, (NEVER, _nothing))


def _nothing(now: int) -> None:
    """Done after the last change."""
