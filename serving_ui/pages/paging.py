"""The pages of a list that grows, each with links to the first and to the next; they need no JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from django.db.models import QuerySet
from django.http import HttpRequest

from serving_ui.lib import keyset

AFTER = "after"
Row = TypeVar("Row")


@dataclass(frozen=True)
class Part(Generic[Row]):
    """One page: its rows, its address, and those of others, empty where there is none."""

    rows: list[Row]
    here: str = ""
    first: str = ""
    next: str = ""


def part(
    request: HttpRequest,
    rows: QuerySet[Any, Row],
    *,
    order: Sequence[str],
    key: Callable[[Row], Sequence[Any]],
    size: int,
    at: str,
    **kept: str,
) -> Part[Row]:
    """The page that is asked for, in one query; the first when its place is none of this list. The list is shown `at` a path,
    with `kept` as its query."""
    of = f"{at} {kept}"
    address = f"{at}?{urlencode(kept)}" if kept else at
    more = f"{address}{'&' if kept else '?'}{AFTER}="
    here = request.GET.get(AFTER, "")
    try:
        found = keyset.page(rows, order=order, key=key, size=size, after=here, of=of)
    except keyset.TokenInvalid:
        here = ""
        found = keyset.page(rows, order=order, key=key, size=size, of=of)
    return Part(
        found.rows,
        here=f"{more}{quote(here)}" if here else address,
        first=address if here else "",
        next=f"{more}{quote(found.next)}" if found.next else "",
    )
