"""Copies: what tiny flights carried is said again before anybody knows whether it was lost.

When, and how much of that, is the redundancy plug-in's decision. A copy is an ordinary packet: it leaves when window
and pacer let it, and never while the application has more to say, whose acknowledgement would prove a loss anyway.
"""

from collections import deque

from rudp_smtp.recovery.recovery import Recovery
from rudp_smtp.recovery.redundancy import Redundancy
from rudp_smtp.recovery.sent import SentPacket
from rudp_smtp.transport.rudp.outbox import Carried
from rudp_smtp.transport.rudp.schedule import Schedule


class Covered(Carried):
    """Something a copy carries too. Its loss is the copy's to repair, which leaves later and is missed later: both
    lost, it is repaired once."""

    __slots__ = ("_carried",)

    def __init__(self, carried: Carried) -> None:
        self._carried = carried

    def on_acked(self) -> None:
        self._carried.on_acked()

    def on_lost(self) -> None:
        return


class Copies:
    """Owns the packets that may be repeated, oldest first."""

    __slots__ = ("_is_copying", "_recovery", "_redundancy", "_schedule", "_waiting", "deadline")

    def __init__(self, redundancy: Redundancy, recovery: Recovery, schedule: Schedule) -> None:
        self._redundancy = redundancy
        self._recovery = recovery
        self._schedule = schedule
        self._waiting: deque[tuple[int, SentPacket]] = deque()
        self.deadline: int | None = None  # when the first of them may be repeated
        self._is_copying = False  # the packet that is made next is a copy

    def on_packet_sent(self, packet: SentPacket) -> bool:
        """Take an ack-eliciting packet; True if it was a copy itself."""
        if self._is_copying and _is_repeatable(packet):
            self._is_copying = False
            self._redundancy.on_copy_sent(packet.size)
            return True
        recovery = self._recovery
        time = self._redundancy.on_packet_sent(
            packet.size, recovery.sent.bytes_in_flight, recovery.rtt.smoothed_rtt, packet.sent_time
        )
        if time is not None and _is_repeatable(packet):
            self._waiting.append((time, packet))
            if self.deadline is None:
                self.deadline = time
        return False

    def revive(self, now: int) -> None:
        """Before a packet is made: let what those whose time has come carried wait once more."""
        self._is_copying = False
        if self.deadline is None or self.deadline > now:
            return
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            packet = waiting.popleft()[1]
            if self._may_repeat(packet, now):
                self._repeat(packet)
        self.deadline = waiting[0][0] if waiting else None

    def _may_repeat(self, packet: SentPacket, now: int) -> bool:
        """It is neither acknowledged nor lost, nothing new waits, and neither window nor budget is spent."""
        recovery = self._recovery
        sent = recovery.sent
        return (
            packet.packet_number in sent.outstanding
            and not self._schedule.fresh
            and recovery.send_allowance(now) > 0
            and self._redundancy.allows_copy(packet.size, sent.bytes_in_flight)
        )

    def _repeat(self, packet: SentPacket) -> None:
        contents = packet.contents
        assert isinstance(contents, list)
        for index, carried in enumerate(contents):
            contents[index] = Covered(carried)
            carried.on_lost()
        self._is_copying = True


def _is_repeatable(packet: SentPacket) -> bool:
    """Whether it says anything that could be said again; an acknowledgement and a PING are not."""
    contents = packet.contents
    assert isinstance(contents, list)
    return any(carried.is_repeatable for carried in contents)
