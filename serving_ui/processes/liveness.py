"""Heartbeats from a child process to its parent, by which the parent notices a child that hangs.

The child writes a byte to a pipe about once a second, from the loop that does its work: a separate thread would go on while the
loop hangs. The parent counts the seconds since the last byte, but only those in which the parent itself was running: when the
machine was suspended, or parent and children were stopped together, no child may be killed for it.
"""

from __future__ import annotations

import contextlib
import os
import time

FILE = "LIVENESS_FILE"  # environment variable of a child: the file descriptor of the pipe
EVERY_SECONDS = 1.0
START_SECONDS = 60.0  # until the first heartbeat
SILENCE_SECONDS = 10.0  # between two heartbeats
MAX_STEP_SECONDS = 1.0  # a longer time between two calls of AwakeClock.passed counts as this much


class Heartbeat:
    """The child's side. Does nothing when no parent reads."""

    def __init__(self) -> None:
        number = os.environ.get(FILE, "")
        self._file = int(number) if number.isdecimal() else -1
        self._due = 0.0
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.set_blocking(
                    self._file, False
                )  # a parent that is stopped does not read, and the pipe fills

    def send(self) -> None:
        """Call it in every round of the loop; it writes once a second."""
        now = time.monotonic()
        if self._file < 0 or now < self._due:
            return
        self._due = now + EVERY_SECONDS
        with contextlib.suppress(OSError):
            os.write(self._file, b".")


class HeartbeatMonitor:
    """The parent's side for one child. `start_seconds` is the time allowed until the first heartbeat."""

    def __init__(self, file: int, *, start_seconds: float = START_SECONDS) -> None:
        self._start_seconds = start_seconds
        os.set_blocking(file, False)
        self._file = open(file, "rb", buffering=0)  # noqa: SIM115 -- closed when the child has ended
        self.has_started = False
        self.silent = 0.0
        """Seconds since the last heartbeat."""

    def read(self, awake: float) -> None:
        """`awake`: seconds since the last call in which this process was running."""
        self.silent += awake
        while not self._file.closed:
            received = self._file.read(4096)
            if received is None:
                return
            if not received:
                self._file.close()
                return
            self.has_started, self.silent = True, 0.0

    @property
    def is_overdue(self) -> bool:
        return self.silent > (SILENCE_SECONDS if self.has_started else self._start_seconds)


class AwakeClock:
    """Measures time without the periods in which this process was stopped."""

    def __init__(self) -> None:
        self._called_at = time.monotonic()

    def passed(self) -> float:
        """Seconds since the last call."""
        now = time.monotonic()
        step, self._called_at = min(now - self._called_at, MAX_STEP_SECONDS), now
        return step
