"""What packets carry besides octets in order: frames that wait, and what to do when a packet's fate is known."""

from abc import ABC, abstractmethod
from collections import deque
from typing import ClassVar

from rudp_smtp.wire.frames import Frame


class Carried(ABC):
    """Something a packet carried. Recovery hands it back, once, when the packet is acknowledged or lost."""

    __slots__ = ()

    is_repeatable: ClassVar[bool] = True
    """Whether its loss makes anything be said again."""

    @abstractmethod
    def on_acked(self) -> None: ...

    @abstractmethod
    def on_lost(self) -> None: ...


class Control(Carried):
    """A frame that must reach the peer, repeated until it does, with the values of the moment (RFC 9000 s13.3)."""

    __slots__ = ("_outbox", "is_waiting")

    def __init__(self, outbox: "Outbox") -> None:
        self._outbox = outbox
        self.is_waiting = False

    @abstractmethod
    def frame(self) -> Frame | None:
        """The frame as it must read now; None when there is no more need of it."""

    def on_acked(self) -> None:
        return

    def on_lost(self) -> None:
        self._outbox.add(self)


class Outbox:
    """Owns the queue of controls. Each waits at most once, so there are never more than there are controls."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: deque[Control] = deque()

    def add(self, control: Control) -> None:
        if not control.is_waiting:
            control.is_waiting = True
            self.waiting.append(control)

    def take(self) -> Control:
        control = self.waiting.popleft()
        control.is_waiting = False
        return control
