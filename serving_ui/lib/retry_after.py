"""HTTP's header Retry-After (RFC 9110, 10.2.3): how long somebody asks to be left alone, in seconds or as a date.

Azure and OpenAI say it in `retry-after-ms` as well, more precisely.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds; None when the headers (by lower-case names) do not say it in a way that can be understood."""
    wait = _number(headers.get("retry-after-ms"))
    if wait is not None:
        return wait / 1000
    given = headers.get("retry-after")
    if given is None:
        return None
    wait = _number(given)
    if wait is None and (then := _moment(given)) is not None:
        now = _moment(headers.get("date", ""))  # the sender's clock, if it tells it, is the one that it means
        wait = max(then - (time() if now is None else now), 0.0)
    return wait


def _number(given: str | None) -> float | None:
    """At least 0."""
    try:
        number = float(given or "")
    except ValueError:
        return None
    return max(number, 0.0) if isfinite(number) else None


def _moment(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
