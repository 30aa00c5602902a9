"""Ends the children of the supervisor after the supervisor is gone, even when it was killed with SIGKILL.

Reads lines from a pipe whose other end only the supervisor holds: `+GROUP` and `-GROUP` add and remove a process group, `?` is answered
with a byte as a heartbeat. At the end of the pipe it ends the groups that are left. Grandchildren are in those groups too, which
Linux's parent-death signal would not reach. Runs as a script with `python -I -S`: it imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

TERMINATE_SECONDS = 3.0  # between SIGTERM and SIGKILL


def read_groups() -> set[int]:
    """Read the pipe to its end. Returns the process groups that are left."""
    groups: set[int] = set()
    for line in sys.stdin:
        if line[0] == "?":
            with contextlib.suppress(OSError):  # the supervisor has just ended
                os.write(sys.stdout.fileno(), b".")
            continue
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    return groups


def end(groups: set[int]) -> None:
    """SIGTERM, then SIGKILL for those that remain."""
    left = {group for group in groups if _send(group, signal.SIGTERM)}
    deadline = time.monotonic() + TERMINATE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {group for group in left if _send(group, 0)}
    for group in left:
        _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    """Returns False if the process group does not exist."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    end(read_groups())
