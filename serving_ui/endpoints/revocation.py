"""Adapts the state of endpoints to the rights on secrets. An endpoint whose active config has a secret that may not be sent
(`bindings.problem`) becomes NOT_READY, and READY again when it may; a pending config with such a secret fails.

Gateways do not wait for this: snapshots are built from the rights themselves. Level-triggered: it compares the current rows, so a run
that is lost, repeated or late does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from django.db import transaction

from serving_ui.endpoints import bindings
from serving_ui.endpoints.errors import ConcurrentChange
from serving_ui.endpoints.lifecycle import IllegalTransition, Ready, Trigger, Unready
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.transitions import drop, restore, revoke
from serving_ui.revisions.changes import current_revision

Move = Callable[[Endpoint, datetime], None]


class SecretRightsCheck:
    """Applies the rights only if the revision has changed since the last run. One for each worker process."""

    def __init__(self) -> None:
        self._revision = 0

    def run(self, *, now: datetime) -> None:
        revision = current_revision()
        if revision != self._revision and apply_secret_rights(now=now):
            self._revision = revision


def apply_secret_rights(*, now: datetime) -> bool:
    """Moves every endpoint whose state disagrees with the rights. False if an endpoint changed meanwhile and must be checked again.

    Three queries if no endpoint must be moved.
    """
    unusable = bindings.unusable().values("version")
    rows = Endpoint.objects.select_related("active", "pending")
    unready = rows.filter(ready=Ready.NOT_READY, unready_because=Unready.RIGHTS, active__isnull=False)
    moves: Iterable[tuple[Move, Iterable[Endpoint]]] = (
        (_fail, rows.filter(pending__in=unusable)),
        (_revoke, rows.filter(ready=Ready.READY, active__in=unusable)),
        (_restore, unready.exclude(active__in=unusable)),
    )
    settled = True
    for move, endpoints in moves:
        for endpoint in endpoints:
            settled = _try_move(move, endpoint, now) and settled
    return settled


def _try_move(move: Move, endpoint: Endpoint, now: datetime) -> bool:
    try:
        with transaction.atomic():
            move(endpoint, now)
    except (ConcurrentChange, IllegalTransition):
        return False
    return True


def _fail(endpoint: Endpoint, now: datetime) -> None:
    if reason := bindings.first_problem(endpoint.pending_id):
        drop(endpoint, Trigger.FAIL, message=reason, now=now)


def _revoke(endpoint: Endpoint, now: datetime) -> None:
    if reason := bindings.first_problem(endpoint.active_id):
        revoke(endpoint, message=reason, now=now)


def _restore(endpoint: Endpoint, now: datetime) -> None:
    if bindings.first_problem(endpoint.active_id) is None:
        restore(endpoint, now=now)
