"""`executor:` -> concurrent.futures.Executor. A worker never outlives the process that asked for it.

Workers are spawned, not forked: a fork copies whatever state the parent is in, and is slower to be safe than to start.
"""

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import ParamSpec, TypeVar

from rudp_smtp.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")

_NAME = re.compile(r"(serial)|local(?::([1-9][0-9]{0,3}))?")


def read_executor(name: str) -> int | None:
    """How many processes serial, local or local:N asks for: 0 is none, None as many as there are cores."""
    named = _NAME.fullmatch(name)
    if named is None:
        message = f"unknown executor {name!r}; expected serial, local, or local:N for N processes"
        raise ConfigError(message, key="executor")
    if named.group(1):
        return 0
    return int(named.group(2)) if named.group(2) else None


def open_executor(name: str, workers: int | None = None, *, cores_each: int = 1) -> Executor:
    """`workers`, where given, overrides what `name` says with that many processes.

    `cores_each`: how many a run takes; of more runs at a time than there is room for each would be late.
    """
    asked = read_executor(name)
    if asked == 0 and workers is None:
        return Serial()
    return Processes(workers or asked or max(1, available_cores() // cores_each))


def cores_each(driver: str) -> int:
    """A run in real time takes one for itself, and leaves one to the kernel and to everybody else."""
    return 1 if driver == "sim" else 2


def available_cores() -> int:
    """Cores this process may use, which in a container or under taskset are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Put Ctrl-C and SIGTERM off for a moment in which they would leave a lock taken."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Serial(Executor):
    """Runs each task here and now: for debugging and profiling."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        with _Carry(future):
            future.set_result(fn(*args, **kwargs))
        return future


class _Carry:
    """Hands what a task raises to whoever asks for its result, as every executor does; Ctrl-C passes through."""

    def __init__(self, future: Future[T]) -> None:
        self._future = future

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        self._future.set_exception(error)
        return True


class Processes(ProcessPoolExecutor):
    """Local processes on a lifeline: a pipe whose other end only we hold. It closes when we die, however we die."""

    def __init__(self, workers: int) -> None:
        context = get_context("spawn")
        lifeline, self._held = context.Pipe(duplex=False)
        super().__init__(workers, context, _start_worker, (lifeline,))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Workers start here, with Ctrl-C blocked: one that has not yet learnt to ignore it must not meet it."""
        with interrupts_held():
            return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """With `cancel_futures` the runs under way are abandoned too: nobody waits for a long one after Ctrl-C."""
        if cancel_futures:
            self._held.close()
        super().shutdown(wait, cancel_futures=cancel_futures)


def _start_worker(lifeline: Connection) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked when we were started: see `submit`
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends Ctrl-C to every process; the parent decides
    threading.Thread(target=_die_with, args=(lifeline,), daemon=True).start()


def _die_with(lifeline: Connection) -> None:
    lifeline.poll(None)  # nothing is ever sent: it wakes at the end of file
    os._exit(1)
