"""Waits for conditions, finds free ports, and reads the process table."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEADLINE = 60.0  # seconds; generous, because the tests also run on slow machines
_PAUSE = threading.Event()  # never set: waiting for it pauses between two checks


def wait_until(
    condition: Callable[[], Any],
    *,
    what: str = "the condition to hold",
    seconds: float = DEADLINE,
    every: float = 0.02,
) -> Any:
    """The first true value of `condition`, which is called `every` so many seconds. Fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        _PAUSE.wait(every)
    return value


def pass_time(seconds: float) -> None:
    """Sleeps. Only for tests of how long something lasts; others wait for a condition."""
    over = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > over, what="the time to pass", seconds=2 * seconds + 60)


def is_alive(process: int) -> bool:
    """Whether the process runs; one that has ended and is not yet collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(process: int) -> set[int]:
    """The running processes that descend from this one."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    found: set[int] = set()
    generation = {process}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation} - found
        found |= generation
    return found


def command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
