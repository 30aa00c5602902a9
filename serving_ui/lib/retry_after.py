"""HTTP's header Retry-After (RFC 9110, 10.2.3): how long somebody asks to be left alone, in seconds or as a date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time


def asked_for(headers: Mapping[str, str]) -> float | None:
    """Seconds; None when the headers (by lower-case names) do not say it in a way that can be understood."""
    given = headers.get("retry-after")
    if given is None:
        return None
    try:
        wait = float(given)
    except ValueError:
        then = _moment(given)
        if then is None:
            return None
        now = _moment(headers.get("date", ""))  # the sender's clock, if it tells it, is the one that it means
        wait = then - (time() if now is None else now)
    return max(wait, 0.0) if isfinite(wait) else None


def _moment(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
