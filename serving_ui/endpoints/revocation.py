"""The rows follow the rights on secrets: an endpoint is ready no longer when a secret of its config may not be sent, and ready again
when it may. Gateways need no row for that, they ask for the rights themselves: see snapshots.

Level-triggered: what is looked at is how things stand, so a look may be lost, doubled or late without harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from django.db import transaction

from serving_ui.endpoints import bindings
from serving_ui.endpoints.errors import Overtaken
from serving_ui.endpoints.lifecycle import Event, IllegalTransition, Ready
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.transitions import drop, restore, revoke
from serving_ui.revisions.changes import current_revision

Move = Callable[[Endpoint, datetime], None]


class Lookout:
    """Looks only if something was changed since it has looked last. One for each process that sweeps."""

    def __init__(self) -> None:
        self._revision = 0

    def look(self, *, now: datetime) -> None:
        revision = current_revision()
        if revision != self._revision and follow(now=now):
            self._revision = revision


def follow(*, now: datetime) -> bool:
    """Moves every endpoint whose row disagrees with the rights. False when one changed meanwhile and must be looked at again.

    Three queries for all endpoints that need nothing.
    """
    unusable = bindings.unusable().values("version")
    rows = Endpoint.objects.select_related("active", "pending")
    moves: Iterable[tuple[Move, Iterable[Endpoint]]] = (
        (_fail, rows.filter(pending__in=unusable)),
        (_revoke, rows.filter(ready=Ready.READY, active__in=unusable)),
        (_restore, rows.filter(ready=Ready.NOT_READY, active__isnull=False).exclude(active__in=unusable)),
    )
    settled = True
    for move, found in moves:
        for endpoint in found:
            settled = _done(move, endpoint, now) and settled
    return settled


def _done(move: Move, endpoint: Endpoint, now: datetime) -> bool:
    try:
        with transaction.atomic():
            move(endpoint, now)
    except (Overtaken, IllegalTransition):
        return False
    return True


def _fail(endpoint: Endpoint, now: datetime) -> None:
    if reason := bindings.first_problem(endpoint.pending_id):
        drop(endpoint, Event.FAIL, message=reason, now=now)


def _revoke(endpoint: Endpoint, now: datetime) -> None:
    if reason := bindings.first_problem(endpoint.active_id):
        revoke(endpoint, message=reason, now=now)


def _restore(endpoint: Endpoint, now: datetime) -> None:
    if bindings.first_problem(endpoint.active_id) is None:
        restore(endpoint, now=now)
