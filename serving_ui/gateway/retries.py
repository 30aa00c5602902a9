"""Whether a provider that did not answer is asked once more, and after how long. Pure, but for the dice.

A request costs money as soon as somebody has read it, so it is asked again at the same place only when nothing can have been done:

    no connection (refused, no TLS)     again  nothing was sent
    a kept connection, closed before    again  the provider had closed it before the request reached it (`Connection.was_unread`);
                                               at once, on a new connection
    429, 503, 529 with a Retry-After    again  turned down, and it says when to come back. 529 is "overloaded" at Anthropic and
                                               Bedrock. Of Azure and OpenAI `retry-after-ms` counts, too
    the same with x-should-retry: false   -    OpenAI and Anthropic: their own clients do not ask again either
    the same without Retry-After          -    an empty account (insufficient_quota, enforced_spend_limit_reached) says no time, and
                                               what stands before a provider says 503 about one that may be at work
    408                                   -    Bedrock: the model worked longer than it may
    409, 425                              -    a conflict with what is in hand; 425 answers early data, which we never send
    500, 501, 502, 504, 520 to 527        -    the model has failed, or whoever stands before it does not know how far it was
    cut off, garbled, late                -    the model may have worked; so also a connection that is not accepted in time, since
                                               the caller has waited long enough

Elsewhere (fallback) is asked after 429, every 5xx and all that is no answer at all: the endpoint's manager has chosen that a request
may be paid for twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import random

from serving_ui.lib.retry_after import retry_after_seconds

MAX_ATTEMPTS = 3
MAX_TOTAL_DELAY_SECONDS = 5.0
"""Seconds that one query waits for its provider to recover, in all. Callers have timeouts and retries of their own."""
_FIRST = 0.2
_TURNED_DOWN = frozenset({429, 503, 529})


def retry_delay(*, attempts: int, spent: float, retry_after: float | None) -> float | None:
    """Seconds until the next try; None when there is none. `retry_after` is what the provider asks for, if it does."""
    if attempts >= MAX_ATTEMPTS:
        return None
    backoff = _FIRST * 2 ** (attempts - 1) * (0.5 + random())  # noqa: S311 - jitter is no secret
    seconds = backoff if retry_after is None else retry_after + backoff / 4
    return seconds if spent + seconds <= MAX_TOTAL_DELAY_SECONDS else None


def is_retryable(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a refusal with this status and these headers (by lower-case names) did nothing and may soon be over."""
    return (
        status in _TURNED_DOWN
        and retry_after_seconds(headers) is not None
        and headers.get("x-should-retry", "").lower() != "false"
    )
