"""What requests come to, by the minute and in all: added up from rows, in the transaction that stores those."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from serving_ui.gateway.meter import LATENCY_MS as BOUNDS_MS
from serving_ui.usage.models import Minute, Request, Total

_SUMS = (
    "requests", "errors_4xx", "errors_5xx", "limited", "truncated", "client_left", "estimated",
    "tokens_in", "tokens_out", "first_byte_ms", "total_ms", "overhead_ms",
)  # fmt: skip
_CHANGING = ("endpoint", "slowest_ms", "latency", *_SUMS)
_MINUTE = ("minute", "endpoint_id", "entity", "principal_id")
_TOTAL = ("endpoint_id", "entity")


def add(rows: list[Request]) -> None:
    """Adds these rows. Only one at a time may do so: it reads, adds and writes."""
    minutes, totals = _Sums(Minute, _MINUTE), _Sums(Total, _TOTAL)
    for row in rows:
        minute = row.at.replace(second=0, microsecond=0)
        minutes.count(row, minute, row.endpoint_id, row.entity, row.principal_id).principal = row.principal
        totals.count(row, row.endpoint_id, row.entity)
    minutes.store("principal")
    totals.store()


def add_up(latencies: Iterable[list[int]]) -> list[int]:
    """The sum of histograms."""
    total = [0] * (len(BOUNDS_MS) + 1)
    for latency in latencies:
        for position, count in enumerate(latency):
            total[position] += count
    return total


class _Sums:
    """Rows of one table, by what they are the sums of."""

    def __init__(self, model: type[Any], names: tuple[str, ...]) -> None:
        self._model = model
        self._names = names
        self._fresh: dict[tuple[Any, ...], Any] = {}

    def count(self, row: Request, *key: Any) -> Any:
        """Adds one request; the sums that it was added to."""
        sums = self._fresh.get(key)
        if sums is None:
            named = dict(zip(self._names, key, strict=True))
            sums = self._fresh[key] = self._model(**named, latency=add_up(()))
        _count(row, sums)
        return sums

    def store(self, *more: str) -> None:
        """Adds all of it to what is stored."""
        for stored in self._model.objects.filter(
            **{
                f"{name}__in": {key[place] for key in self._fresh}
                for place, name in enumerate(self._names[:2])
            }
        ):
            fresh = self._fresh.get(tuple(getattr(stored, name) for name in self._names))
            if fresh is not None:
                _join(fresh, stored)
        self._model.objects.bulk_create(
            self._fresh.values(),
            update_conflicts=True,
            unique_fields=self._names,
            update_fields=(*_CHANGING, *more),
        )


def _count(row: Request, sums: Minute | Total) -> None:
    sums.endpoint = row.endpoint
    sums.requests += 1
    sums.errors_4xx += row.status // 100 == 4
    sums.errors_5xx += row.status // 100 == 5
    sums.limited += row.completeness == "limited"
    sums.truncated += row.completeness == "truncated"
    sums.client_left += row.completeness == "client_left"
    sums.estimated += row.tokens_source == "estimated"
    sums.tokens_in += row.tokens_in
    sums.tokens_out += row.tokens_out
    sums.first_byte_ms += row.first_byte_ms
    sums.total_ms += row.total_ms
    sums.overhead_ms += row.overhead_ms
    sums.slowest_ms = max(sums.slowest_ms, row.total_ms)
    sums.latency[bisect_left(BOUNDS_MS, row.total_ms)] += 1


def _join(fresh: Minute | Total, stored: Minute | Total) -> None:
    for name in _SUMS:
        setattr(fresh, name, getattr(fresh, name) + getattr(stored, name))
    fresh.slowest_ms = max(fresh.slowest_ms, stored.slowest_ms)
    fresh.latency = add_up((fresh.latency, stored.latency))
