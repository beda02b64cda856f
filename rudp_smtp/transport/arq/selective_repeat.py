"""Selective repeat: a window of frames, each acknowledged and sent again by itself (Kurose and Ross, section 3.4.4).

The receiver keeps what arrives out of order, and acknowledges every frame by its own number, old ones too: their
sender may not know. Sender's and receiver's windows may be a window apart, so there must be numbers for two of them:
the window may be 2**(sequence_bits - 1). Then a frame that is late by less than the window's worth of frames is told
from a new one, and reordering up to that does no harm.

With W frames unacknowledged at a time, propagation `a` times as long as a frame takes to serialise, and a share p of
the frames lost, the line is used (1 - p) of the time where W >= 1 + 2a, and below W(1 - p) / (1 + 2a). These formulas
count frames on their way. The window counts from the first frame that is missing, and stands still while that is
repaired: it must be several times as wide (`window` much larger than `in_flight`) for them to hold.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rudp_smtp.errors import ConfigError
from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.transport.arq.books import ArqBooks, Outgoing
from rudp_smtp.transport.arq.parameters import check_window
from rudp_smtp.transport.arq.plugin import ArqTransport
from rudp_smtp.transport.arq.protocol import (
    DUPLICATE,
    REFUSED,
    WANTED,
    Arrival,
    Receiver,
    Segments,
    Sender,
)
from rudp_smtp.transport.arq.timer import RetransmissionTimer

WINDOW, SEQUENCE_BITS = 128, 16


def window_max(sequence_bits: int) -> int:
    return 1 << (sequence_bits - 1)


class SelectiveRepeatSender(Sender):
    """Owns the unacknowledged frames of the window, by index, and the order in which they were last sent."""

    def __init__(
        self,
        segments: Segments,
        timer: RetransmissionTimer,
        books: ArqBooks,
        *,
        mask: int,
        window: int,
        in_flight_max: int,
    ) -> None:
        super().__init__(segments, timer, books, mask=mask, window=window)
        self._in_flight_max = in_flight_max
        self._frames: dict[int, Outgoing] = {}
        self._line: deque[tuple[int, Outgoing]] = deque()  # transmission, frame; of a frame its last one counts
        self._due: deque[Outgoing] = deque()  # to be sent again
        self._base = 0  # the first index not acknowledged
        self._next = 0

    def next_frame(self) -> Outgoing | None:
        due = self._due
        while due:
            frame = due.popleft()
            if frame.index in self._frames:
                return self._put_on_line(frame)
        if len(self._frames) == self._in_flight_max or self._next - self._base == self.window:
            return None
        segment = self.segments.next_segment()
        if segment is None:
            return None
        frame = self._frames[self._next] = Outgoing(self._next, segment)
        self._next += 1
        return self._put_on_line(frame)

    def _put_on_line(self, frame: Outgoing) -> Outgoing:
        self._line.append((frame.transmissions + 1, frame))
        return frame

    def on_ack(self, number: int, now: int) -> None:
        frame = self._frames.pop(self._base + ((number - self._base) & self.mask), None)
        if frame is None:
            return  # again
        self.timer.on_acked(frame.sent_time, frame.transmissions, now)
        self.books.on_frame_acked(frame, now)
        while self._base < self._next and self._base not in self._frames:
            self._base += 1

    def next_timeout(self) -> int | None:
        line = self._line
        while line:
            transmission, frame = line[0]
            if transmission == frame.transmissions and frame.index in self._frames:
                return frame.sent_time + self.timer.timeout
            line.popleft()
        return None

    def handle_timeout(self, now: int) -> None:
        while (deadline := self.next_timeout()) is not None and deadline <= now:
            frame = self._line.popleft()[1]
            self.timer.on_expired(frame.sent_time, now)
            self.books.on_frame_lost(frame, now)
            self._due.append(frame)


class SelectiveRepeatReceiver(Receiver):
    """Owns the frames that came before their turn, by sequence number."""

    def __init__(self, mask: int, window: int) -> None:
        self._mask = mask
        self._window = window
        self._base = 0  # the sequence number whose turn it is
        self._waiting: dict[int, bytes] = {}

    def judge(self, number: int) -> Arrival:
        ahead = (number - self._base) & self._mask
        if ahead < self._window:
            return DUPLICATE if number in self._waiting else WANTED
        return DUPLICATE if ahead > self._mask - self._window else REFUSED

    def take(self, number: int, payload: bytes) -> Sequence[bytes]:
        waiting = self._waiting
        if number != self._base:
            waiting[number] = payload
            return ()
        turn = [payload]
        base = (number + 1) & self._mask
        while base in waiting:
            turn.append(waiting.pop(base))
            base = (base + 1) & self._mask
        self._base = base
        return turn

    def acknowledgement(self, number: int, arrival: Arrival) -> int | None:
        return None if arrival is REFUSED else number


@TRANSPORTS.register
@dataclass(frozen=True, kw_only=True)
class SelectiveRepeat(ArqTransport):
    name: ClassVar[str] = "selective_repeat"

    sequence_bits: int = SEQUENCE_BITS
    window: int = WINDOW  # frames, from the first that is not acknowledged; the receiver keeps as many
    in_flight: int | None = None  # frames of the window unacknowledged at a time; as many as it has if not given

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self.window, self.sequence_bits, window_max)
        if self.in_flight is not None and not 1 <= self.in_flight <= self.window:
            raise ConfigError(f"{self.in_flight} frames are not from 1 to the window's {self.window}", key="in_flight")

    @property
    def window_frames(self) -> int:
        return self.window

    def sender(self, segments: Segments, timer: RetransmissionTimer, books: ArqBooks) -> Sender:
        in_flight_max = self.window if self.in_flight is None else self.in_flight
        return SelectiveRepeatSender(
            segments, timer, books, mask=self.mask, window=self.window, in_flight_max=in_flight_max
        )

    def receiver(self) -> Receiver:
        return SelectiveRepeatReceiver(self.mask, self.window)
