"""What requests come to by the minute: added up from rows, in the transaction that stores those."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime

from serving_ui.usage.models import Minute, Request

BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000)
KEY = ("minute", "endpoint_id", "entity", "principal_id")
SUMS = (
    "requests", "errors_4xx", "errors_5xx", "limited", "truncated", "client_left", "estimated",
    "tokens_in", "tokens_out", "first_byte_ms", "total_ms", "overhead_ms",
)  # fmt: skip
_Key = tuple[datetime, str, str, str]


def add(rows: Iterable[Request]) -> None:
    """Adds these rows. Only one at a time may do so: it reads, adds and writes."""
    fresh: dict[_Key, Minute] = {}
    for row in rows:
        _count(row, fresh)
    for stored in Minute.objects.filter(
        minute__in={key[0] for key in fresh}, endpoint_id__in={key[1] for key in fresh}
    ):
        added = fresh.get((stored.minute, stored.endpoint_id, stored.entity, stored.principal_id))
        if added is not None:
            _join(added, stored)
    Minute.objects.bulk_create(
        fresh.values(),
        update_conflicts=True,
        unique_fields=KEY,
        update_fields=("endpoint", "principal", "slowest_ms", "latency", *SUMS),
    )


def add_up(latencies: Iterable[list[int]]) -> list[int]:
    """The sum of histograms."""
    total = [0] * (len(BOUNDS_MS) + 1)
    for latency in latencies:
        for position, count in enumerate(latency):
            total[position] += count
    return total


def _count(row: Request, minutes: dict[_Key, Minute]) -> None:
    key = (row.at.replace(second=0, microsecond=0), row.endpoint_id, row.entity, row.principal_id)
    minute = minutes.get(key)
    if minute is None:
        minute = minutes[key] = Minute(**dict(zip(KEY, key, strict=True)), latency=add_up(()))
    minute.endpoint, minute.principal = row.endpoint, row.principal
    minute.requests += 1
    minute.errors_4xx += row.status // 100 == 4
    minute.errors_5xx += row.status // 100 == 5
    minute.limited += row.completeness == "limited"
    minute.truncated += row.completeness == "truncated"
    minute.client_left += row.completeness == "client_left"
    minute.estimated += row.tokens_source == "estimated"
    minute.tokens_in += row.tokens_in
    minute.tokens_out += row.tokens_out
    minute.first_byte_ms += row.first_byte_ms
    minute.total_ms += row.total_ms
    minute.overhead_ms += row.overhead_ms
    minute.slowest_ms = max(minute.slowest_ms, row.total_ms)
    minute.latency[bisect_left(BOUNDS_MS, row.total_ms)] += 1


def _join(added: Minute, stored: Minute) -> None:
    for name in SUMS:
        setattr(added, name, getattr(added, name) + getattr(stored, name))
    added.slowest_ms = max(added.slowest_ms, stored.slowest_ms)
    added.latency = add_up((added.latency, stored.latency))
