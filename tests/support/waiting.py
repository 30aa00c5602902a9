"""Waits for conditions, and reads the process table."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

_PAUSE = threading.Event()  # never set: a wait on it is a look every few milliseconds


def until(condition: Callable[[], object], *, what: str, seconds: float = 60.0) -> None:
    """Return once the condition holds; fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        _PAUSE.wait(0.02)


def pass_time(seconds: float) -> None:
    """For a test of how long something lasts, and for no other."""
    over = time.monotonic() + seconds
    until(lambda: time.monotonic() > over, what="the time to pass", seconds=2 * seconds + 60)


def is_alive(process: int) -> bool:
    """Whether the process runs; one that has ended and is not yet collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def offspring(process: int) -> set[int]:
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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
