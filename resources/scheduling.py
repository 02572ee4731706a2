"""How the threads of a run share the processors of a machine with those of other runs."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def batch_scheduling() -> Iterator[None]:
    """Let this thread, and those that it starts in the block, wait for their turn when they wake.

    Each fetched object wakes a thread. By default, Linux then interrupts another thread at once, often that
    of another run, which costs both CPU time. Other systems have no such policy; a sandbox can forbid it.
    """
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield
        return
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
