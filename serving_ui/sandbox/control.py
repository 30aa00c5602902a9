"""Knobs that make the sandbox misbehave on purpose, for tests. They exist only when it is started with `--control`.

`POST /sandbox/control` sets knobs: `{"on": "models", "status": 401}`. `on` is one call (models, chat/completions, completions,
embeddings) or a list; without it the knobs hold for every call. `DELETE` puts everything back. `GET` gives what was asked so far.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

EVERY_CALL = "*"
_MAX_REMEMBERED = 1000


@dataclass(frozen=True)
class Faults:
    """What is done to a call. Everything off."""

    latency: float = 0.0  # seconds before anything is answered
    pause: float = 0.0  # seconds before each event of a stream
    hold: bool = False  # answer nothing until hold is turned off
    status: int = 0  # answer this status instead
    message: str = "The sandbox was told to fail."
    retry_after: str = ""
    location: str = ""
    keys: tuple[str, ...] | None = None  # the only API keys that are accepted
    cut_after: int | None = (
        None  # close the connection after so many events (0: within the body of a whole reply)
    )
    malformed_after: int | None = None  # after so many events send one that is not JSON
    failed_after: int | None = None  # after so many events send an error event
    no_done: bool = False  # leave out [DONE]
    html: bool = False  # answer with a web page


@dataclass
class ReceivedRequest:
    """One call that came in. `gone` once its caller has left before the answer was complete."""

    call: str
    key: str
    body: Any
    headers: dict[str, str]
    gone: bool = False
    answered: bool = False


class Control:
    """The knobs by call, and the calls so far."""

    def __init__(self) -> None:
        self._knobs: dict[str, Faults] = {}
        self._asked: list[ReceivedRequest] = []
        self._changed = asyncio.Event()

    def knobs(self, call: str) -> Faults:
        return self._knobs.get(call) or self._knobs.get(EVERY_CALL) or Faults()

    def turn(self, change: dict[str, Any]) -> None:
        """Raises ValueError for a knob that does not exist."""
        on = change.pop("on", EVERY_CALL)
        known = {field.name for field in fields(Faults)}
        if unknown := sorted(set(change) - known):
            raise ValueError(f"There is no knob {unknown[0]}. There are: {', '.join(sorted(known))}.")
        if isinstance(change.get("keys"), list):
            change["keys"] = tuple(change["keys"])
        for call in on if isinstance(on, list) else [on]:
            self._knobs[call] = replace(self._knobs.get(call) or Faults(), **change)
        self._tell()

    def reset(self) -> None:
        self._knobs.clear()
        self._asked.clear()
        self._tell()

    def note(self, asked: ReceivedRequest) -> None:
        self._asked.append(asked)
        del self._asked[:-_MAX_REMEMBERED]

    def report(self) -> dict[str, Any]:
        waiting = sum(not asked.gone and not asked.answered for asked in self._asked)
        return {
            "requests": [asdict(asked) for asked in self._asked],
            "open": waiting,
            "knobs": {call: asdict(knobs) for call, knobs in self._knobs.items()},
        }

    async def released(self, call: str) -> None:
        """Returns when `call` is not, or no longer, held."""
        while self.knobs(call).hold:
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
