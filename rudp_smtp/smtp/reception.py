"""The mail data of one message as it comes in: checked as it passes, and kept for the end or handed on piece by piece.

Memory is bounded whatever the size: above `Limits.held_octets` nothing is kept, and what is refused is swallowed.
"""

from collections.abc import Callable

from rudp_smtp.smtp.config import Limits, StrayOctets
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.events import MailAborted, MailData, MailReceived, MailStarted, ServerEvent
from rudp_smtp.smtp.hops import HopCount
from rudp_smtp.smtp.lines import TextCheck
from rudp_smtp.smtp.replies import Reply


class Reception:
    """Owns what came of one message's mail data, and the reason to refuse it once there is one."""

    __slots__ = ("_check", "_envelope", "_held", "_hops", "_is_aborted", "_is_streamed", "_limits",
                 "_pieces")  # fmt: skip

    def __init__(self, envelope: Callable[[bytes], Envelope], limits: Limits, *, is_binary: bool) -> None:
        self._envelope = envelope  # around its mail data
        self._limits = limits
        self._check = TextCheck(
            line_octets=limits.text_line_octets,
            is_stray_allowed=limits.stray_octets is StrayOctets.KEEP,
            is_binary=is_binary,
        )
        self._hops = HopCount()
        self._pieces: list[bytes] = []
        self._held = 0
        self._is_streamed = False
        self._is_aborted = False

    @property
    def size(self) -> int:
        return self._check.size

    @property
    def refusal(self) -> Reply | None:
        """Why the message cannot be accepted, as far as it came."""
        if self._check.size > self._limits.message_octets:
            return too_big(self._limits)
        if self._hops.hops > self._limits.received_fields:
            return Reply(554, (f"5.4.6 Routing loop: more than {self._limits.received_fields} Received fields",))
        if self._check.defect is not None:
            return Reply(550, (f"5.6.0 Mail data with {self._check.defect}",))
        return None

    def take(self, octets: bytes, *, is_last: bool) -> list[ServerEvent]:
        """Look at the next octets and keep them; what has to be told of them."""
        self._check.take(octets, is_last=is_last)
        self._hops.take(octets)
        refusal = self.refusal
        if refusal is not None:
            self._pieces.clear()
            self._check.forget()
            return self.abort(str(refusal))
        if self._is_streamed:
            self._check.forget()
            return [MailData(octets)] if octets else []
        self._pieces.append(octets)
        self._held += len(octets)
        if self._limits.held_octets is None or self._held <= self._limits.held_octets:
            return []
        self._is_streamed = True
        self._check.forget()
        events: list[ServerEvent] = [MailStarted(self._envelope(b"")), *map(MailData, self._pieces)]
        self._pieces.clear()
        return events

    def finish(self) -> MailReceived:
        """The whole of it came, and there is nothing to refuse it for."""
        if self._is_streamed:
            return MailReceived(self._envelope(b""), is_streamed=True)
        return MailReceived(self._envelope(b"".join(self._pieces)))

    def abort(self, reason: str) -> list[ServerEvent]:
        """There will be no message: once, to whoever was told of its beginning."""
        if not self._is_streamed or self._is_aborted:
            return []
        self._is_aborted = True
        return [MailAborted(reason)]


def too_big(limits: Limits) -> Reply:
    return Reply(552, (f"5.3.4 More than {limits.message_octets} octets",))
