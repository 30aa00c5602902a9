"""Lists in pages: `max_results` (or `page_size`) and `page_token` in the query, `next_page_token` in the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from serving_ui.api.answers import NextPage
from serving_ui.api.query_parameters import whole_number
from serving_ui.api.request import ApiRequest
from serving_ui.lib import keyset
from serving_ui.lib.refusal import Refusal

DEFAULT_SIZE, MAX_SIZE = 100, 1000
SIZES = ("max_results", "page_size")
Row = TypeVar("Row")


def is_requested(request: ApiRequest) -> bool:
    """Whether the caller asks for a page. Clients of Databricks do not, and get the whole list."""
    return any(request.GET.get(name) for name in (*SIZES, "page_token"))


def page(
    request: ApiRequest,
    rows: QuerySet[Any, Row],
    *,
    order: Sequence[str],
    key: Callable[[Row], Sequence[Any]],
    filters: str = "",
) -> tuple[list[Row], NextPage]:
    """Rows of the requested page, in one SQL query, and the answer's `next_page_token`. Raises Refusal.

    `filters`: text of the parameters that filter the list. A token is valid for one path, user and filter only.
    """
    size = next(
        (whole_number(request, name, default=0, maximum=MAX_SIZE) for name in SIZES if name in request.GET), 0
    )
    try:
        found = keyset.page(
            rows,
            order=order,
            key=key,
            size=size or DEFAULT_SIZE,
            after=request.GET.get("page_token", ""),
            list_id=f"{request.user.pk} {request.path.rstrip('/')} {filters}",
        )
    except keyset.TokenInvalid:
        raise Refusal(
            _("This page_token does not belong to this list. Request the first page, without a page_token.")
        ) from None
    return found.rows, {"next_page_token": found.next} if found.next else {}


def page_or_all(
    request: ApiRequest,
    rows: QuerySet[Any, Row],
    *,
    order: Sequence[str],
    key: Callable[[Row], Sequence[Any]],
    filters: str = "",
) -> tuple[list[Row], NextPage]:
    """A page if one is requested, else all rows."""
    if is_requested(request):
        return page(request, rows, order=order, key=key, filters=filters)
    return list(rows.order_by(*order)), {}
