"""Sends spans of requests to a collector (OTLP over HTTP), from rows, by the worker: nothing of it is on the way of a query.

A collector that is away is caught up with once it is back; what it missed for longer than an hour is left out. A worker that is
killed between sending and noting it sends again: the same spans with the same ids.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import cache

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from serving_ui.usage.models import Mark, Request
from serving_ui.usage.spans import span

log = logging.getLogger(__name__)
BATCH = 500
MOST_BATCHES = 20
PATIENCE = timedelta(hours=1)
TIMEOUT_SECONDS = 5.0
_MARK = "traces"


def export(*, endpoint: str, now: datetime) -> int:
    """Sends what is new; the number of rows that it has dealt with."""
    mark, _is_new = Mark.objects.get_or_create(name=_MARK)
    done = 0
    for _ in range(MOST_BATCHES):
        rows = _next(mark.position, oldest=now - PATIENCE)
        if not rows or not _sent(rows, endpoint):
            break
        position, done = rows[-1].pk, done + len(rows)
        if not Mark.objects.filter(name=_MARK, position=mark.position).update(position=position):
            break  # another worker has sent these, too
        mark.position = position
    return done


def _next(position: int, *, oldest: datetime) -> list[Request]:
    """The rows after `position`, without the many that may be too old."""
    after = Request.objects.filter(pk__gt=position).order_by("pk")
    rows = list(after[:BATCH])
    if rows and rows[0].at < oldest:
        last = Request.objects.filter(at__lt=oldest).order_by("-at").values_list("pk", flat=True).first() or 0
        rows = list(after.filter(pk__gt=last)[:BATCH])
    return rows


def _sent(rows: list[Request], endpoint: str) -> bool:
    spans = [made for row in rows if (made := span(row)) is not None]
    if spans and _exporter(endpoint).export(spans) is not SpanExportResult.SUCCESS:
        log.warning("The collector at %s did not take %d spans. They are sent again.", endpoint, len(spans))
        return False
    return True


@cache
def _exporter(endpoint: str) -> OTLPSpanExporter:
    return OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=TIMEOUT_SECONDS)
