"""The rate limits of endpoints, with the principals that they name.

When a limit is saved, the name of its principal is bound to the principal's id. So a limit follows a group that is renamed, and does not
apply to a new group or user that gets the name of a deleted one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal

from django.db.models.functions import Lower

from serving_ui.accounts.models import Group, User
from serving_ui.catalogue.limit_kinds import LIMIT_KEYS, LIMIT_UNITS
from serving_ui.catalogue.limits import RateLimit
from serving_ui.catalogue.problems import Path, Problem
from serving_ui.endpoints.models import Endpoint
from serving_ui.gateway.snapshot import Limit

Place = Literal["rate_limits", "ai_gateway"]
"""Where an endpoint stores limits: its own, and those of its AI gateway settings."""
Ids = dict[str, str]
"""Ids of principals by `_name_key`."""
Names = Mapping[str, str]
"""Current names of principals by id."""


def bind(limits: Iterable[RateLimit], *, before: Mapping[str, str]) -> Ids:
    """The ids of the principals that these limits name. Two queries at most.

    `before` is the binding of the limits that they replace. A name that no principal has now keeps its earlier meaning: that
    principal was renamed.
    """
    wanted = {_name_key(limit.stored()) for limit in limits if limit.principal}
    found = _find_ids(wanted)
    earlier = {name: before[name] for name in wanted - found.keys() if name in before}
    existing = names_of(earlier.values())
    return found | {name: pk for name, pk in earlier.items() if pk in existing}


def _find_ids(wanted: AbstractSet[str]) -> Ids:
    found: Ids = {}
    for kind, rows, field in (
        ("principal", User.objects.all(), "email"),
        ("group", Group.objects.all(), "name"),
    ):
        names = [name for each, _space, name in (key.partition(" ") for key in wanted) if each == kind]
        if names:
            matches = rows.annotate(lower=Lower(field)).filter(lower__in=names).values_list("lower", "pk")
            found |= {f"{kind} {name}": pk for name, pk in matches}
    return found


def names_of(ids: Iterable[str]) -> dict[str, str]:
    """The current names of those of these principals that exist. Two queries, or none without ids."""
    wanted = set(ids)
    if not wanted:
        return {}
    people = User.objects.filter(pk__in=wanted).values_list("pk", "email")
    return {**dict(people), **dict(Group.objects.filter(pk__in=wanted).values_list("pk", "name"))}


def problems(
    limits: Sequence[RateLimit], ids: Mapping[str, str], *, prefix: Path = ("rate_limits",)
) -> list[Problem]:
    """A problem for each limit whose principal does not exist, because such a limit would have no effect."""
    return [
        Problem(
            (*prefix, position, "principal"),
            sentence.fill(name=limit.principal),
            "unknown",
        )
        for position, limit in enumerate(limits)
        if limit.principal
        and _name_key(limit.stored()) not in ids
        and (sentence := LIMIT_KEYS[limit.key].unknown_principal)
    ]


def _name_key(limit: Mapping[str, Any]) -> str:
    return f"{LIMIT_KEYS[limit['key']].principal_kind} {limit['principal'].lower()}"


def stored(row: Endpoint) -> Iterator[Mapping[str, Any]]:
    """All rate limits of an endpoint; a limit that names a principal has its `principal_id` too."""
    yield from (limit for _place, limit in _with_places(row))


def _with_places(row: Endpoint) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    places: dict[Place, Any] = {
        "rate_limits": row.rate_limits,
        "ai_gateway": row.ai_gateway.get("rate_limits", []),
    }
    for place, limits in places.items():
        ids = row.limit_principals.get(place, {})
        for each in limits:
            limit = {"key": "endpoint"} | each
            bound = {"principal_id": ids.get(_name_key(limit))} if limit.get("principal") else {}
            yield place, limit | bound


def principals(row: Endpoint) -> frozenset[str]:
    """The ids of the principals that the endpoint's limits name."""
    return frozenset(pk for ids in row.limit_principals.values() for pk in ids.values())


def is_lapsed(limit: Mapping[str, Any], names: Names) -> bool:
    """Whether the principal of a stored limit was deleted."""
    return bool(limit.get("principal")) and limit.get("principal_id") not in names


def lapsed(row: Endpoint) -> set[Place]:
    """The places with a limit whose principal was deleted."""
    names = names_of(principals(row))
    return {place for place, limit in _with_places(row) if is_lapsed(limit, names)}


def gateway_limits(row: Endpoint, names: Names) -> tuple[Limit, ...]:
    """The limits that gateways enforce, without those whose principal was deleted."""
    found = []
    for limit in stored(row):
        if is_lapsed(limit, names):
            continue
        principal = limit.get("principal_id")
        shown = names[principal] if principal else ""
        found += [
            Limit(key=limit["key"], per_minute=limit[unit], unit=unit, principal=principal, shown=shown)
            for unit in LIMIT_UNITS
            if limit.get(unit) is not None
        ]
    return tuple(found)
