"""Signals between the threads of one process, so that a thread that waits for a revision need not poll the database."""

from __future__ import annotations

import threading


class RevisionSignal:
    """A counter of notifications. A waiting thread passes the count that it saw last, so it misses none between two waits."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.count = 0

    def notify(self) -> None:
        with self._condition:
            self.count += 1
            self._condition.notify_all()

    def wait(self, seen: int, *, timeout: float) -> int:
        """Blocks until the count differs from `seen`, or for `timeout` seconds. Returns the count."""
        with self._condition:
            self._condition.wait_for(lambda: self.count != seen, timeout=timeout)
            return self.count


revision_committed, revision_acknowledged = RevisionSignal(), RevisionSignal()
