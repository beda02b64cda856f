"""Stop-and-wait: one frame at a time, sent again until it is acknowledged (Tanenbaum's protocol 3; rdt3.0).

With `sequence_bits: 1` it is the alternating-bit protocol: the receiver need only tell the next frame from the last
one again, and the sender the frame's acknowledgement from the last one's. That is right over a path that loses and
duplicates, and with a timer that is too short, as long as nothing overtakes: a frame or acknowledgement that is two
frames late has the number of the present one and is taken for it. More bits make that rarer, not impossible.

With propagation `a` times as long as a frame takes to serialise, and a share p of the frames lost, the line is used
(1 - p) / (1 + 2a) of the time if the timer expires just when the acknowledgement is due.
"""

from dataclasses import dataclass
from typing import ClassVar

from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.transport.arq.books import ArqBooks, Outgoing
from rudp_smtp.transport.arq.plugin import ArqTransport
from rudp_smtp.transport.arq.protocol import InOrderReceiver, Receiver, Segments, Sender
from rudp_smtp.transport.arq.timer import RetransmissionTimer


class StopAndWaitSender(Sender):
    """Owns the one frame on its way."""

    def __init__(self, segments: Segments, timer: RetransmissionTimer, books: ArqBooks, *, mask: int) -> None:
        super().__init__(segments, timer, books, mask=mask, window=1)
        self._frame: Outgoing | None = None
        self._is_due = False  # to be sent, the first time or again
        self._next = 0

    def next_frame(self) -> Outgoing | None:
        if self._frame is None:
            segment = self.segments.next_segment()
            if segment is None:
                return None
            self._frame = Outgoing(self._next, segment)
            self._next += 1
            self._is_due = True
        if not self._is_due:
            return None
        self._is_due = False
        return self._frame

    def on_ack(self, number: int, now: int) -> None:
        frame = self._frame
        if frame is None or number != frame.index & self.mask:
            return  # the last frame's again
        self.timer.on_acked(frame.sent_time, frame.transmissions, now)
        self.books.on_frame_acked(frame, now)
        self._frame = None

    def next_timeout(self) -> int | None:
        if self._frame is None or self._is_due:
            return None
        return self._frame.sent_time + self.timer.timeout

    def handle_timeout(self, now: int) -> None:
        frame = self._frame
        assert frame is not None
        self.timer.on_expired(frame.sent_time, now)
        self.books.on_frame_lost(frame, now)
        self._is_due = True


@TRANSPORTS.register
@dataclass(frozen=True, kw_only=True)
class StopAndWait(ArqTransport):
    name: ClassVar[str] = "stop_and_wait"

    sequence_bits: int = 1

    @property
    def window_frames(self) -> int:
        return 1

    def sender(self, segments: Segments, timer: RetransmissionTimer, books: ArqBooks) -> Sender:
        return StopAndWaitSender(segments, timer, books, mask=self.mask)

    def receiver(self) -> Receiver:
        return InOrderReceiver(self.mask)
