"""Reference cycles: objects that stay in memory until the garbage collector finds them."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def garbage(times: int) -> Iterator[list[str]]:
    """The product's classes of which the block leaves at least `times` objects to the cyclic garbage collector.

    The block runs the same thing that many times. Fewer objects are from other threads of the process, where an earlier test may still
    be ending.
    """
    found: list[str] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        counts = Counter(type(each) for each in gc.garbage)
        found += [
            kind.__name__
            for kind, count in counts.items()
            if kind.__module__.startswith("serving_ui") and count >= times
        ]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
