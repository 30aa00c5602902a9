"""Which replies are worth a retry at the same provider, and the delay before it. Pure, but for the random jitter.

`dispatch.Dispatcher.answer` decides what happens after a failed attempt; `attempt_failed` says what each failure allows.

A request costs money as soon as a model has read it, so it is repeated only if no model can have worked on it:

    no connection (refused, no TLS)     retry  nothing was sent
    a reused connection, closed unread  retry  the provider had closed it before the request arrived (`Connection.closed_unread`);
                                               at once, on a new connection, by the client itself
    429, 503, 529 with a Retry-After    retry  rejected, with a time to come back. 529 is "overloaded" at Anthropic and Bedrock.
                                               `retry-after-ms` of Azure and OpenAI counts, too
    the same with x-should-retry: false   -    OpenAI and Anthropic: their own clients do not retry either
    the same without Retry-After          -    an empty account (insufficient_quota, enforced_spend_limit_reached) gives no time, and
                                               a proxy may answer 503 while the provider behind it is still working
    408                                   -    Bedrock: the model ran into its time limit
    409, 425                              -    a conflict with another operation; 425 answers early data, which we never send
    500, 501, 502, 504, 520 to 527        -    the model failed, or a proxy does not know how far it was
    cut, malformed, timed out             -    the model may have worked; so also a connect timeout, since the caller has already
                                               waited for long
"""

from __future__ import annotations

from collections.abc import Mapping
from random import random

from serving_ui.lib.retry_after import retry_after_seconds

MAX_ATTEMPTS = 3
MAX_TOTAL_DELAY_SECONDS = 5.0
"""All delays of one query together. Callers have timeouts and retries of their own."""
_FIRST_DELAY_SECONDS = 0.2
_RETRYABLE_STATUSES = frozenset({429, 503, 529})


def retry_delay(*, attempts: int, spent: float, retry_after: float | None) -> float | None:
    """Seconds until the next attempt; None for no further attempt.

    `attempts`: how many were made. `spent`: seconds of all delays so far. `retry_after`: seconds from the provider's Retry-After.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    backoff = _FIRST_DELAY_SECONDS * 2 ** (attempts - 1) * (0.5 + random())  # noqa: S311 - jitter is no secret
    seconds = backoff if retry_after is None else retry_after + backoff / 4
    return seconds if spent + seconds <= MAX_TOTAL_DELAY_SECONDS else None


def is_retryable(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a reply with this status and these headers (by lower-case names) did no work and may succeed later."""
    return (
        status in _RETRYABLE_STATUSES
        and retry_after_seconds(headers) is not None
        and headers.get("x-should-retry", "").lower() != "false"
    )
