"""The mail data of one message as it comes in: checked as it passes, and kept for the end or handed on piece by piece.

Memory is bounded whatever the size: above `Limits.held_octets` nothing is kept, and what is refused is swallowed.
"""

from collections.abc import Callable
from dataclasses import replace

from rudp_smtp.smtp.config import Limits, StrayOctets
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.events import MailAborted, MailData, MailReceived, MailStarted, ServerEvent
from rudp_smtp.smtp.header import PassingHeader
from rudp_smtp.smtp.lines import TextCheck
from rudp_smtp.smtp.replies import Reply


class Reception:
    """Owns what came of one message's mail data, and the reason to refuse it once there is one."""

    __slots__ = ("_check", "_envelope", "_header", "_held", "_is_aborted", "_is_streamed", "_limits",
                 "_pieces")  # fmt: skip

    def __init__(self, envelope: Callable[[bytes], Envelope], limits: Limits, *, is_binary: bool) -> None:
        self._envelope = envelope  # around its mail data
        self._limits = limits
        self._check = TextCheck(
            line_octets=limits.text_line_octets,
            is_stray_allowed=limits.stray_octets is StrayOctets.KEEP,
            is_binary=is_binary,
        )
        self._header = PassingHeader()
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
        if self._header.hops > self._limits.received_fields:
            return Reply(554, (f"5.4.6 Routing loop: more than {self._limits.received_fields} Received fields",))
        if self._check.defect is not None:
            return Reply(550, (f"5.6.0 Mail data with {self._check.defect}",))
        return None

    def take(self, octets: bytes, *, is_last: bool) -> list[ServerEvent]:
        """Look at the next octets and keep them; what has to be told of them."""
        self._check.take(octets, is_last=is_last)
        self._header.take(octets)
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
        events: list[ServerEvent] = [MailStarted(self._known_envelope(b"")), *map(MailData, self._pieces)]
        self._pieces.clear()
        return events

    def finish(self) -> MailReceived:
        """The whole of it came, and there is nothing to refuse it for."""
        if self._is_streamed:
            return MailReceived(self._known_envelope(b""), is_streamed=True)
        return MailReceived(self._known_envelope(b"".join(self._pieces)))

    def _known_envelope(self, mail_data: bytes) -> Envelope:
        """With what the header says, as far as it came. RFC 8689 section 4.1: REQUIRETLS goes before it."""
        envelope = self._envelope(mail_data)
        is_tls_optional = self._header.is_tls_optional and not envelope.requires_tls
        return replace(envelope, is_tls_optional=True) if is_tls_optional else envelope

    def abort(self, reason: str) -> list[ServerEvent]:
        """There will be no message: once, to whoever was told of its beginning."""
        if not self._is_streamed or self._is_aborted:
            return []
        self._is_aborted = True
        return [MailAborted(reason)]


def too_big(limits: Limits) -> Reply:
    return Reply(552, (f"5.3.4 More than {limits.message_octets} octets",))
