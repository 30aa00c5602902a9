"""Converts a line of the spool to values that fit the columns of `Request` on any database.

The line may come from a gateway of another version, and callers can send anything. So unknown fields are ignored, missing fields get
their default, and values are converted to their column's type, length and range: no line can block the lines after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import models

from serving_ui.usage.models import Request

_SET_ELSEWHERE = frozenset({"id", "file", "number", "at"})
_MAX_INTEGER = 2**31 - 1
_MAX_BY_FIELD = {
    models.PositiveSmallIntegerField: 2**15 - 1,
    models.PositiveIntegerField: _MAX_INTEGER,
    models.PositiveBigIntegerField: _MAX_INTEGER,  # so that the sum of four billion rows fits into its column
}
_EARLIEST, _MAX_AHEAD = (
    datetime(2020, 1, 1, tzinfo=UTC),
    timedelta(days=1),
)  # other times are of a wrong clock


def row_values(values: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """The values of one row, by column name."""
    row = {
        name: convert(values[name]) if name in values else default for name, convert, default in _CONVERTERS
    }
    row["at"] = _time(values.get("at"), now=now)
    return row


def _text(length: int) -> Callable[[Any], str]:
    """Text without NUL and without half surrogate pairs, which PostgreSQL rejects."""

    def convert(value: Any) -> str:
        text = "" if value is None else str(value).replace("\0", "")[:length]
        return text if text.isascii() else text.encode(errors="replace").decode()

    return convert


def _integer(maximum: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        return int(min(_number(value), maximum))

    return convert


def _float(value: Any) -> float:
    return float(min(_number(value), _MAX_INTEGER))  # milliseconds; spans have 64 bits of nanoseconds


def _number(value: Any) -> float:
    """Non-negative and finite; 0 for anything else. An integer may have any number of digits."""
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return max(value, 0)
    return 0


def _context(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    convert = _text(1024)
    return {convert(name): convert(each) for name, each in value.items()}


def _time(value: Any, *, now: datetime) -> datetime:
    """`now` for a time that is missing or implausible: a row of the far future would never expire."""
    try:
        moment = datetime.fromtimestamp(value, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return now
    return moment if _EARLIEST <= moment <= now + _MAX_AHEAD else now


def _converter(field: models.Field[Any, Any]) -> Callable[[Any], Any]:
    if isinstance(field, models.CharField):
        return _text(field.max_length or 0)
    if isinstance(field, models.FloatField):
        return _float
    if isinstance(field, models.BooleanField):
        return bool
    if isinstance(field, models.JSONField):
        return _context
    return _integer(next(maximum for kind, maximum in _MAX_BY_FIELD.items() if isinstance(field, kind)))


_CONVERTERS = [
    (field.name, convert, convert(None))
    for field in Request._meta.concrete_fields
    if field.name not in _SET_ELSEWHERE
    for convert in [_converter(field)]
]
COLUMNS = ("at", *(name for name, _convert, _default in _CONVERTERS))
