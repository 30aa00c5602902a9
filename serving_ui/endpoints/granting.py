"""Grants and revokes permission levels on an endpoint. Only managers may, so no grant exceeds its grantor.

The creator and admins manage every endpoint without a grant, and nothing takes that from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from serving_ui.accounts import queries as accounts
from serving_ui.accounts.models import ADMINS, Group, User
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import queries
from serving_ui.endpoints.events import EventKind
from serving_ui.endpoints.models import Endpoint, Grant
from serving_ui.endpoints.permissions import Action, Level
from serving_ui.endpoints.reports import permissions_of, report_endpoint
from serving_ui.endpoints.transitions import record_event, retry_on_concurrent_change, swap
from serving_ui.revisions.changes import Subject, bump_revision


@dataclass(frozen=True)
class LevelChange:
    """A new level for a principal or group; NONE revokes the grant. `path` leads to it in the request's body."""

    to: User | Group
    level: Level
    path: tuple[str | int, ...] = ()


@retry_on_concurrent_change
def grant(*, name: str, to: str, level: Level, actor: User, now: datetime) -> None:
    """Grants a level to the person (e-mail), service principal (application id) or group named `to`; NONE revokes it."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        principal = accounts.find_principal(name=to)
        if principal is None:
            message = _(
                "There is no person, group or service principal named %(name)s. A person must have signed in or have an access token."
            )
            raise SpecErrors([Problem(path=("to",), message=message.fill(name=to), code="principal")])
        _change("grant", endpoint, [LevelChange(principal, level, ("to",))], actor=actor, now=now)


@retry_on_concurrent_change
def set_permissions(
    *, endpoint_id: str, changes: Sequence[LevelChange], replace: bool, actor: User, now: datetime
) -> Endpoint:
    """Makes all of `changes` or none; with `replace`, all other grants are revoked. Raises SpecErrors."""
    with transaction.atomic():
        endpoint = queries.get_endpoint_by_id(endpoint_id=endpoint_id, actor=actor, action=Action.MANAGE)
        _refuse_repeats(changes)
        named = {each.to for each in changes}
        others = [each.user or each.group for each in queries.grants(endpoint=endpoint)] if replace else []
        revoked = [LevelChange(other, Level.NONE) for other in others if other and other not in named]
        _change("set_permissions", endpoint, [*revoked, *changes], actor=actor, now=now)
    return endpoint


def _refuse_repeats(changes: Iterable[LevelChange]) -> None:
    seen: set[User | Group] = set()
    for each in changes:
        if each.to in seen:
            message = _("%(name)s is named twice. Give each principal one level.").fill(name=str(each.to))
            raise SpecErrors([Problem(path=each.path, message=message, code="repeated")])
        seen.add(each.to)


def _change(
    action: str, endpoint: Endpoint, changes: Sequence[LevelChange], *, actor: User, now: datetime
) -> None:
    """Writes the grants that differ, with an event for each. Does nothing if none does."""
    problems = [
        problem
        for each in changes
        if each.level < Level.CAN_MANAGE and (problem := _cannot_change(endpoint, each))
    ]
    if problems:
        raise SpecErrors(problems)
    before = {each.user or each.group: each.level for each in queries.grants(endpoint=endpoint)}
    changed = [
        each
        for each in changes
        if before.get(each.to, Level.NONE) != each.level and not _cannot_change(endpoint, each)
    ]
    if not changed:
        return
    permissions_before = permissions_of(endpoint)
    swap(endpoint)
    for each in changed:
        _write(endpoint, each)
        level, principal = each.level.name, str(each.to)
        record_event(endpoint, EventKind.PERMISSIONS, now=now, actor=actor, principal=principal, level=level)
    bump_revision(Subject.ENDPOINT, endpoint.pk)
    report_endpoint(
        action,
        endpoint,
        actor=actor,
        before={"permissions": permissions_before},
        after={"permissions": permissions_of(endpoint)},
    )


def _cannot_change(endpoint: Endpoint, change: LevelChange) -> Problem | None:
    """Why the level cannot be changed; None if it can."""
    if change.to.pk == endpoint.creator_id:
        message = _("%(name)s created the endpoint and always has the permission to manage it.")
    elif isinstance(change.to, Group) and change.to.name == ADMINS:
        message = _("The group %(name)s always has the permission to manage every endpoint.")
    else:
        return None
    return Problem(path=change.path, message=message.fill(name=str(change.to)), code="fixed")


def _write(endpoint: Endpoint, change: LevelChange) -> None:
    holder = {"user": change.to} if isinstance(change.to, User) else {"group": change.to}
    if change.level == Level.NONE:
        Grant.objects.filter(endpoint=endpoint, **holder).delete()
    else:
        Grant.objects.update_or_create(endpoint=endpoint, **holder, defaults={"level": change.level})
