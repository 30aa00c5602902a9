"""Pages of SCIM lists: by `startIndex` and `count` (RFC 7644 section 3.4.2.4) or by `cursor` (RFC 9865)."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _

from serving_ui.api.query_parameters import whole_number
from serving_ui.api.request import ApiRequest, Json
from serving_ui.api.scim.filters import parse_filter
from serving_ui.lib import keyset
from serving_ui.lib.refusal import Refusal

DEFAULT_COUNT, MAX_COUNT = 100, 10_000
PAGE_END_SECONDS, MAX_PAGE_ENDS = 300, 1000
LIST_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows of one page; `position` is `{"startIndex": n}` or `{"nextCursor": token}` (empty on the last page)."""

    rows: list[Row]
    total: int
    position: Json

    def response(self, resources: list[Json]) -> Json:
        """The ListResponse with the page's rows as SCIM resources."""
        return {
            "schemas": [LIST_RESPONSE],
            "totalResults": self.total,
            **self.position,
            "itemsPerPage": len(resources),
            "Resources": resources,
        }


def paginate(request: ApiRequest, rows: QuerySet[Row], columns: Mapping[str, str]) -> Page[Row]:
    """The page of `rows` that the query parameters ask for, by default in order of creation. Two SQL queries. Raises Refusal.

    Reading all pages by `cursor` returns each row that exists throughout exactly once, whatever is created or deleted
    meanwhile. Reading them by `startIndex` does so too if one process answers all requests, because it caches where each page
    ended (`_PageEnds`).
    """
    rows = rows.filter(parse_filter(request.GET.get("filter", ""), columns))
    column = columns.get(request.GET.get("sortBy", "").lower(), "created_at")
    sign = "-" if request.GET.get("sortOrder", "").lower() == "descending" else ""
    order = (f"{sign}{column}", f"{sign}pk") if column != "pk" else (f"{sign}pk",)
    parameters = [request.GET.get(name, "") for name in ("filter", "sortBy", "sortOrder")]
    list_id = f"{request.user.pk} {request.path.rstrip('/')} {parameters}"
    count = whole_number(request, "count", default=DEFAULT_COUNT, maximum=MAX_COUNT)

    def key(row: Row) -> list[Any]:
        return [getattr(row, name.removeprefix("-")) for name in order]

    read_page = partial(keyset.page, rows, order=order, key=key, size=count, list_id=list_id)
    if "cursor" in request.GET:
        try:
            page = read_page(after=request.GET["cursor"])
        except keyset.TokenInvalid:
            message = _("cursor does not belong to this list. Start again with an empty cursor.")
            raise Refusal(message) from None
        return Page(page.rows, rows.count(), {"nextCursor": page.next} if page.next else {})
    start = max(1, whole_number(request, "startIndex", default=1, maximum=10**9))
    cursor = _page_ends.cursor(list_id, start) if start > 1 else ""
    page = read_page(after=cursor) if cursor else read_page(skipped=start - 1)
    if page.rows:
        _page_ends.store(list_id, start + len(page.rows), keyset.token(key(page.rows[-1]), list_id=list_id))
    return Page(page.rows, rows.count(), {"startIndex": start})


class _PageEnds:
    """Cache of the last row of each page read by `startIndex`, so that the next page continues after that row even when rows
    before it were deleted. Entries expire after `PAGE_END_SECONDS`; the oldest are dropped above `MAX_PAGE_ENDS`."""

    def __init__(self) -> None:
        self._ends: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._lock = threading.Lock()

    def store(self, list_id: str, next_index: int, cursor: str) -> None:
        """The page before `next_index` ended at the row of `cursor`."""
        key = self._key(list_id, next_index)
        with self._lock:
            self._ends.pop(key, None)
            self._ends[key] = (time.monotonic() + PAGE_END_SECONDS, cursor)
            while len(self._ends) > MAX_PAGE_ENDS:
                self._ends.popitem(last=False)

    def cursor(self, list_id: str, index: int) -> str:
        """The cursor of the page that starts at `index`, or an empty string."""
        expires_at, cursor = self._ends.get(self._key(list_id, index), (0.0, ""))
        return cursor if time.monotonic() < expires_at else ""

    @staticmethod
    def _key(list_id: str, index: int) -> bytes:
        """A digest, because a filter in `list_id` may be long."""
        return hashlib.sha256(f"{index} {list_id}".encode()).digest()


_page_ends = _PageEnds()
