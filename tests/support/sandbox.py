"""Runs the sandbox provider on a free port and sets its faults (see serving_ui/sandbox/control.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from serving_ui.sandbox.app import make_sandbox
from serving_ui.sandbox.control import Control
from tests.support.asgi_server import serve
from tests.support.waiting import DEADLINE, wait_until


@dataclass
class SandboxServer:
    """A running sandbox; `base` is the value of `openai_api_base` that leads to it."""

    url: str

    @property
    def base(self) -> str:
        return f"{self.url}/sandbox/v1"

    def set_faults(self, **faults: Any) -> None:
        """Set faults, such as `set_faults(on="models", status=401)`. See serving_ui/sandbox/control.py."""
        answer = requests.post(f"{self.url}/sandbox/control", json=faults, timeout=60)
        assert answer.status_code == 200, answer.text

    def hold(self, *calls: str) -> None:
        """Answer nothing to these calls (all, when none is named) until `release`."""
        self.set_faults(on=list(calls) or "*", hold=True)

    def release(self, *calls: str) -> None:
        self.set_faults(on=list(calls) or "*", hold=False)

    def reset(self) -> None:
        requests.delete(f"{self.url}/sandbox/control", timeout=60)

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = requests.get(f"{self.url}/sandbox/control", timeout=60).json()
        return report

    def requests(self, call: str | None = None) -> list[dict[str, Any]]:
        """The requests received: dicts with call, key, body, headers, gone, answered."""
        return [each for each in self.report()["requests"] if call is None or each["call"] == call]

    def wait_for(self, call: str, *, count: int = 1, seconds: float = DEADLINE) -> list[dict[str, Any]]:
        """Wait until `call` has been requested `count` times."""
        found: list[dict[str, Any]] = wait_until(
            lambda: received if len(received := self.requests(call)) >= count else None, seconds=seconds
        )
        return found


@contextmanager
def running_sandbox() -> Iterator[SandboxServer]:
    with serve(make_sandbox(control=Control())) as running:
        yield SandboxServer(running.url)
