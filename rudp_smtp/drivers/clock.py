"""Waiting in real time: for sockets, or until a deadline, to a few microseconds; and how late we were.

epoll's own timeout is rounded up to whole milliseconds, so deadlines are a timerfd among the sockets. It is set a
little early and the rest is spun away, because the kernel takes its time to put a process back on a core.
"""

import ctypes
import os
import select
import time
from collections.abc import Callable
from typing import Protocol

from rudp_smtp.errors import DriverError
from rudp_smtp.units import MICROSECOND, SECOND

SPIN = 200 * MICROSECOND  # from here on the deadline is looked out for instead of slept for

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000  # TFD_NONBLOCK | TFD_CLOEXEC
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_LIBC = ctypes.CDLL(None, use_errno=True)


class _TimerSpec(ctypes.Structure):
    """struct itimerspec of timerfd_settime(2), on 64-bit systems."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Readable(Protocol):
    """What can be waited for: a socket, say."""

    def fileno(self) -> int: ...


class Waiter:
    """Owns the clock's origin, so that times here are small like virtual ones, and all that is waited for."""

    def __init__(self, spin: int = SPIN) -> None:
        self._origin = time.monotonic_ns()
        self._spin = spin
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._timer = _LIBC.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._timer < 0:
            raise DriverError(f"timerfd_create: {os.strerror(ctypes.get_errno())}")
        self._wakener = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._spec = _TimerSpec()
        self._epoll.register(self._timer, select.EPOLLIN)
        self._epoll.register(self._wakener, select.EPOLLIN)

    def now(self) -> int:
        return time.monotonic_ns() - self._origin

    def restart(self) -> None:
        """Begin time anew; for when nothing has been given a time yet."""
        self._origin = time.monotonic_ns()

    def add(self, source: Readable, ready: Callable[[], None]) -> None:
        """Call `ready` from `wait` whenever there is something to read."""
        self._ready[source.fileno()] = ready
        self._epoll.register(source.fileno(), select.EPOLLIN)

    def remove(self, source: Readable) -> None:
        del self._ready[source.fileno()]
        self._epoll.unregister(source.fileno())

    def wake(self) -> None:
        """End a `wait`, from another thread."""
        os.eventfd_write(self._wakener, 1)

    def wait(self, deadline: int | None) -> None:
        """Until something can be read, which is then done, or the deadline has come."""
        if deadline is None:
            self._set(0)
            self._poll(-1)
            return
        if deadline - self.now() > self._spin:
            self._set(deadline - self._spin + self._origin)
            if self._poll(-1):
                return
        while not self._poll(0) and self.now() < deadline:
            pass

    def close(self) -> None:
        self._epoll.close()
        os.close(self._timer)
        os.close(self._wakener)

    def _set(self, at: int) -> None:
        """Arm the timer at a time of CLOCK_MONOTONIC; 0 disarms it."""
        self._spec.seconds, self._spec.nanoseconds = divmod(at, SECOND)
        _LIBC.timerfd_settime(self._timer, _ABSOLUTE, ctypes.byref(self._spec), None)

    def _poll(self, timeout: int) -> bool:
        """Look at the sockets once, or sleep until there is something; whether it was more than the timer."""
        is_more = False
        for number, _ in self._epoll.poll(timeout):
            if number == self._timer:
                self._set(0)  # so that it is not readable any more
                continue
            is_more = True
            ready = self._ready.get(number)
            if ready is not None:
                ready()
            elif number == self._wakener:
                os.eventfd_read(number)
        return is_more


class Lateness:
    """A histogram of delays in ns, in steps of a sixteenth: of any length in the same memory."""

    def __init__(self) -> None:
        self.maximum = 0
        self._counts = [0] * (64 * 16)

    @property
    def count(self) -> int:
        return sum(self._counts)

    def add(self, late: int) -> None:
        if late > self.maximum:
            self.maximum = late
        if late < 32:  # too early, or so little that each has a step of its own
            self._counts[late if late > 0 else 0] += 1
            return
        shift = late.bit_length() - 5
        self._counts[(shift << 4) + (late >> shift)] += 1

    def quantile(self, share: float) -> int:
        """No more than this share were later, rounded up to the step's end; 0 where nothing was counted."""
        left = share * self.count
        for step, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                shift = max((step >> 4) - 1, 0)
                return min(self.maximum, ((step - (shift << 4) + 1) << shift) - 1)
        return self.maximum
