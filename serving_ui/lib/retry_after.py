"""Parses the header Retry-After (RFC 9110, 10.2.3), which is a number of seconds or a date.

Azure and OpenAI also send `retry-after-ms`, which is more precise.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait; None if the headers (by lower-case name) have no valid value."""
    wait = _number(headers.get("retry-after-ms"))
    if wait is not None:
        return wait / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    wait = _number(value)
    if wait is None and (retry_at := _timestamp(value)) is not None:
        now = _timestamp(headers.get("date", ""))  # the sender's clock if known, because it computed the date
        wait = max(retry_at - (time() if now is None else now), 0.0)
    return wait


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(number, 0.0) if isfinite(number) else None


def _timestamp(date: str) -> float | None:
    try:
        parsed = parsedate_to_datetime(date)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
