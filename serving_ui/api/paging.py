"""How a list is asked for in pages: `max_results` (or `page_size`) and `page_token`, answered with `next_page_token`."""

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

USUAL, MOST = 100, 1000
SIZES = ("max_results", "page_size")
Row = TypeVar("Row")


def is_asked(request: ApiRequest) -> bool:
    """Whether the caller knows of pages. Clients of the original do not, and get everything at once."""
    return any(request.GET.get(name) for name in (*SIZES, "page_token"))


def page(
    request: ApiRequest,
    rows: QuerySet[Any, Row],
    *,
    order: Sequence[str],
    key: Callable[[Row], Sequence[Any]],
    of: str = "",
) -> tuple[list[Row], NextPage]:
    """The page that is asked for, in one query, and what the answer says of the next one. Raises Refusal.

    `of` holds what narrows the list beside its address and its person.
    """
    size = next(
        (whole_number(request, name, default=0, most=MOST) for name in SIZES if name in request.GET), 0
    )
    try:
        found = keyset.page(
            rows,
            order=order,
            key=key,
            size=size or USUAL,
            after=request.GET.get("page_token", ""),
            of=f"{request.user.pk} {request.path.rstrip('/')} {of}",
        )
    except keyset.TokenInvalid:
        raise Refusal(
            _("page_token is none that this list has given. Ask for its first page, without one.")
        ) from None
    return found.rows, {"next_page_token": found.next} if found.next else {}


def page_or_all(
    request: ApiRequest,
    rows: QuerySet[Any, Row],
    *,
    order: Sequence[str],
    key: Callable[[Row], Sequence[Any]],
    of: str = "",
) -> tuple[list[Row], NextPage]:
    """A page when one is asked for, else all rows."""
    if is_asked(request):
        return page(request, rows, order=order, key=key, of=of)
    return list(rows.order_by(*order)), {}
