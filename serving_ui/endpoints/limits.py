"""The rate limits of endpoints as gateways carry them out.

A limit names its principal; when it is set, the name is bound to an id. A group that was deleted and made again, or an e-mail that
another person gets, is somebody else; a group that is renamed stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal

from django.db.models.functions import Lower

from serving_ui.accounts.models import Group, User
from serving_ui.catalogue.limit_kinds import LIMIT_KEYS, LIMIT_UNITS
from serving_ui.catalogue.limits import RateLimit
from serving_ui.catalogue.problems import Problem
from serving_ui.endpoints.models import Endpoint
from serving_ui.gateway.snapshot import Limit

Place = Literal["rate_limits", "ai_gateway"]
"""Which limits of an endpoint: its own, or those of its AI gateway settings."""
Ids = dict[str, str]
"""The principals that some limits name, by name as `_spelled` has it."""
Names = Mapping[str, str]
"""What principals are called now, by id."""


def bind(limits: Iterable[RateLimit], *, before: Mapping[str, str]) -> Ids:
    """The ids of the principals that these limits name. Two queries at most.

    `before` is what the limits that they replace were bound to: a name that nobody has now goes on to mean whom it meant,
    who is called otherwise by now.
    """
    wanted = {_spelled(limit.stored()) for limit in limits if limit.principal}
    found = _named(wanted)
    kept = {name: before[name] for name in wanted - found.keys() if name in before}
    there = names_of(kept.values())
    return found | {name: pk for name, pk in kept.items() if pk in there}


def _named(wanted: AbstractSet[str]) -> Ids:
    found: Ids = {}
    for kind, rows, field in (
        ("principal", User.objects.all(), "email"),
        ("group", Group.objects.all(), "name"),
    ):
        lows = [low for each, _space, low in (name.partition(" ") for name in wanted) if each == kind]
        if lows:
            here = rows.annotate(low=Lower(field)).filter(low__in=lows).values_list("low", "pk")
            found |= {f"{kind} {low}": pk for low, pk in here}
    return found


def names_of(ids: Iterable[str]) -> dict[str, str]:
    """What those of these principals that there are, are called now, by id. No query for none, else two."""
    wanted = set(ids)
    if not wanted:
        return {}
    people = User.objects.filter(pk__in=wanted).values_list("pk", "email")
    return {**dict(people), **dict(Group.objects.filter(pk__in=wanted).values_list("pk", "name"))}


def problems(
    limits: Sequence[RateLimit], ids: Mapping[str, str], *, prefix: tuple[str, ...] = ("rate_limits",)
) -> list[Problem]:
    """Limits of principals that do not exist. They would limit nobody, and whoever set them would believe they do."""
    return [
        Problem(
            (*prefix, position, "principal"),
            sentence.fill(name=limit.principal),
            "unknown",
        )
        for position, limit in enumerate(limits)
        if limit.principal
        and _spelled(limit.stored()) not in ids
        and (sentence := LIMIT_KEYS[limit.key].unknown_principal)
    ]


def _spelled(limit: Mapping[str, Any]) -> str:
    return f"{LIMIT_KEYS[limit['key']].principal_kind} {limit['principal'].lower()}"


def stored(row: Endpoint) -> Iterator[Mapping[str, Any]]:
    """Its own rate limits and those of its AI gateway settings, with the `principal_id` of one that names somebody."""
    yield from (limit for _place, limit in _placed(row))


def _placed(row: Endpoint) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    places: dict[Place, Any] = {
        "rate_limits": row.rate_limits,
        "ai_gateway": row.ai_gateway.get("rate_limits", []),
    }
    for place, limits in places.items():
        ids = row.limit_principals.get(place, {})
        for each in limits:
            limit = {"key": "endpoint"} | each
            who = {"principal_id": ids.get(_spelled(limit))} if limit.get("principal") else {}
            yield place, limit | who


def principals(row: Endpoint) -> frozenset[str]:
    """The ids of those whom its limits name."""
    return frozenset(pk for ids in row.limit_principals.values() for pk in ids.values())


def is_lapsed(limit: Mapping[str, Any], names: Names) -> bool:
    """Whether whom a stored limit was set for is gone."""
    return bool(limit.get("principal")) and limit.get("principal_id") not in names


def lapsed(row: Endpoint) -> set[Place]:
    """Where it has a limit that must be set again to concern somebody."""
    names = names_of(principals(row))
    return {place for place, limit in _placed(row) if is_lapsed(limit, names)}


def of(row: Endpoint, names: Names) -> tuple[Limit, ...]:
    """What the gateway carries out. A limit whose principal is gone concerns nobody."""
    found = []
    for limit in stored(row):
        if is_lapsed(limit, names):
            continue
        principal = limit.get("principal_id")
        shown = names[principal] if principal else ""
        found += [
            Limit(key=limit["key"], most=limit[unit], unit=unit, principal=principal, shown=shown)
            for unit in LIMIT_UNITS
            if limit.get(unit) is not None
        ]
    return tuple(found)
