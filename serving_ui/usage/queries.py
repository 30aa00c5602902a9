"""Queries of usage for pages and API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Sum

from serving_ui.usage.models import Minute, Total


def totals(*, endpoint_id: str) -> list[Total]:
    """The sums of all requests for each served entity; an empty entity name holds requests that reached no entity."""
    return list(Total.objects.filter(endpoint_id=endpoint_id).order_by("entity"))


def sums_since(moment: datetime, *, endpoint_id: str) -> dict[str, int]:
    """Numbers of requests, of their outcomes and of tokens since `moment`, by field name of `Sums`."""
    names = (
        "requests", "errors_4xx", "errors_5xx", "limited", "truncated", "client_left", "tokens_in", "tokens_out"
    )  # fmt: skip
    sums: dict[str, Any] = {name: Sum(name, default=0) for name in names}
    return Minute.objects.filter(endpoint_id=endpoint_id, minute__gte=moment).aggregate(**sums)
