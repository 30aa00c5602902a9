"""From a line of the spool to the values of a row that any database takes.

A gateway may be older or newer than this worker, and what callers send may be anything: a field that is not known is left out,
one that is missing has its default, a value that does not fit is made to. One strange line must never hold up the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import models

from serving_ui.usage.models import Request

_OURS = frozenset({"id", "file", "number", "at"})
_MOST_WHOLE = 2**31 - 1
_MOST = {
    models.PositiveSmallIntegerField: 2**15 - 1,
    models.PositiveIntegerField: _MOST_WHOLE,
    models.PositiveBigIntegerField: _MOST_WHOLE,  # so that the sum of four billion rows fits into its column
}
_FIRST, _AHEAD = datetime(2020, 1, 1, tzinfo=UTC), timedelta(days=1)  # a clock that is further off is none


def request(values: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """The values of one row, by name."""
    row = {name: fit(values[name]) if name in values else default for name, fit, default in _FITTING}
    row["at"] = _time(values.get("at"), now=now)
    return row


def _text(length: int) -> Callable[[Any], str]:
    def fit(value: Any) -> str:
        text = "" if value is None else str(value).replace("\0", "")[:length]  # PostgreSQL takes no NUL
        return (
            text if text.isascii() else text.encode(errors="replace").decode()
        )  # and no half of a surrogate pair

    return fit


def _whole(most: int) -> Callable[[Any], int]:
    def fit(value: Any) -> int:
        return int(min(_number(value), most))

    return fit


def _float(value: Any) -> float:
    return float(min(_number(value), _MOST_WHOLE))  # milliseconds, which spans tell in nanoseconds of 64 bits


def _number(value: Any) -> float:
    """At least 0, and not infinite; an integer may have any number of digits."""
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return max(value, 0)
    return 0


def _context(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    fit = _text(1024)
    return {fit(name): fit(each) for name, each in value.items()}


def _time(value: Any, *, now: datetime) -> datetime:
    try:
        moment = datetime.fromtimestamp(value, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return now
    return (
        moment if _FIRST <= moment <= now + _AHEAD else now
    )  # else it would be kept for ever, or not at all


def _fit(field: models.Field[Any, Any]) -> Callable[[Any], Any]:
    if isinstance(field, models.CharField):
        return _text(field.max_length or 0)
    if isinstance(field, models.FloatField):
        return _float
    if isinstance(field, models.BooleanField):
        return bool
    if isinstance(field, models.JSONField):
        return _context
    return _whole(next(most for kind, most in _MOST.items() if isinstance(field, kind)))


_FITTING = [
    (field.name, fit, fit(None))
    for field in Request._meta.concrete_fields
    if field.name not in _OURS
    for fit in [_fit(field)]
]
NAMES = ("at", *(name for name, _fit, _default in _FITTING))
