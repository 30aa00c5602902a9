"""Adds requests to the sums by minute and in total, in the transaction that stores their rows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from serving_ui.gateway.meter import LATENCY_MS
from serving_ui.usage import bulk_sql
from serving_ui.usage.models import LATENCY_NAMES, Minute, Total

Values = Mapping[str, Any]
_SUMS = (
    "requests", "errors_4xx", "errors_5xx", "limited", "truncated", "client_left", "estimated",
    "tokens_in", "tokens_out", "tokens_cached", "tokens_cache_written", "tokens_reasoning", "first_byte_ms", "total_ms", "overhead_ms", *LATENCY_NAMES,
)  # fmt: skip
_MINUTE = ("minute", "endpoint_id", "entity", "principal_id")
_TOTAL = ("endpoint_id", "entity")


def add_requests(rows: Sequence[Values]) -> None:
    minutes, totals = _Sums(), _Sums()
    for row in rows:
        at: datetime = row["at"]
        minute = at.replace(second=0, microsecond=0)
        key = (minute, row["endpoint_id"], row["entity"], row["principal_id"])
        minutes.add(row, key, (row["endpoint"], row["principal"]))
        totals.add(row, key[1:3], (row["endpoint"],))
    bulk_sql.upsert_sums(
        Minute, key=_MINUTE, newest=("endpoint", "principal"), highest=("slowest_ms",), sums=_SUMS,
        rows=minutes.rows(),
    )  # fmt: skip
    bulk_sql.upsert_sums(
        Total, key=_TOTAL, newest=("endpoint",), highest=("slowest_ms",), sums=_SUMS, rows=totals.rows()
    )


class _Sums:
    """Sums by key, with the newest names of endpoint and principal, which may be renamed."""

    def __init__(self) -> None:
        self._names: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self._slowest: dict[tuple[Any, ...], float] = {}
        self._sums: dict[tuple[Any, ...], list[float]] = {}

    def add(self, row: Values, key: tuple[Any, ...], names: tuple[str, ...]) -> None:
        self._names[key] = names
        self._slowest[key] = max(self._slowest.get(key, 0.0), row["total_ms"])
        one = _contribution(row)
        sums = self._sums.get(key)
        self._sums[key] = one if sums is None else [a + b for a, b in zip(sums, one, strict=True)]

    def rows(self) -> list[tuple[Any, ...]]:
        """Sorted by key, so that two workers lock rows in the same order and cannot deadlock."""
        return [(*key, *self._names[key], self._slowest[key], *self._sums[key]) for key in sorted(self._sums)]


def _contribution(row: Values) -> list[float]:
    """The values that one request adds, in the order of `_SUMS`."""
    status, completeness = row["status"] // 100, row["completeness"]
    latency = [0] * len(LATENCY_NAMES)
    latency[bisect_left(LATENCY_MS, row["total_ms"])] = 1
    return [
        1, int(status == 4), int(status == 5),
        int(completeness == "limited"), int(completeness == "truncated"), int(completeness == "client_left"),
        int(row["tokens_source"] in ("estimated", "mixed")),
        row["tokens_in"], row["tokens_out"],
        row["tokens_cached"], row["tokens_cache_written"], row["tokens_reasoning"], row["first_byte_ms"], row["total_ms"], row["overhead_ms"],
        *latency,
    ]  # fmt: skip
