"""Takeover of an endpoint's secrets. When the authoriser of a secret is deactivated or may no longer read it, another user who
manages the endpoint and may read the secret can become its authoriser, without a new config version."""

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
from serving_ui.endpoints.events import EventKind
from serving_ui.endpoints.lifecycle import Ready, Unready
from serving_ui.endpoints.models import Endpoint, Grant, SecretBinding
from serving_ui.endpoints.permissions import Action, Level
from serving_ui.endpoints.reports import authorisers_of, report_endpoint
from serving_ui.endpoints.transitions import record_event, restore, retry_on_concurrent_change, swap
from serving_ui.lib.refusal import NotAllowed
from serving_ui.revisions.changes import Subject, bump_revision
from serving_ui.vault import queries as secrets


@dataclass(frozen=True)
class SecretProblem:
    """A secret that needs another authoriser."""

    sentence: str
    is_served: bool
    """Whether it is still sent."""
    may_take_over: bool
    """Whether the current user may become its authoriser."""


def secret_problems(*, endpoint: Endpoint, actor: User) -> list[SecretProblem]:
    """The secrets of the active and the pending config that may not be sent or whose authoriser is deactivated.

    Two queries, three if there are any.
    """
    rows = [row for row in _current(endpoint) if _needs_authoriser(row)]
    readable = _readable(rows, actor)
    return [
        SecretProblem(reason or _deactivated(row), is_served=not reason, may_take_over=row in readable)
        for row in rows
        for reason in (bindings.problem(row),)
    ]


@retry_on_concurrent_change
def take_over(*, name: str, actor: User, now: datetime) -> Endpoint:
    """Makes the user the authoriser of the secrets that need one and that the user may read. Raises NotAllowed if the user may read none
    of those that need one. An endpoint that was revoked becomes ready again if it has no other problem.
    """
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        rows = [row for row in _current(endpoint) if _needs_authoriser(row)]
        readable = _readable(rows, actor)
        if not readable:
            if rows:
                raise NotAllowed(_refusal(rows[0]))
            return endpoint
        before = {"ready": str(endpoint.ready), "secrets_sent_on_right_of": authorisers_of(endpoint)}
        swap(endpoint)
        taken_over = SecretBinding.objects.filter(pk__in=[row.pk for row in readable])
        bindings.delete_frozen_values(taken_over.filter(held__isnull=False))
        taken_over.update(authoriser=actor)
        message = ", ".join(sorted({row.reference for row in readable}))
        record_event(endpoint, EventKind.TAKEN_OVER, now=now, actor=actor, message=message)
        if (
            endpoint.ready == Ready.NOT_READY
            and endpoint.unready_because == Unready.RIGHTS
            and endpoint.active
            and not bindings.first_problem(endpoint.active_id)
        ):
            restore(endpoint, now=now)
        bump_revision(Subject.ENDPOINT, endpoint.pk)
        after = {"ready": str(endpoint.ready), "secrets_sent_on_right_of": authorisers_of(endpoint)}
        report_endpoint("take_over", endpoint, actor=actor, before=before, after=after)
    return endpoint


def pending_takeovers(*, actor: User) -> QuerySet[SecretBinding]:
    """Bindings with a deactivated authoriser on the endpoints that the user manages, oldest first."""
    found = bindings.with_rights().filter(bindings.IS_CURRENT, authoriser__is_active=False)
    if not actor.is_admin:
        managed = Grant.objects.filter(queries.held_by(actor), level=Level.CAN_MANAGE).values("endpoint")
        found = found.filter(Q(version__endpoint__creator=actor) | Q(version__endpoint__in=managed))
    return found.select_related("version__endpoint", "authoriser").order_by("pk")


def _current(endpoint: Endpoint) -> list[Bound]:
    return bindings.of_versions(pk for pk in (endpoint.active_id, endpoint.pending_id) if pk)


def _needs_authoriser(row: Bound) -> bool:
    return not row.is_active or bindings.problem(row) is not None


def _readable(rows: Sequence[Bound], actor: User) -> list[Bound]:
    """The bindings whose secret exists and that the user may read."""
    found = secrets.readable(references=[(row.scope, row.key) for row in rows], actor=actor)
    ids = {secret.pk for secret in found.values()}
    return [row for row in rows if row.secret_id in ids]


def _deactivated(row: Bound) -> str:
    return _(
        "%(person)s, who gave this endpoint the secret %(secret)s, is deactivated. The endpoint keeps sending the value of that time, and new values only after somebody who may read the secret has taken over."
    ) % {"person": row.person, "secret": row.reference}


def _refusal(row: Bound) -> str:
    return _(
        "To take over you need the right READ on secret scope %(scope)s, and its key %(key)s must not have been deleted and created again. Ask %(owner)s."
    ) % {"scope": row.scope, "key": row.key, "owner": row.owner or _("an admin")}
