"""What requests come to, by the minute and in all: added up from rows, in the transaction that stores those."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from serving_ui.gateway.meter import LATENCY_MS
from serving_ui.usage import writing
from serving_ui.usage.models import LATENCY_NAMES, Minute, Total

Values = Mapping[str, Any]
_SUMS = (
    "requests", "errors_4xx", "errors_5xx", "limited", "truncated", "client_left", "estimated",
    "tokens_in", "tokens_out", "tokens_cached", "tokens_cache_written", "tokens_reasoning", "first_byte_ms", "total_ms", "overhead_ms", *LATENCY_NAMES,
)  # fmt: skip
_MINUTE = ("minute", "endpoint_id", "entity", "principal_id")
_TOTAL = ("endpoint_id", "entity")


def add(rows: Sequence[Values]) -> None:
    """Adds these requests."""
    minutes, totals = _Sums(), _Sums()
    for row in rows:
        at: datetime = row["at"]
        minute = at.replace(second=0, microsecond=0)
        key = (minute, row["endpoint_id"], row["entity"], row["principal_id"])
        minutes.count(row, key, (row["endpoint"], row["principal"]))
        totals.count(row, key[1:3], (row["endpoint"],))
    writing.add(
        Minute, key=_MINUTE, newest=("endpoint", "principal"), highest=("slowest_ms",), sums=_SUMS,
        rows=minutes.rows(),
    )  # fmt: skip
    writing.add(
        Total, key=_TOTAL, newest=("endpoint",), highest=("slowest_ms",), sums=_SUMS, rows=totals.rows()
    )


class _Sums:
    """Sums by key, with the names that were seen last."""

    def __init__(self) -> None:
        self._names: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self._slowest: dict[tuple[Any, ...], float] = {}
        self._sums: dict[tuple[Any, ...], list[float]] = {}

    def count(self, row: Values, key: tuple[Any, ...], names: tuple[str, ...]) -> None:
        self._names[key] = names
        self._slowest[key] = max(self._slowest.get(key, 0.0), row["total_ms"])
        one = _counted(row)
        sums = self._sums.get(key)
        self._sums[key] = one if sums is None else [a + b for a, b in zip(sums, one, strict=True)]

    def rows(self) -> list[tuple[Any, ...]]:
        """In the order of the key, in which two workers could not get into each other's way."""
        return [(*key, *self._names[key], self._slowest[key], *self._sums[key]) for key in sorted(self._sums)]


def _counted(row: Values) -> list[float]:
    """What one request adds, in the order of `_SUMS`."""
    status, how = row["status"] // 100, row["completeness"]
    latency = [0] * len(LATENCY_NAMES)
    latency[bisect_left(LATENCY_MS, row["total_ms"])] = 1
    return [
        1, int(status == 4), int(status == 5),
        int(how == "limited"), int(how == "truncated"), int(how == "client_left"),
        int(row["tokens_source"] in ("estimated", "mixed")),
        row["tokens_in"], row["tokens_out"],
        row["tokens_cached"], row["tokens_cache_written"], row["tokens_reasoning"], row["first_byte_ms"], row["total_ms"], row["overhead_ms"],
        *latency,
    ]  # fmt: skip
