"""Requests at a steady rate to an application, through the first proxy that accepts them, as the gateway sends them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import requests

from serving_ui.backends.ray_serve.application import Application
from tests.support.waiting import wait_until

LONG_SECONDS = 2.0
EVERY_LONG = 10  # every tenth request is a long one
_PAUSE = threading.Event()  # never set


@dataclass(frozen=True)
class Sent:
    """`version` is empty if there was no answer; `at` is when it was sent, on the monotonic clock."""

    expected: str
    version: str
    problem: str
    at: float
    seconds: float


class Load:
    """`target` is the application that queries are sent to from now on."""

    def __init__(self, target: Application, proxies: tuple[str, ...], *, rate: float) -> None:
        self.target = target
        self.sent: list[Sent] = []
        self._proxies = proxies
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
        return [each for each in self.sent if each.version != each.expected]

    def wait_for(self, count: int) -> None:
        """Wait until as many more have been answered."""
        enough = len(self.sent) + count
        wait_until(lambda: len(self.sent) >= enough, what=f"{count} answers")

    def _send(self, pool: ThreadPoolExecutor) -> None:
        began, number = time.monotonic(), 0
        while not self._is_over.is_set():
            pool.submit(self._query, self.target, LONG_SECONDS if number % EVERY_LONG == 0 else 0)
            number += 1
            _PAUSE.wait(max(0.0, began + number / self._rate - time.monotonic()))

    def _query(self, target: Application, seconds: float) -> None:
        began, version, problem = time.monotonic(), "", ""
        for proxy in self._proxies:
            try:
                reply = requests.post(proxy + target.query_path, json={"seconds": seconds}, timeout=60)
            except requests.ConnectionError as error:
                problem = str(error)
                if "Connection refused" in problem:
                    continue  # nothing was sent
                break
            version = reply.json()["version"] if reply.status_code == 200 else ""
            problem = "" if version else f"{reply.status_code} {reply.text[:200]}"
            break
        expected = str(target.source.engine_arguments["version"])
        self.sent.append(Sent(expected, version, problem, began, time.monotonic() - began))
