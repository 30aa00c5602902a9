"""Suspends processes with SIGSTOP, as a machine does that is suspended or has no processor time left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def suspended(*processes: int) -> Iterator[None]:
    """The processes are suspended, in this order, until the block ends.

    A supervisor replaces a process that sends no heartbeat for SILENCE_SECONDS, and on a slow machine a block may take longer. So
    name the supervisor first, unless the test is about the replacement.
    """
    stopped: list[int] = []
    try:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
            stopped.append(process)
        yield
    finally:
        for process in reversed(stopped):
            with suppress(ProcessLookupError):  # the block has killed it
                os.kill(process, signal.SIGCONT)
