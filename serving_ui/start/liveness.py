"""Signs of life: a process that hangs is told from one that works, which its mere existence does not tell.

A child writes a byte to a pipe about every second, from the very loop that does its work: a thread of its own would live on while the
work stands still. Its parent counts how long it has been silent, in time in which the parent itself was awake: whoever is
stopped together with its children, as by a suspended machine, must not take them for dead afterwards.
"""

from __future__ import annotations

import contextlib
import os
import time

FILE = "LIVENESS_FILE"  # in the environment of a child: the number of the open file that takes its signs
EVERY_SECONDS = 1.0
START_SECONDS = 60.0  # so long a child may take to its first sign
SILENCE_SECONDS = 10.0  # and so long it may be silent then
LONGEST_STEP = 1.0  # between two looks of a parent that is awake; what lasts longer counts as this much


class Sign:
    """A child's side. Writes nothing when nobody listens."""

    def __init__(self) -> None:
        number = os.environ.get(FILE, "")
        self._file = int(number) if number.isdecimal() else -1
        self._due = 0.0
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.set_blocking(self._file, False)  # a parent that is stopped reads nothing for a while

    def give(self) -> None:
        """To be called all the time; a sign is given every second."""
        now = time.monotonic()
        if self._file < 0 or now < self._due:
            return
        self._due = now + EVERY_SECONDS
        with contextlib.suppress(OSError):
            os.write(self._file, b".")


class Signs:
    """A parent's side: what one child has said, and how long it has been silent, in seconds. `start_seconds` is how long its first
    sign may take."""

    def __init__(self, file: int, *, start_seconds: float = START_SECONDS) -> None:
        self._start_seconds = start_seconds
        os.set_blocking(file, False)
        self._file = open(file, "rb", buffering=0)  # noqa: SIM115 -- closed when the other side has ended
        self.has_come = False
        self.silent = 0.0

    def listen(self, awake: float) -> None:
        """`awake` is for how many seconds the parent has been awake since it listened last."""
        self.silent += awake
        while not self._file.closed:
            heard = self._file.read(4096)
            if heard is None:
                return
            if not heard:
                self._file.close()
                return
            self.has_come, self.silent = True, 0.0

    @property
    def are_missing(self) -> bool:
        return self.silent > (SILENCE_SECONDS if self.has_come else self._start_seconds)


class AwakeClock:
    """How much time has passed, without that in which this process itself was stopped."""

    def __init__(self) -> None:
        self._looked_at = time.monotonic()

    def passed(self) -> float:
        """Seconds since the last call."""
        now = time.monotonic()
        step, self._looked_at = min(now - self._looked_at, LONGEST_STEP), now
        return step
