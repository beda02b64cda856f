"""Before all others: what a live run asks of scheduler and collector, so that it is late for its own doing only."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PRIORITY = 1  # the lowest of real time: before everything that has none


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run this thread in real time if that is allowed, which root is; and collect no garbage but what it makes itself.

    The kernel keeps a twentieth of each second for the others (sched_rt_runtime_us), so that nothing can hang by it.
    """
    before, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        with suppress(OSError):
            os.sched_setscheduler(0, before, parameters)
