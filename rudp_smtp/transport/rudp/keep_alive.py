"""KeepAlive: a PING now and then, so that neither peer nor NAT forgets an idle connection (RFC 9000 section 10.1.2)."""

from rudp_smtp.transport.rudp.outbox import Control, Outbox
from rudp_smtp.wire.frames import Frame, PingFrame


class KeepAlive(Control):
    """Owns the interval. The PING is repeated by what repeats a last packet, so its loss needs no care here."""

    __slots__ = ("_asked", "_kept", "interval")

    def __init__(self, asked: int, outbox: Outbox) -> None:
        super().__init__(outbox)
        self._asked = asked
        self._kept = 0  # when it was last due
        self.interval = 0  # 0: not in force

    def start(self, idle_timeout: int) -> int:
        """Begin, where the peers agreed on `idle_timeout`; the silence after which something is to be done."""
        asked = self._asked
        if not asked:
            return idle_timeout
        self.interval = min(asked, idle_timeout // 2) if idle_timeout else asked
        return self.interval

    def deadline(self, idle_since: int) -> int:
        return max(idle_since, self._kept) + self.interval

    def on_quiet(self, idle_since: int, now: int) -> None:
        if self.interval and now >= self.deadline(idle_since):
            self._kept = now
            self._outbox.add(self)

    def frame(self) -> Frame | None:
        return PingFrame()

    def on_lost(self) -> None:
        return
