"""What others may ask about usage."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Sum

from serving_ui.usage.models import Minute, Total


def totals(*, endpoint_id: str) -> list[Total]:
    """What each served entity of the endpoint has answered in all; one with no name stands for requests that reached none."""
    return list(Total.objects.filter(endpoint_id=endpoint_id).order_by("entity"))


def since(moment: datetime, *, endpoint_id: str) -> dict[str, int]:
    """Requests, how they ended, and tokens of the endpoint since a moment."""
    names = (
        "requests", "errors_4xx", "errors_5xx", "limited", "truncated", "client_left", "tokens_in", "tokens_out"
    )  # fmt: skip
    sums: dict[str, Any] = {name: Sum(name, default=0) for name in names}
    return Minute.objects.filter(endpoint_id=endpoint_id, minute__gte=moment).aggregate(**sums)
