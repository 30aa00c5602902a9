"""Pages of a list that grows and shrinks while it is read: each begins after the last row of the one before.

A row that is there all the time is in exactly one page, whatever comes and goes beside it. That holds for orders that do not
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
    """No page of this list has given this token."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, and the token of the page after them; there is none when it is empty."""

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
    of: str,
) -> Page[Row]:
    """Up to `size` rows of one query, those after the page whose token `after` is, and after as many as are skipped. Raises
    TokenInvalid.

    `order` names columns, all upwards or all downwards (`-at`, `-pk`), which together no two rows share; `key` reads them
    from a row. `of` says which list it is, filters included: a token of another list is refused.
    """
    condition = _later(rows, order, _values(after, of, len(order))) if after else Q()
    found = list(rows.filter(condition).order_by(*order)[skipped : skipped + size + 1])
    if len(found) <= size or not size:
        return Page(found[:size])
    return Page(found[:size], token(key(found[size - 1]), of=of))


def token(values: Sequence[Any], *, of: str) -> str:
    """For the page after the row with these values. Signed, so that nobody else writes conditions."""
    written = [each.isoformat() if isinstance(each, datetime) else each for each in values]
    return signing.dumps([_digest(of), *written], salt=SALT)


def _values(after: str, of: str, count: int) -> list[Any]:
    try:
        given, *values = signing.loads(after, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError):
        raise TokenInvalid from None
    if given != _digest(of) or len(values) != count:
        raise TokenInvalid
    return list(values)


def _digest(of: str) -> str:
    """Stands for the list in a token, which must be no longer than an address may be, whatever was filtered by."""
    return hashlib.sha256(of.encode(errors="surrogatepass")).hexdigest()


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
