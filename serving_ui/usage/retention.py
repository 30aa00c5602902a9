"""Deletes usage that is older than the settings allow, in small steps, so that no lock is held for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from serving_ui.usage.models import Mark, Minute, Request, SpoolFile

BATCH_SIZE = 5000
_MARK = (
    "forgotten"  # name of the row in Mark; its position is the Unix time up to which rows have been deleted
)


def delete_expired(*, now: datetime) -> None:
    """Deletes rows of requests, spool files and minutes that have expired."""
    oldest = now - timedelta(days=settings.USAGE_ROW_DAYS)
    _record_deletion(oldest)
    _delete(Request.objects.filter(at__lt=oldest), order="at")
    _delete(SpoolFile.objects.filter(is_done=True, last_at__lt=oldest), order="last_at")  # after their rows
    _delete(SpoolFile.objects.filter(is_done=True, last_at=None), order="last_at")
    _delete(
        Minute.objects.filter(minute__lt=now - timedelta(days=settings.USAGE_MINUTE_DAYS)), order="minute"
    )


def complete_since(*, now: datetime) -> datetime:
    """The first minute from which on no row was deleted. Later than the setting says, if the setting was raised."""
    edge = now - timedelta(days=settings.USAGE_ROW_DAYS)
    mark = Mark.objects.filter(name=_MARK).first()
    if mark is not None:
        edge = max(edge, datetime.fromtimestamp(mark.position + 1, UTC))
    return (edge + timedelta(minutes=1)).replace(second=0, microsecond=0)


def _record_deletion(oldest: datetime) -> None:
    """Must precede the deletion, which may be interrupted."""
    position = int(oldest.timestamp())
    Mark.objects.get_or_create(name=_MARK)
    Mark.objects.filter(name=_MARK, position__lt=position).update(position=position)


def _delete(rows: QuerySet[Any], *, order: str) -> None:
    """`order` is the column of the index that finds the rows; in another order the database would scan the whole table."""
    while ids := list(rows.order_by(order).values_list("pk", flat=True)[:BATCH_SIZE]):
        rows.model._default_manager.filter(pk__in=ids).delete()
