"""What an ARQ protocol is: a Sender that decides which frame goes next, and a Receiver that decides which to take.

A sender counts its frames from 0 without end; only `index & mask`, the sequence number, is ever sent. A receiver knows
nothing but sequence numbers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from rudp_smtp.transport.arq.books import ArqBooks, Outgoing
from rudp_smtp.transport.arq.segments import Segment
from rudp_smtp.transport.arq.timer import RetransmissionTimer


class Segments(Protocol):
    """Where a sender takes what to send."""

    def next_segment(self) -> Segment | None: ...


class Sender(ABC):
    """Owns the frames that are sent and not acknowledged."""

    def __init__(
        self, segments: Segments, timer: RetransmissionTimer, books: ArqBooks, *, mask: int, window: int
    ) -> None:
        self.segments = segments
        self.timer = timer
        self.books = books
        self.mask = mask
        self.window = window

    @abstractmethod
    def next_frame(self) -> Outgoing | None:
        """The frame to put on the line now, a new one or an old one again; the caller stamps it with the time."""

    @abstractmethod
    def on_ack(self, number: int, now: int) -> None:
        """Take an acknowledgement, whatever number it names."""

    @abstractmethod
    def next_timeout(self) -> int | None:
        """When the first of the frames on the line has been there for too long."""

    @abstractmethod
    def handle_timeout(self, now: int) -> None:
        """Do what the protocol does about frames whose time is up."""


class Arrival(Enum):
    """What a receiver makes of a sequence number."""

    WANTED = "wanted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"  # neither wanted now nor received before: out of order, or out of the window


WANTED, DUPLICATE, REFUSED = Arrival


class Receiver(ABC):
    """Owns what is known of the peer's numbers, and frames that wait for one before them."""

    @abstractmethod
    def judge(self, number: int) -> Arrival: ...

    @abstractmethod
    def take(self, number: int, payload: bytes) -> Sequence[bytes]:
        """Accept a wanted frame; the payloads, its own among them perhaps, whose turn has come."""

    @abstractmethod
    def acknowledgement(self, number: int, arrival: Arrival) -> int | None:
        """What to acknowledge now that this frame arrived and, if it was wanted, was taken."""


class InOrderReceiver(Receiver):
    """Takes the one frame that is next and no other; always acknowledges the last it took (Kurose and Ross, GBN)."""

    def __init__(self, mask: int) -> None:
        self._mask = mask
        self._expected = 0

    def judge(self, number: int) -> Arrival:
        if number == self._expected:
            return WANTED
        # Behind what is expected lies what was received, ahead of it what is out of order: numbers alone do not say
        # which, but of two equal halves the nearer one is far likelier. Nothing but the statistics depends on it.
        return DUPLICATE if (self._expected - number) & self._mask <= (self._mask + 1) >> 1 else REFUSED

    def take(self, number: int, payload: bytes) -> Sequence[bytes]:
        self._expected = (number + 1) & self._mask
        return (payload,)

    def acknowledgement(self, number: int, arrival: Arrival) -> int | None:
        return (self._expected - 1) & self._mask
