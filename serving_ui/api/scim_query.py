"""How SCIM asks for a part of a list: a filter, an order, a page, and a choice of attributes.

Of the filter language there is what clients use: comparisons joined by `and` and `or` (the former first), no brackets.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from serving_ui.api.http import ApiRequest, Json
from serving_ui.api.query_parameters import whole_number
from serving_ui.lib import json_text, keyset
from serving_ui.lib.refusal import Refusal
from serving_ui.lib.request import has_no_text

USER_FIELDS = {
    "id": "pk",
    "username": "email",
    "applicationid": "email",
    "emails": "email",
    "emails.value": "email",
    "displayname": "name",
    "externalid": "external_id",
    "active": "is_active",
}
GROUP_FIELDS = {"id": "pk", "displayname": "name", "externalid": "external_id"}
LOOKUPS = {
    "eq": "iexact",
    "ne": "iexact",
    "co": "icontains",
    "sw": "istartswith",
    "ew": "iendswith",
}
TERM = re.compile(r'\s*([\w.]+)\s+(\w+)(?:\s+("(?:[^"\\]|\\.)*"|true|false))?\s*', re.IGNORECASE)
JOINT = re.compile(r"(and|or)\s", re.IGNORECASE)
LONGEST_FILTER = 2000
USUAL_COUNT, MOST = 100, 10_000
WALK_SECONDS, MOST_WALKS = 300, 1000
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some of the rows that fit, and where they are among all: a number, or the cursor of the page after them."""

    rows: list[Row]
    total: int
    place: Json

    def answer(self, resources: list[Json]) -> Json:
        return {
            "schemas": [LIST],
            "totalResults": self.total,
            **self.place,
            "itemsPerPage": len(resources),
            "Resources": resources,
        }


def page(request: ApiRequest, found: QuerySet[Row], fields: Mapping[str, str]) -> Page[Row]:
    """The asked-for part of what is found, oldest first if nothing else is asked for. Two queries.

    With `cursor` (RFC 9865) a walk meets everybody who is there all the time exactly once. So does one by `startIndex`, which
    has no place to say where it is, as long as one process answers it: that remembers where each page ended.
    """
    found = found.filter(condition(request.GET.get("filter", ""), fields))
    column = fields.get(request.GET.get("sortBy", "").lower(), "created_at")
    down = "-" if request.GET.get("sortOrder", "").lower() == "descending" else ""
    order = (f"{down}{column}", f"{down}pk") if column != "pk" else (f"{down}pk",)
    given = [request.GET.get(name, "") for name in ("filter", "sortBy", "sortOrder")]
    of = f"{request.user.pk} {request.path.rstrip('/')} {given}"
    count = whole_number(request, "count", default=USUAL_COUNT, most=MOST)

    def key(row: Row) -> list[Any]:
        return [getattr(row, name.removeprefix("-")) for name in order]

    ask = partial(keyset.page, found, order=order, key=key, size=count, of=of)
    if "cursor" in request.GET:
        try:
            part = ask(after=request.GET["cursor"])
        except keyset.TokenInvalid:
            message = _("cursor is none that this list has given. Begin again with an empty one.")
            raise Refusal(message) from None
        return Page(part.rows, found.count(), {"nextCursor": part.next} if part.next else {})
    start = max(1, whole_number(request, "startIndex", default=1, most=10**9))
    cursor = _walks.cursor(of, start) if start > 1 else ""
    part = ask(after=cursor) if cursor else ask(skipped=start - 1)
    if part.rows:
        _walks.remember(of, start + len(part.rows), keyset.token(key(part.rows[-1]), of=of))
    return Page(part.rows, found.count(), {"startIndex": start})


class _Walks:
    """Where pages asked for by `startIndex` ended, so that the next one begins there, even when somebody before it has gone."""

    def __init__(self) -> None:
        self._ends: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, of: str, index: int, cursor: str) -> None:
        """The page before this index ended at the row of this cursor."""
        key = self._key(of, index)
        with self._lock:
            self._ends.pop(key, None)
            self._ends[key] = (time.monotonic() + WALK_SECONDS, cursor)
            while len(self._ends) > MOST_WALKS:
                self._ends.popitem(last=False)

    def cursor(self, of: str, index: int) -> str:
        until, cursor = self._ends.get(self._key(of, index), (0.0, ""))
        return cursor if time.monotonic() < until else ""

    @staticmethod
    def _key(of: str, index: int) -> bytes:
        return hashlib.sha256(f"{index} {of}".encode()).digest()


_walks = _Walks()


def attributes(request: ApiRequest, resource: Json) -> Json:
    """The resource with only, or without, the attributes that are named. Its id is always there."""
    only, without = _names(request, "attributes"), _names(request, "excludedAttributes")
    kept = {
        name: value
        for name, value in resource.items()
        if name in ("id", "schemas") or ((not only or name.lower() in only) and name.lower() not in without)
    }
    return kept


def condition(text: str, fields: Mapping[str, str]) -> Q:
    """The filter as a part of a query. Raises Refusal."""
    if not text.strip():
        return Q()
    if len(text) > LONGEST_FILTER:
        raise _unreadable()
    either, both, at = Q(pk__in=[]), Q(), 0
    while True:
        term = TERM.match(text, at)
        if term is None:
            raise _unreadable()
        attribute, operator, written = term.groups()
        both, at = both & _compared(attribute, operator, written, fields), term.end()
        if at == len(text):
            return either | both
        joint = JOINT.match(text, at)
        if joint is None:
            raise _unreadable()
        if joint.group(1).lower() == "or":
            either, both = either | both, Q()
        at = joint.end()


def _compared(attribute: str, operator: str, written: str | None, fields: Mapping[str, str]) -> Q:
    field = fields.get(attribute.lower())
    operator = operator.lower()
    if field is None:
        known = ", ".join(sorted(fields))
        raise Refusal(
            _("filter cannot ask for %(attribute)s. Use one of: %(known)s.")
            % {"attribute": attribute[:100], "known": known}
        )
    if operator == "pr" and written is None:
        return Q() if field in ("pk", "is_active") else ~Q(**{field: ""})
    if operator not in LOOKUPS or written is None:
        raise _unreadable()
    value = _value(written)
    if (field == "is_active") != isinstance(value, bool):
        raise _unreadable()
    lookup = field if isinstance(value, bool) else f"{field}__{LOOKUPS[operator]}"
    found = Q(**{lookup: value})
    return ~found if operator == "ne" else found


def _value(written: str) -> str | bool:
    try:
        value: Any = json_text.read((written if written.startswith('"') else written.lower()).encode())
    except ValueError:
        raise _unreadable() from None
    if isinstance(value, str) and has_no_text(value):
        raise _unreadable()
    return bool(value) if isinstance(value, bool) else str(value)


def _names(request: ApiRequest, parameter: str) -> set[str]:
    """Top-level attributes: of `name.givenName` the whole name."""
    given = request.GET.get(parameter, "").split(",")
    return {name.strip().split(".")[0].lower() for name in given if name.strip()}


def _unreadable() -> Refusal:
    return Refusal(
        _('filter cannot be read. Write it like userName eq "a@example.com", joined by and or by or.')
    )
