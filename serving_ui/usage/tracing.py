"""Sends spans of requests to a collector (OTLP over HTTP). Runs in the worker and reads rows, so no query waits for it.

When an unreachable collector is reachable again, it gets the spans of the last MAX_AGE. A worker that crashes between sending spans and moving
the mark sends them again, with the same ids.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import cache

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from serving_ui.usage.models import Mark, Request
from serving_ui.usage.spans import build_span

log = logging.getLogger(__name__)
BATCH_SIZE = 500
MAX_BATCHES = 20
MAX_AGE = timedelta(hours=1)
TIMEOUT_SECONDS = 5.0
_MARK = "traces"


def export(*, endpoint: str, now: datetime) -> int:
    """Sends the spans of new rows. Returns the number of rows processed."""
    mark, _is_new = Mark.objects.get_or_create(name=_MARK)
    done = 0
    for _ in range(MAX_BATCHES):
        rows = _next(mark.position, oldest=now - MAX_AGE)
        if not rows or not _send(rows, endpoint):
            break
        position, done = rows[-1].pk, done + len(rows)
        if not Mark.objects.filter(name=_MARK, position=mark.position).update(position=position):
            break  # another worker has sent these rows too
        mark.position = position
    return done


def _next(position: int, *, oldest: datetime) -> list[Request]:
    """The next rows after `position` that are not older than `oldest`."""
    after = Request.objects.filter(pk__gt=position).order_by("pk")
    rows = list(after[:BATCH_SIZE])
    if rows and rows[0].at < oldest:
        last = Request.objects.filter(at__lt=oldest).order_by("-at").values_list("pk", flat=True).first() or 0
        rows = list(after.filter(pk__gt=last)[:BATCH_SIZE])
    return rows


def _send(rows: list[Request], endpoint: str) -> bool:
    spans = [span for row in rows if (span := build_span(row)) is not None]
    if spans and _exporter(endpoint).export(spans) is not SpanExportResult.SUCCESS:
        log.warning("The collector at %s did not accept %d spans. They are sent again.", endpoint, len(spans))
        return False
    return True


@cache
def _exporter(endpoint: str) -> OTLPSpanExporter:
    return OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=TIMEOUT_SECONDS)
