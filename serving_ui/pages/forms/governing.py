"""What of the form governs an endpoint beside its config: rate limits and timeouts, typed, in the shape of the API, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from serving_ui.catalogue.limits import LIMIT_KEYS, LIMIT_UNITS
from serving_ui.endpoints.models import Endpoint

MOST_LIMITS = 20
TIMEOUTS = ("connect_seconds", "first_byte_seconds", "total_seconds")
PARTS = ("key", "principal", "calls", "tokens")
_LIMIT = re.compile(r"limits-(\d{1,4})-key")


@dataclass
class LimitRow:
    """One more limit, as typed."""

    key: str = "user_group"
    principal: str = ""
    calls: str = ""
    tokens: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.principal.strip() or self.calls.strip() or self.tokens.strip())

    def body(self) -> dict[str, Any]:
        """In the shape of the API; what was typed as no number comes back in a refusal."""
        found: dict[str, Any] = {"key": self.key, "renewal_period": "minute"}
        if principal := self.principal.strip():
            found["principal"] = principal
        for unit in LIMIT_UNITS:
            if typed := getattr(self, unit).strip():
                found[unit] = whole(typed)
        return found


def typed_limits(post: Mapping[str, str]) -> list[LimitRow]:
    """The rows that the browser sent."""
    rows = sorted(int(found[1]) for found in map(_LIMIT.fullmatch, post) if found)[:MOST_LIMITS]
    made = []
    for row in rows:
        given = {part: post.get(f"limits-{row}-{part}", "") for part in PARTS}
        made.append(LimitRow(**given | ({} if given["key"] in LIMIT_KEYS else {"key": "endpoint"})))
    return made


def limits_of(endpoint: Endpoint) -> tuple[dict[str, str], list[LimitRow]]:
    """The two limits that have an input of their own, by its name, and rows for all others."""
    simple: dict[str, str] = {}
    rows: list[LimitRow] = []
    for limit in endpoint.rate_limits:
        counts = {unit: str(limit[unit]) for unit in LIMIT_UNITS if limit.get(unit) is not None}
        key, principal = limit.get("key", "endpoint"), limit.get("principal") or ""
        if key in ("endpoint", "user") and not principal and "calls" in counts:
            simple[f"rate_limit_{key}"] = counts.pop("calls")
        if counts:
            rows.append(LimitRow(key, principal, **counts))
    return simple, rows


def timeouts_of(endpoint: Endpoint) -> dict[str, str]:
    """By the names of their inputs."""
    return {f"timeout_{name}": f"{seconds:g}" for name, seconds in endpoint.timeouts.items()}


def timeouts_typed(values: Mapping[str, str]) -> dict[str, Any]:
    """In the shape of the API."""
    found: dict[str, Any] = {}
    for name in TIMEOUTS:
        if typed := values.get(f"timeout_{name}", "").strip():
            try:
                found[name] = float(typed) if len(typed) < 12 else typed
            except ValueError:
                found[name] = typed
    return found


def whole(typed: str) -> int | str:
    """The number, or what was typed instead of one."""
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 12 else typed


def counted(limits: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, str, Any]]:
    """What limits count, however they are divided among rows: two of the same set mean the same."""
    return {
        (limit.get("key", "endpoint"), limit.get("principal") or "", unit, limit[unit])
        for limit in limits
        for unit in LIMIT_UNITS
        if limit.get(unit) is not None
    }
