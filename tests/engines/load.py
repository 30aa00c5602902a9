"""Queries at a steady rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import requests

from tests.engines.polling import wait_until

LONG_SECONDS = 2.0
EVERY_LONG = 20  # every 20th query is a long one
_PAUSE = threading.Event()  # never set


@dataclass(frozen=True)
class Sent:
    """`version` is the model's; empty if there was no answer. `began` and `ended` are on the monotonic clock."""

    version: str
    problem: str
    began: float
    ended: float


class Load:
    """`query` sends the body of a query to a model of tests/engines/models.py."""

    def __init__(self, query: Callable[[dict[str, float]], requests.Response], *, rate: float) -> None:
        self.sent: list[Sent] = []
        self._query = query
        self._rate = rate
        self._is_over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Load]:
        with ThreadPoolExecutor(100) as pool:
            source = threading.Thread(target=self._send, args=[pool])
            source.start()
            try:
                yield self
            finally:
                self._is_over.set()
                source.join()

    @property
    def failed(self) -> list[Sent]:
        return [each for each in self.sent if not each.version]

    def wait_for(self, count: int) -> None:
        """Wait until as many more have been answered."""
        enough = len(self.sent) + count
        wait_until(lambda: len(self.sent) >= enough, what=f"{count} answers")

    def _send(self, pool: ThreadPoolExecutor) -> None:
        began, number = time.monotonic(), 0
        while not self._is_over.is_set():
            pool.submit(self._record, LONG_SECONDS if number % EVERY_LONG == 0 else 0.0)
            number += 1
            _PAUSE.wait(max(0.0, began + number / self._rate - time.monotonic()))

    def _record(self, seconds: float) -> None:
        began, version = time.monotonic(), ""
        try:
            reply = self._query({"seconds": seconds})
            problem = f"{reply.status_code} {reply.text[:300]}"
            if reply.status_code == 200:
                version, problem = reply.json()["version"], ""
        except requests.RequestException as error:
            problem = str(error)
        self.sent.append(Sent(version, problem, began, time.monotonic()))
