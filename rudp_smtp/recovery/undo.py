"""LossEpisode: was a reduction of the window for nothing? (the idea of Eifel, RFC 4015, and of F-RTO, RFC 5682)

A packet number is never reused, so a late acknowledgement of a packet declared lost proves that it had only been late.
"""

from collections.abc import Sequence

from rudp_smtp.recovery.sent import SentPacket

NEVER = -1  # before any time


class LossEpisode:
    """Owns what the last reduction of the window counted as lost, and so whether all of it has arrived after all.

    An episode is RFC 9002 section 7.3.2's recovery period: it begins with the loss of a packet sent after the last one
    began, and takes in every loss of a packet sent before. Persistent congestion and ECN marks are no misjudgement:
    an episode that has seen one is never taken back.
    """

    __slots__ = ("_is_certain", "_start_time", "_unproven")

    def __init__(self) -> None:
        self._start_time = NEVER
        self._unproven: set[int] = set()  # numbers of the packets lost and not yet proven received
        self._is_certain = False

    def on_lost(self, lost: Sequence[SentPacket], is_persistent: bool, now: int) -> None:
        """Take packets just declared lost, ascending."""
        if lost[-1].sent_time > self._start_time:
            self._begin(now)
        unproven = self._unproven
        for packet in lost:
            unproven.add(packet.packet_number)
        if is_persistent:
            self._is_certain = True
            self._start_time = NEVER  # RFC 9002 appendix B.8: the next loss is a new episode

    def on_ecn_ce(self, sent_time: int, now: int) -> None:
        """The path has marked a packet sent then."""
        if sent_time > self._start_time:
            self._begin(now)
        self._is_certain = True

    def on_spurious(self, spurious: Sequence[SentPacket]) -> bool:
        """Take packets declared lost and acknowledged after all: whether that was the last proof, once an episode."""
        unproven = self._unproven
        if not unproven:
            return False
        for packet in spurious:
            unproven.discard(packet.packet_number)
        if unproven or self._is_certain:
            return False
        self._start_time = NEVER
        return True

    def _begin(self, now: int) -> None:
        self._start_time = now
        self._unproven.clear()
        self._is_certain = False
