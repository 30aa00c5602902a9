"""Whether a provider that did not answer is asked once more, and after how long. Pure, but for the dice.

Asked again is only what the provider has surely not done: it refused the connection, it said 429 and when to come back, or something
before it said 502, 503 or 504. A reply that broke off is not asked for again: the model has worked, and somebody pays for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import random

from serving_ui.lib.retry_after import asked_for

TRIES = 3
BUDGET = 5.0
"""Seconds that one query waits for its provider to recover, in all. Callers have patience and retries of their own."""
_FIRST = 0.2
_GATEWAY_STATUSES = frozenset({502, 503, 504})


def pause(*, tries: int, spent: float, retry_after: float | None) -> float | None:
    """Seconds until the next try; None when there is none. `retry_after` is what the provider asks for, if it does."""
    if tries >= TRIES:
        return None
    backoff = _FIRST * 2 ** (tries - 1) * (0.5 + random())  # noqa: S311 - jitter is no secret
    seconds = backoff if retry_after is None else retry_after + backoff / 4
    return seconds if spent + seconds <= BUDGET else None


def is_worth(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a refusal with this status may be gone in a moment."""
    return status in _GATEWAY_STATUSES or (status == 429 and asked_for(headers) is not None)
