"""From a line of the spool to a row that any database takes.

A gateway may be older or newer than this worker, and what callers send may be anything: a field that is not known is left out,
one that is missing has its default, a value that does not fit is made to. One strange line must never hold up the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import models

from serving_ui.usage.models import Request

_OURS = frozenset({"id", "file", "number"})
_MOST_SMALL = 32_767
_MOST = 2**53


def request(*, file_id: int, number: int, values: Mapping[str, Any], now: datetime) -> Request:
    """The row of one line."""
    fitting = {name: fit(values[name]) for name, fit in _FITTING.items() if name in values}
    return Request(file_id=file_id, number=number, **{**fitting, "at": _time(values.get("at"), now=now)})


def _text(length: int) -> Callable[[Any], str]:
    def fit(value: Any) -> str:
        return "" if value is None else str(value).replace("\0", "")[:length]  # PostgreSQL takes no NUL

    return fit


def _whole(most: int) -> Callable[[Any], int]:
    def fit(value: Any) -> int:
        number = _number(value)
        return int(min(number, most))

    return fit


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return max(value, 0)


def _context(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    fit = _text(1024)
    return {fit(name): fit(each) for name, each in value.items()}


def _time(value: Any, *, now: datetime) -> datetime:
    try:
        return datetime.fromtimestamp(value, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return now


def _fit(field: models.Field[Any, Any]) -> Callable[[Any], Any]:
    if isinstance(field, models.CharField):
        return _text(field.max_length or 0)
    if isinstance(field, models.FloatField):
        return _number
    if isinstance(field, models.BooleanField):
        return bool
    if isinstance(field, models.JSONField):
        return _context
    return _whole(_MOST_SMALL if isinstance(field, models.PositiveSmallIntegerField) else _MOST)


_FITTING = {
    field.name: _fit(field)
    for field in Request._meta.concrete_fields
    if field.name not in _OURS and not isinstance(field, models.DateTimeField)
}
