"""Whose rights an endpoint's secrets are sent on, when that somebody is deactivated or may not read them any more: another who
manages it and may read them takes over, and no config version is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.endpoints import bindings, queries
from serving_ui.endpoints.bindings import Bound
from serving_ui.endpoints.events import Kind
from serving_ui.endpoints.lifecycle import Ready
from serving_ui.endpoints.models import Endpoint, Grant, SecretBinding
from serving_ui.endpoints.permissions import Action, Level
from serving_ui.endpoints.transitions import record, restore, retried, swap
from serving_ui.lib.refusal import NotAllowed
from serving_ui.revisions.changes import Subject, bump_revision
from serving_ui.vault import queries as secrets


@dataclass(frozen=True)
class Trouble:
    """A secret of an endpoint that needs somebody: why, and whether the person who asks may take it over."""

    sentence: str
    is_served: bool
    """The endpoint answers with it, for now."""
    may_take: bool


def troubles(*, endpoint: Endpoint, actor: User) -> list[Trouble]:
    """The secrets of what is served or pending that may not be sent, or are sent on the right of somebody who is deactivated.

    Two queries, three if there are any.
    """
    rows = [row for row in _current(endpoint) if _needs_somebody(row)]
    mine = _readable(rows, actor)
    return [
        Trouble(reason or _deactivated(row), is_served=not reason, may_take=row in mine)
        for row in rows
        for reason in (bindings.problem(row),)
    ]


@retried
def take_over(*, name: str, actor: User, now: datetime) -> Endpoint:
    """Makes the person the one on whose right these secrets are sent, as far as they may read them. Raises NotAllowed.

    Without effect where nothing needs it. An endpoint that was revoked is ready again if nothing else is in the way.
    """
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        rows = [row for row in _current(endpoint) if _needs_somebody(row)]
        mine = _readable(rows, actor)
        if not mine:
            if rows:
                raise NotAllowed(_refusal(rows[0]))
            return endpoint
        swap(endpoint)
        taken = SecretBinding.objects.filter(pk__in=[row.pk for row in mine])
        bindings.release(taken.filter(held__isnull=False))
        taken.update(authoriser=actor)
        message = ", ".join(sorted({row.reference for row in mine}))
        record(endpoint, Kind.TAKEN_OVER, now=now, actor=actor, message=message)
        if (
            endpoint.ready == Ready.NOT_READY
            and endpoint.active
            and not bindings.first_problem(endpoint.active_id)
        ):
            restore(endpoint, now=now)
        bump_revision(Subject.ENDPOINT, endpoint.pk)
    return endpoint


def waiting(*, actor: User) -> QuerySet[SecretBinding]:
    """The secrets that endpoints of the person's are sent on the right of somebody who is deactivated, oldest first."""
    found = bindings.judged().filter(bindings.CURRENT, authoriser__is_active=False)
    if not actor.is_admin:
        managed = Grant.objects.filter(queries.held_by(actor), level=Level.CAN_MANAGE).values("endpoint")
        found = found.filter(Q(version__endpoint__creator=actor) | Q(version__endpoint__in=managed))
    return found.select_related("version__endpoint", "authoriser").order_by("pk")


def _current(endpoint: Endpoint) -> list[Bound]:
    return bindings.of(pk for pk in (endpoint.active_id, endpoint.pending_id) if pk)


def _needs_somebody(row: Bound) -> bool:
    return not row.is_active or bindings.problem(row) is not None


def _readable(rows: Sequence[Bound], actor: User) -> list[Bound]:
    """Those whose secret is still there and may be read by the person."""
    found = secrets.readable(references=[(row.scope, row.key) for row in rows], actor=actor)
    ids = {secret.pk for secret in found.values()}
    return [row for row in rows if row.secret_id in ids]


def _deactivated(row: Bound) -> str:
    return _(
        "%(person)s, who gave this endpoint the secret %(secret)s, is deactivated. It is sent as it was then, and follows no new value until somebody who may read it takes over."
    ) % {"person": row.person, "secret": row.reference}


def _refusal(row: Bound) -> str:
    return _(
        "To take over you need the right READ on secret scope %(scope)s, and its key %(key)s must be the one of then. Ask %(owner)s."
    ) % {"scope": row.scope, "key": row.key, "owner": row.owner or _("an admin")}
