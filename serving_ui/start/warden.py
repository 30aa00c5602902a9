"""Ends what the supervisor started when the supervisor itself is gone, even killed with SIGKILL.

It reads `+GROUP` and `-GROUP` from a pipe whose other end only the supervisor holds, and answers `?` with a byte as a sign of life. The end of the pipe
means that nobody looks after those process groups any more. Children of children are in the groups too,
which is what Linux's parent-death signal would miss. Runs as a bare script: nothing of ours is imported.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

PATIENCE_SECONDS = 3.0


def watch() -> set[int]:
    """Follow the supervisor to its end; the answer is what it left behind."""
    groups: set[int] = set()
    for line in sys.stdin:
        if line[0] == "?":
            with contextlib.suppress(OSError):  # the supervisor has just gone
                os.write(sys.stdout.fileno(), b".")
            continue
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    return groups


def end(groups: set[int]) -> None:
    """Ask them to stop, and after a while see to it."""
    left = {group for group in groups if _send(group, signal.SIGTERM)}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {group for group in left if _send(group, 0)}
    for group in left:
        _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    """Whether anybody was there to get it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    end(watch())
