"""Keyset pagination: each page begins after the last row of the page before.

A row that exists all the time is in exactly one page, even if other rows are added or deleted meanwhile. The order must not
change, such as that of creation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

SALT = "serving_ui.page"
Row = TypeVar("Row")


class TokenInvalid(ValueError):
    """The token was not made for a page of this list."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows, and the token of the next page, which is empty for the last page."""

    rows: list[Row]
    next: str = ""


def page(
    rows: QuerySet[Any, Row],
    *,
    order: Sequence[str],
    key: Callable[[Row], Sequence[Any]],
    size: int,
    after: str = "",
    skipped: int = 0,
    list_id: str,
) -> Page[Row]:
    """Up to `size` rows, from one query: those after the token `after`, without the first `skipped`. Raises TokenInvalid.

    `order` names columns, all ascending or all descending (`-at`, `-pk`), that are unique together; `key` reads them from a row.
    `list_id` identifies the list including its filters: a token of another list is refused.
    """
    condition = _later(rows, order, _values(after, list_id, len(order))) if after else Q()
    found = list(rows.filter(condition).order_by(*order)[skipped : skipped + size + 1])
    if len(found) <= size or not size:
        return Page(found[:size])
    return Page(found[:size], token(key(found[size - 1]), list_id=list_id))


def token(values: Sequence[Any], *, list_id: str) -> str:
    """The token of the page after the row with these values. Signed, so that callers cannot forge conditions."""
    written = [each.isoformat() if isinstance(each, datetime) else each for each in values]
    return signing.dumps([_digest(list_id), *written], salt=SALT)


def _values(after: str, list_id: str, count: int) -> list[Any]:
    try:
        digest, *values = signing.loads(after, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError):
        raise TokenInvalid from None
    if digest != _digest(list_id) or len(values) != count:
        raise TokenInvalid
    return list(values)


def _digest(list_id: str) -> str:
    """Identifies the list in a token. A digest, because filters may be longer than a URL may be."""
    return hashlib.sha256(list_id.encode(errors="surrogatepass")).hexdigest()


def _later(rows: QuerySet[Any, Any], order: Sequence[str], values: Sequence[Any]) -> Q:
    later, same = Q(pk__in=()), Q()
    for name, value in zip(order, values, strict=True):
        column = name.removeprefix("-")
        field = rows.model._meta.pk if column == "pk" else rows.model._meta.get_field(column)
        try:
            read = field.to_python(value)
        except ValidationError:
            raise TokenInvalid from None
        later |= same & Q(**{f"{column}__{'lt' if name.startswith('-') else 'gt'}": read})
        same &= Q(**{column: read})
    return later
