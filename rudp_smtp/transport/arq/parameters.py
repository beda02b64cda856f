"""ArqParameters: what a scenario may set of every ARQ protocol, and what a protocol adds to it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from rudp_smtp.errors import ConfigError
from rudp_smtp.recovery.timer import TIMERS
from rudp_smtp.registry import Spec
from rudp_smtp.transport.arq.books import ArqBooks
from rudp_smtp.transport.arq.frame import SEQUENCE_BITS_MAX
from rudp_smtp.transport.arq.protocol import Receiver, Segments, Sender
from rudp_smtp.transport.arq.timer import RetransmissionTimer
from rudp_smtp.units import MILLISECOND, SECOND, Duration, Rate, Size

SEGMENT_SIZE_MAX = 65_000  # with its overhead it fits a UDP datagram
_TIMER = Spec("rfc6298")


@dataclass(frozen=True, kw_only=True)
class ArqParameters(ABC):
    """Both hosts must be given the same protocol, `sequence_bits` and window; a SYN that asks for others is dropped."""

    name: ClassVar[str]

    sequence_bits: int
    segment_size: Size = 1400  # stream octets in a frame: an Ethernet packet's worth
    timer: Annotated[Spec, TIMERS] = _TIMER
    # The rate of the sender's own line: it starts a frame when the one before has left, so that a frame's timer
    # runs from then, as in textbooks, and not from when it joined a queue. None: as fast as the window allows.
    line_rate: Rate | None = None
    max_idle_timeout: Duration = 30 * SECOND  # of silence from the peer, then the connection is given up

    def __post_init__(self) -> None:
        if not 1 <= self.sequence_bits <= SEQUENCE_BITS_MAX:
            raise ConfigError(f"{self.sequence_bits} bits are not from 1 to {SEQUENCE_BITS_MAX}", key="sequence_bits")
        if not 1 <= self.segment_size <= SEGMENT_SIZE_MAX:
            raise ConfigError(f"{self.segment_size}B is not from 1B to {SEGMENT_SIZE_MAX}B", key="segment_size")
        if self.line_rate == 0:
            raise ConfigError("a rate of zero moves nothing; expected a rate such as 20mbit", key="line_rate")
        if self.max_idle_timeout < MILLISECOND:
            raise ConfigError("expected at least 1ms", key="max_idle_timeout")

    @classmethod
    def check(cls, **parameters: Any) -> None:
        """Refuse what cannot work, as making the plug-in does."""
        cls(**parameters)

    @property
    def mask(self) -> int:
        """The largest sequence number."""
        return (1 << self.sequence_bits) - 1

    @property
    @abstractmethod
    def window_frames(self) -> int:
        """Frames that may be unacknowledged at a time."""

    @abstractmethod
    def sender(self, segments: Segments, timer: RetransmissionTimer, books: ArqBooks) -> Sender: ...

    @abstractmethod
    def receiver(self) -> Receiver: ...

    def make_timer(self) -> RetransmissionTimer:
        return RetransmissionTimer(TIMERS.build(self.timer))


def check_window(window: int, sequence_bits: int, window_max: Callable[[int], int]) -> None:
    """Refuse a window in which two frames could not be told apart by their numbers; `window_max` is of some bits."""
    expected = f"expected from 1 to {window_max(sequence_bits)}"
    if window < 1:
        raise ConfigError(f"{window} frames are no window; {expected}", key="window")
    if window > window_max(sequence_bits):
        enough = [bits for bits in range(sequence_bits, SEQUENCE_BITS_MAX + 1) if window <= window_max(bits)]
        remedy = f", or sequence_bits: {enough[0]}" if enough else ""
        message = f"{window} frames cannot be told apart by {sequence_bits} bits; {expected}{remedy}"
        raise ConfigError(message, key="window")
