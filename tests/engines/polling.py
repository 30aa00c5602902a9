"""Waits for conditions that are requests to Ray or to the product, which need the processor themselves."""

from __future__ import annotations

import os
from functools import partial

from tests.support import waiting

wait_until = partial(waiting.wait_until, every=0.2)


def limit(seconds: float) -> float:
    """What takes at most so many seconds on an idle machine, and longer while several processes wait for each of its processors."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
