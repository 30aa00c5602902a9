"""Forgets what is old: rows after days, minutes after a year and more; in short steps, so that nobody waits for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from serving_ui.usage.models import Minute, Request, SpoolFile

STEP = 5000


def forget(*, now: datetime) -> None:
    """Deletes what is older than the settings say."""
    oldest = now - timedelta(days=settings.USAGE_ROW_DAYS)
    _delete(Request.objects.filter(at__lt=oldest))
    _delete(SpoolFile.objects.filter(is_done=True, last_at__lt=oldest, requests=None))
    _delete(SpoolFile.objects.filter(is_done=True, last_at=None))
    _delete(Minute.objects.filter(minute__lt=now - timedelta(days=settings.USAGE_MINUTE_DAYS)))


def _delete(rows: QuerySet[Any]) -> None:
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:STEP]):
        rows.model._default_manager.filter(pk__in=ids).delete()
