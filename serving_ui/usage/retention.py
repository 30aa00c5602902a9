"""Forgets what is old: rows after days, minutes after a year and more; in short steps, so that nobody waits for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from serving_ui.usage.models import Mark, Minute, Request, SpoolFile

STEP = 5000
_MARK = "forgotten"


def forget(*, now: datetime) -> None:
    """Deletes what is older than the settings say."""
    oldest = now - timedelta(days=settings.USAGE_ROW_DAYS)
    _note(oldest)
    _delete(Request.objects.filter(at__lt=oldest), by="at")
    _delete(SpoolFile.objects.filter(is_done=True, last_at__lt=oldest), by="last_at")  # their rows are gone
    _delete(SpoolFile.objects.filter(is_done=True, last_at=None), by="last_at")
    _delete(Minute.objects.filter(minute__lt=now - timedelta(days=settings.USAGE_MINUTE_DAYS)), by="minute")


def kept_since(*, now: datetime) -> datetime:
    """The first minute of which every row is there: what was once forgotten stays so when more days are to be kept."""
    edge = now - timedelta(days=settings.USAGE_ROW_DAYS)
    mark = Mark.objects.filter(name=_MARK).first()
    if mark is not None:
        edge = max(edge, datetime.fromtimestamp(mark.position + 1, UTC))
    return (edge + timedelta(minutes=1)).replace(second=0, microsecond=0)


def _note(oldest: datetime) -> None:
    """Before anything is deleted."""
    position = int(oldest.timestamp())
    Mark.objects.get_or_create(name=_MARK)
    Mark.objects.filter(name=_MARK, position__lt=position).update(position=position)


def _delete(rows: QuerySet[Any], *, by: str) -> None:
    """In the order of the index that finds them: by another one the database would look through the whole table."""
    while ids := list(rows.order_by(by).values_list("pk", flat=True)[:STEP]):
        rows.model._default_manager.filter(pk__in=ids).delete()
