"""Runs a function in a thread of its own, one run at a time, so that a slow server blocks no thread of Celery's worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.db import connection

log = logging.getLogger(__name__)


class Background:
    """A request during a run leads to one more run after it, so that it sees everything that was committed before the request."""

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        self._name, self._run = name, run
        self._lock = threading.Lock()
        self._is_running = self._is_requested = False

    def request(self) -> None:
        with self._lock:
            self._is_requested = True
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        try:
            while self._take():
                try:
                    self._run()
                except Exception:  # this thread has no caller; the next request tries again
                    log.exception("The task %s failed", self._name)
        finally:
            connection.close()

    def _take(self) -> bool:
        """Whether to run again."""
        with self._lock:
            requested, self._is_requested = self._is_requested, False
            self._is_running = requested
            return requested
