"""Wakes the threads of one process: news that has reached it already need not be looked for in the database."""

from __future__ import annotations

import threading


class Bell:
    """Counts its rings, so that one between two waits is not missed."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.rings = 0

    def ring(self) -> None:
        with self._condition:
            self.rings += 1
            self._condition.notify_all()

    def wait(self, heard: int, *, seconds: float) -> int:
        """Returns once there are other rings than were `heard`, or after a while; the rings so far."""
        with self._condition:
            self._condition.wait_for(lambda: self.rings != heard, timeout=seconds)
            return self.rings
