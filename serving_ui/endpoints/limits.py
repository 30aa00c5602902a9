"""The rate limits of endpoints as gateways carry them out: the principals that they name become ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from django.db.models.functions import Lower

from serving_ui.accounts.models import Group, User
from serving_ui.catalogue.limits import LIMIT_UNITS, RateLimit
from serving_ui.catalogue.problems import Problem
from serving_ui.catalogue.text import _
from serving_ui.endpoints.models import Endpoint
from serving_ui.gateway.snapshot import Limit

Name = tuple[bool, str]  # whether it is a group, and its name in small letters
Named = Mapping[Name, str]  # ids

_UNKNOWN = {
    "user": _("Nobody here has the e-mail %(name)s. Give one of a person who has signed in or was added."),
    "user_group": _("There is no group %(name)s here. Give the name of one that there is."),
    "service_principal": _("There is no service principal %(name)s here. Give its application id."),
}


def named_in(rows: Iterable[Endpoint]) -> Named:
    """The ids of the principals that limits name. No query when none does, two at most."""
    return _ids({name for row in rows for name in names_in(row)})


def _ids(wanted: AbstractSet[Name]) -> Named:
    if not wanted:
        return {}
    people = User.objects.annotate(low=Lower("email")).filter(
        low__in=[low for group, low in wanted if not group]
    )
    groups = Group.objects.annotate(low=Lower("name")).filter(low__in=[low for group, low in wanted if group])
    return {
        (group, low): pk
        for group, found in ((False, people), (True, groups))
        for low, pk in found.values_list("low", "pk")
    }


def problems(limits: Sequence[RateLimit], *, prefix: tuple[str, ...] = ("rate_limits",)) -> list[Problem]:
    """Limits of principals that do not exist. They would limit nobody, and whoever set them would believe they do."""
    wanted = {_name(limit.stored()) for limit in limits if limit.principal}
    known = _ids(wanted)
    return [
        Problem(
            (*prefix, position, "principal"),
            _UNKNOWN[limit.key].fill(name=limit.principal),
            "unknown",
        )
        for position, limit in enumerate(limits)
        if limit.principal and _name(limit.stored()) not in known
    ]


def concerns_nobody(limit: Mapping[str, Any], named: Named) -> bool:
    """Whether the principal that a stored limit names does not exist, or is called otherwise by now."""
    return bool(limit.get("principal")) and _name(limit) not in named


def names_in(row: Endpoint) -> frozenset[Name]:
    """Whom the limits of an endpoint name."""
    return frozenset(_name(limit) for limit in stored(row) if limit.get("principal"))


def names_of(*, groups: AbstractSet[str]) -> set[Name]:
    """What these groups are called now."""
    found = Group.objects.filter(pk__in=groups) if groups else Group.objects.none()
    return {(True, name.lower()) for name in found.values_list("name", flat=True)}


def _name(limit: Mapping[str, Any]) -> Name:
    return limit["key"] == "user_group", limit["principal"].lower()


def stored(row: Endpoint) -> Iterator[Mapping[str, Any]]:
    """Its own rate limits and those of its AI gateway settings."""
    for limit in (*row.rate_limits, *row.ai_gateway.get("rate_limits", [])):
        yield {"key": "endpoint"} | limit


def of(row: Endpoint, named: Named) -> tuple[Limit, ...]:
    """What the gateway carries out. A limit whose principal does not exist any more concerns nobody."""
    found = []
    for limit in stored(row):
        shown = limit.get("principal") or ""
        principal = named.get(_name(limit)) if shown else None
        if shown and principal is None:
            continue
        found += [
            Limit(key=limit["key"], most=limit[unit], unit=unit, principal=principal, shown=shown)
            for unit in LIMIT_UNITS
            if limit.get(unit) is not None
        ]
    return tuple(found)
