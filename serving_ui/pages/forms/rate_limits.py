"""Rate limits of the form: from an endpoint to inputs, and from inputs to the request body of the API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from serving_ui.catalogue.limit_kinds import LIMIT_KEYS, LIMIT_UNITS, RENEWAL_PERIOD
from serving_ui.catalogue.limits import MAX_RATE_LIMITS
from serving_ui.endpoints.models import Endpoint

AI_GATEWAY = "ai_gateway"
MAX_LIMIT_ROWS = 2 * MAX_RATE_LIMITS  # an endpoint's own and those of its AI gateway settings
PARTS = ("key", "principal", *LIMIT_UNITS)
_LIMIT = re.compile(r"limits-(\d{1,4})-key")


@dataclass
class LimitRow:
    """One row of the rate limits, as typed. `place` is AI_GATEWAY for a limit of `ai_gateway`, else empty."""

    place: str = ""
    key: str = "user_group"
    principal: str = ""
    calls: str = ""
    tokens: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.principal.strip() or self.calls.strip() or self.tokens.strip())

    def body(self) -> dict[str, Any]:
        """The limit as in the API. Text that is not a number stays text, which validation refuses."""
        found: dict[str, Any] = {"key": self.key, "renewal_period": RENEWAL_PERIOD}
        if principal := self.principal.strip():
            found["principal"] = principal
        for unit in LIMIT_UNITS:
            if typed := getattr(self, unit).strip():
                found[unit] = number_or_text(typed)
        return found


def submitted_limits(post: Mapping[str, str]) -> list[LimitRow]:
    """The rows in a submitted form, ordered by their numbers."""
    rows = sorted(int(found[1]) for found in map(_LIMIT.fullmatch, post) if found)
    made = []
    for row in rows:
        values = {part: post.get(f"limits-{row}-{part}", "") for part in PARTS}
        place = AI_GATEWAY if post.get(f"limits-{row}-place") == AI_GATEWAY else ""
        made.append(LimitRow(place, **values | ({} if values["key"] in LIMIT_KEYS else {"key": "endpoint"})))
    return made


def own_input(key: str) -> str:
    """The input name of a limit kind that has an input outside the rows: see `LimitKey.own_input`."""
    return f"rate_limit_{key}"


def limits_of(endpoint: Endpoint) -> tuple[dict[str, str], list[LimitRow]]:
    """Values of the inputs outside the rows, by input name, and a row for each other limit."""
    simple: dict[str, str] = {}
    rows: list[LimitRow] = []
    for limit in endpoint.rate_limits:
        row = _row("", limit)
        if LIMIT_KEYS[row.key].own_input and not row.principal and row.calls:
            simple[own_input(row.key)], row.calls = row.calls, ""
        if row.calls or row.tokens:
            rows.append(row)
    return simple, rows + [_row(AI_GATEWAY, limit) for limit in endpoint.ai_gateway.get("rate_limits", [])]


def _row(place: str, limit: Mapping[str, Any]) -> LimitRow:
    counts = {unit: str(limit[unit]) for unit in LIMIT_UNITS if limit.get(unit) is not None}
    return LimitRow(place, limit.get("key", "endpoint"), limit.get("principal") or "", **counts)


def number_or_text(typed: str) -> int | str:
    """The number, or the text if it is not a number of fewer than 12 digits."""
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 12 else typed


def limit_set(limits: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, str, Any]]:
    """The limits as a set that does not depend on their order or on calls and tokens sharing a row, for comparing them."""
    return {
        (limit.get("key", "endpoint"), limit.get("principal") or "", unit, limit[unit])
        for limit in limits
        for unit in LIMIT_UNITS
        if limit.get(unit) is not None
    }
