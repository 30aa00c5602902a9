"""Gives principals and groups a level on an endpoint, or takes it. A grant never exceeds its grantor: only managers get here.

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
from serving_ui.endpoints.events import Kind
from serving_ui.endpoints.models import Endpoint, Grant
from serving_ui.endpoints.permissions import Action, Level
from serving_ui.endpoints.reports import permissions_of, report_endpoint
from serving_ui.endpoints.transitions import record, retried, swap
from serving_ui.revisions.changes import Subject, bump_revision


@dataclass(frozen=True)
class Given:
    """A level for a principal or a group; `path` is where the body says so. NONE takes what was given."""

    to: User | Group
    level: Level
    path: tuple[str | int, ...] = ()


@retried
def grant(*, name: str, to: str, level: Level, actor: User, now: datetime) -> None:
    """Gives whoever is named `to` a level, or takes it with NONE: a person's e-mail, a group, a service principal."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        principal = accounts.find_principal(name=to)
        if principal is None:
            message = _(
                "There is no person, group or service principal named %(name)s here. A person must have signed in or hold a token."
            )
            raise SpecErrors([Problem(path=("to",), message=message.fill(name=to), code="principal")])
        _change("grant", endpoint, [Given(principal, level, ("to",))], actor=actor, now=now)


@retried
def set_permissions(
    *, endpoint_id: str, given: Sequence[Given], replace: bool, actor: User, now: datetime
) -> Endpoint:
    """Gives these levels in one go; with `replace`, whoever is not among them loses theirs. Raises SpecErrors."""
    with transaction.atomic():
        endpoint = queries.get_endpoint_by_id(endpoint_id=endpoint_id, actor=actor, action=Action.MANAGE)
        _refuse_repeats(given)
        kept = {each.to for each in given}
        others = [each.user or each.group for each in queries.grants(endpoint=endpoint)] if replace else []
        taken = [Given(other, Level.NONE) for other in others if other and other not in kept]
        _change("set_permissions", endpoint, [*taken, *given], actor=actor, now=now)
    return endpoint


def _refuse_repeats(given: Iterable[Given]) -> None:
    seen: set[User | Group] = set()
    for each in given:
        if each.to in seen:
            message = _("%(name)s is named twice. Give each principal one level.").fill(name=str(each.to))
            raise SpecErrors([Problem(path=each.path, message=message, code="repeated")])
        seen.add(each.to)


def _change(action: str, endpoint: Endpoint, given: Sequence[Given], *, actor: User, now: datetime) -> None:
    """Carries out what differs from what is there, with an event for each."""
    problems = [
        problem for each in given if each.level < Level.CAN_MANAGE and (problem := _fixed(endpoint, each))
    ]
    if problems:
        raise SpecErrors(problems)
    before = {each.user or each.group: each.level for each in queries.grants(endpoint=endpoint)}
    changed = [
        each for each in given if before.get(each.to, Level.NONE) != each.level and not _fixed(endpoint, each)
    ]
    if not changed:
        return
    permissions_before = permissions_of(endpoint)
    swap(endpoint)
    for each in changed:
        _write(endpoint, each)
        level, principal = each.level.name, str(each.to)
        record(endpoint, Kind.PERMISSIONS, now=now, actor=actor, principal=principal, level=level)
    bump_revision(Subject.ENDPOINT, endpoint.pk)
    report_endpoint(
        action,
        endpoint,
        actor=actor,
        before={"permissions": permissions_before},
        after={"permissions": permissions_of(endpoint)},
    )


def _fixed(endpoint: Endpoint, given: Given) -> Problem | None:
    """Why this principal's level cannot be changed, if so."""
    if given.to.pk == endpoint.creator_id:
        message = _("%(name)s made the endpoint and keeps the permission to manage it.")
    elif isinstance(given.to, Group) and given.to.name == ADMINS:
        message = _("The group %(name)s keeps the permission to manage every endpoint.")
    else:
        return None
    return Problem(path=given.path, message=message.fill(name=str(given.to)), code="fixed")


def _write(endpoint: Endpoint, given: Given) -> None:
    holder = {"user": given.to} if isinstance(given.to, User) else {"group": given.to}
    if given.level == Level.NONE:
        Grant.objects.filter(endpoint=endpoint, **holder).delete()
    else:
        Grant.objects.update_or_create(endpoint=endpoint, **holder, defaults={"level": given.level})
