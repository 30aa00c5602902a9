"""Keyset pagination for pages: a part of a long list, with links to the first and the next part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from django.db.models import QuerySet
from django.http import HttpRequest

from serving_ui.lib import keyset

AFTER_PARAMETER = "after"
Row = TypeVar("Row")


@dataclass(frozen=True)
class ListPage(Generic[Row]):
    """The rows of one part, and the URLs of this, the first and the next part; "" if there is none."""

    rows: list[Row]
    here: str = ""
    first: str = ""
    next: str = ""


def list_page(
    request: HttpRequest,
    rows: QuerySet[Any, Row],
    *,
    order: Sequence[str],
    key: Callable[[Row], Sequence[Any]],
    size: int,
    at: str,
    **query: str,
) -> ListPage[Row]:
    """The part that `?after=` asks for, in one query; the first part if that token is not one of this list.

    `at` and `query` are the path and the other query parameters of the list's URLs.
    """
    list_id = f"{at} {query}"
    address = f"{at}?{urlencode(query)}" if query else at
    more = f"{address}{'&' if query else '?'}{AFTER_PARAMETER}="
    here = request.GET.get(AFTER_PARAMETER, "")
    try:
        found = keyset.page(rows, order=order, key=key, size=size, after=here, list_id=list_id)
    except keyset.TokenInvalid:
        here = ""
        found = keyset.page(rows, order=order, key=key, size=size, list_id=list_id)
    return ListPage(
        found.rows,
        here=f"{more}{quote(here)}" if here else address,
        first=address if here else "",
        next=f"{more}{quote(found.next)}" if found.next else "",
    )
