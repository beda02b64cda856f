"""Go-back-N: a window of frames; after a time-out all of them again (Tanenbaum's protocol 5; Kurose and Ross 3.4.3).

The receiver takes frames in order only and acknowledges the last it took, which acknowledges all before. So one lost
frame costs all that followed it. The window may be 2**sequence_bits - 1: with one more, the acknowledgement of a whole
window would have the number of the window before.

With W frames in the window, propagation `a` times as long as a frame takes to serialise, and a share p of the frames
lost, the line is used (1 - p) / (1 + 2ap) of the time where W >= 1 + 2a, and below W(1 - p) / ((1 + 2a)(1 - p + Wp)).
"""

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.transport.arq.books import ArqBooks, Outgoing
from rudp_smtp.transport.arq.parameters import check_window
from rudp_smtp.transport.arq.plugin import ArqTransport
from rudp_smtp.transport.arq.protocol import InOrderReceiver, Receiver, Segments, Sender
from rudp_smtp.transport.arq.timer import RetransmissionTimer

WINDOW, SEQUENCE_BITS = 32, 8


def window_max(sequence_bits: int) -> int:
    return (1 << sequence_bits) - 1


class GoBackNSender(Sender):
    """Owns the window: frames in order, and how many of them are on the line. Behind those, the rest go again."""

    def __init__(
        self, segments: Segments, timer: RetransmissionTimer, books: ArqBooks, *, mask: int, window: int
    ) -> None:
        super().__init__(segments, timer, books, mask=mask, window=window)
        self._frames: deque[Outgoing] = deque()
        self._on_line = 0
        self._base = 0  # index of the first, and of the next frame if there is none

    def next_frame(self) -> Outgoing | None:
        frames = self._frames
        if self._on_line == len(frames):
            if len(frames) == self.window:
                return None
            segment = self.segments.next_segment()
            if segment is None:
                return None
            frames.append(Outgoing(self._base + len(frames), segment))
        frame = frames[self._on_line]
        self._on_line += 1
        return frame

    def on_ack(self, number: int, now: int) -> None:
        acked = ((number - self._base) & self.mask) + 1
        frames = self._frames
        if acked > len(frames):
            return  # what is acknowledged lies before the window
        for _ in range(acked):
            frame = frames.popleft()
            self.books.on_frame_acked(frame, now)
        self.timer.on_acked(frame.sent_time, frame.transmissions, now)
        self._base += acked
        self._on_line = max(0, self._on_line - acked)

    def next_timeout(self) -> int | None:
        """The first frame's: it was on the line before the others were."""
        if not self._on_line:
            return None
        return self._frames[0].sent_time + self.timer.timeout

    def handle_timeout(self, now: int) -> None:
        frames = self._frames
        self.timer.on_expired(frames[0].sent_time, now)
        for place in range(self._on_line):
            self.books.on_frame_lost(frames[place], now)
        self._on_line = 0


@TRANSPORTS.register
@dataclass(frozen=True, kw_only=True)
class GoBackN(ArqTransport):
    name: ClassVar[str] = "go_back_n"

    sequence_bits: int = SEQUENCE_BITS
    window: int = WINDOW  # frames

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self.window, self.sequence_bits, window_max)

    @property
    def window_frames(self) -> int:
        return self.window

    def sender(self, segments: Segments, timer: RetransmissionTimer, books: ArqBooks) -> Sender:
        return GoBackNSender(segments, timer, books, mask=self.mask, window=self.window)

    def receiver(self) -> Receiver:
        return InOrderReceiver(self.mask)
