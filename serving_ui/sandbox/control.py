"""Fault injection for tests. It exists only if the sandbox is started with `--control`.

`POST /sandbox/control` sets faults: `{"on": "models", "status": 401}`. `on` is one operation (models, chat/completions, completions,
embeddings) or a list; without it the faults apply to every operation. `DELETE` resets faults and recorded requests. `GET` returns both.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

EVERY_OPERATION = "*"
_MAX_RECORDED = 1000


@dataclass(frozen=True)
class Faults:
    """The faults of one operation. The defaults inject none."""

    latency: float = 0.0  # seconds before the response
    pause: float = 0.0  # seconds before each event of a stream
    hold: bool = False  # do not respond until hold is set to false
    status: int = 0  # respond with this status
    message: str = "The sandbox was told to fail."
    retry_after: str = ""
    location: str = ""
    keys: tuple[str, ...] | None = None  # the accepted API keys; None for all
    cut_after: int | None = (
        None  # close the connection after this number of events, or in the middle of a response that is no stream
    )
    malformed_after: int | None = None  # after this number of events send one that is not JSON
    failed_after: int | None = None  # after this number of events send an error event
    no_done: bool = False  # leave out [DONE]
    html: bool = False  # respond with a web page


@dataclass
class ReceivedRequest:
    """One received request. `gone`: the client disconnected before the response was complete."""

    call: str
    key: str
    body: Any
    headers: dict[str, str]
    gone: bool = False
    answered: bool = False


class Control:
    """The faults by operation, and the requests received."""

    def __init__(self) -> None:
        self._faults: dict[str, Faults] = {}
        self._requests: list[ReceivedRequest] = []
        self._changed = asyncio.Event()

    def faults(self, operation: str) -> Faults:
        return self._faults.get(operation) or self._faults.get(EVERY_OPERATION) or Faults()

    def set_faults(self, change: dict[str, Any]) -> None:
        """Raises ValueError for a fault that does not exist."""
        on = change.pop("on", EVERY_OPERATION)
        names = {field.name for field in fields(Faults)}
        if unknown := sorted(set(change) - names):
            raise ValueError(f"There is no fault {unknown[0]}. The faults are: {', '.join(sorted(names))}.")
        if isinstance(change.get("keys"), list):
            change["keys"] = tuple(change["keys"])
        for operation in on if isinstance(on, list) else [on]:
            self._faults[operation] = replace(self._faults.get(operation) or Faults(), **change)
        self._notify_waiters()

    def reset(self) -> None:
        self._faults.clear()
        self._requests.clear()
        self._notify_waiters()

    def record(self, request: ReceivedRequest) -> None:
        self._requests.append(request)
        del self._requests[:-_MAX_RECORDED]

    def report(self) -> dict[str, Any]:
        open_requests = sum(not request.gone and not request.answered for request in self._requests)
        return {
            "requests": [asdict(request) for request in self._requests],
            "open": open_requests,
            "knobs": {operation: asdict(faults) for operation, faults in self._faults.items()},
        }

    async def wait_until_released(self, operation: str) -> None:
        """Returns as soon as the operation is not held."""
        while self.faults(operation).hold:
            await self._changed.wait()

    def _notify_waiters(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
