"""The only writers of an endpoint's state: one compare-and-swap each, with its event row. Used by commands and reconcile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db.models import F, Max
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.endpoints import lifecycle, queries
from serving_ui.endpoints.errors import Overtaken, StaleEdit
from serving_ui.endpoints.events import Kind
from serving_ui.endpoints.lifecycle import Event
from serving_ui.endpoints.models import ConfigVersion, Endpoint, EndpointEvent, SecretBinding
from serving_ui.revisions.changes import Subject, bump_revision

Outcome = ConfigVersion.Outcome
P = ParamSpec("P")
R = TypeVar("R")
TRIES = 5


def retried(command: Callable[P, R]) -> Callable[P, R]:
    """Runs the command again when another change came between its read and its write; the refusal then tells why."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for _again in range(TRIES - 1):
            try:
                return command(*args, **kwargs)
            except Overtaken:
                continue
        return command(*args, **kwargs)

    return run


def swap(endpoint: Endpoint, **changes: Any) -> None:
    """Writes `changes` if nobody changed the endpoint since it was read; raises Overtaken otherwise."""
    here = Endpoint.objects.filter(pk=endpoint.pk, generation=endpoint.generation)
    if not here.update(generation=F("generation") + 1, **changes):
        raise Overtaken(_("The endpoint changed at the same moment. Try again."))
    endpoint.generation += 1
    for name, value in changes.items():
        setattr(endpoint, name, value)


def advance(endpoint: Endpoint, event: Event, **changes: Any) -> None:
    """Moves the endpoint along its life, by compare-and-swap. Raises lifecycle.IllegalTransition or Overtaken."""
    state = lifecycle.step(endpoint.state, event)
    swap(endpoint, ready=state.ready, config_update=state.update, **changes)


def record(
    endpoint: Endpoint, kind: Kind, *, now: datetime, actor: User | None = None, **params: Any
) -> None:
    """The event row of a change."""
    entity = params.pop("entity", "")
    EndpointEvent.objects.create(
        endpoint=endpoint,
        at=now,
        type=kind,
        entity=entity,
        params=params,
        actor=actor,
        generation=endpoint.generation,
    )


def submit(
    endpoint: Endpoint,
    config: ConfigSpec,
    *,
    bindings: Iterable[SecretBinding] = (),
    actor: User | None,
    now: datetime,
    **changes: Any,
) -> ConfigVersion:
    """Makes `config` the pending version, with what its references mean, and other `changes` of columns. Raises lifecycle.IllegalTransition while another is pending."""
    advance(endpoint, Event.SUBMIT, next_poll_at=Now(), attempts=0, modified_at=now, **changes)
    # Numbered after the swap: the row is now ours, so two racing submits cannot draw the same number.
    newest = endpoint.versions.aggregate(newest=Max("number"))["newest"] or 0
    version = ConfigVersion.objects.create(
        endpoint=endpoint,
        number=newest + 1,
        spec=config.stored(),
        creator=actor,
        created_at=now,
        deadline=now + timedelta(seconds=settings.CHECK_DEADLINE_SECONDS),  # put anew at the first attempt
    )
    for binding in (found := list(bindings)):
        binding.version = version
    SecretBinding.objects.bulk_create(found)
    Endpoint.objects.filter(pk=endpoint.pk).update(pending=version, latest=version)
    endpoint.pending = endpoint.latest = version
    return version


def succeed(endpoint: Endpoint, version: ConfigVersion, *, now: datetime) -> None:
    """The pending version becomes the active one."""
    advance(endpoint, Event.SUCCEED, active=version, pending=None, next_poll_at=None, lease_until=None)
    endpoint.versions.filter(outcome=Outcome.ACTIVE).update(outcome=Outcome.REPLACED)
    endpoint.versions.filter(pk=version.pk).update(outcome=Outcome.ACTIVE, settled_at=now)
    record(
        endpoint,
        Kind.SUCCEEDED,
        now=now,
        entity=version.config.served_entities[0].name,
        version=version.number,
    )


def drop(
    endpoint: Endpoint, event: Event, *, message: str = "", actor: User | None = None, now: datetime
) -> None:
    """The pending version failed or was cancelled: it is dropped, and the active one answers as before."""
    version = endpoint.pending
    if version is None:
        raise lifecycle.IllegalTransition("nothing is pending")
    advance(endpoint, event, pending=None, next_poll_at=None, lease_until=None)
    failed = event is Event.FAIL
    endpoint.versions.filter(pk=version.pk).update(
        outcome=Outcome.FAILED if failed else Outcome.CANCELED, settled_at=now, message=message
    )
    if version.published_revision:
        bump_revision(Subject.ENDPOINT, endpoint.pk)  # gateways may serve it already and must go back
    kind = Kind.FAILED if failed else Kind.CANCELED
    record(endpoint, kind, now=now, actor=actor, version=version.number, message=message)


def revoke(endpoint: Endpoint, *, message: str, now: datetime) -> None:
    """A secret of the active config may not be sent any more; `message` says which, and whom to ask."""
    advance(endpoint, Event.REVOKE)
    record(endpoint, Kind.REVOKED, now=now, message=message)


def restore(endpoint: Endpoint, *, now: datetime) -> None:
    """All secrets of the active config may be sent again."""
    advance(endpoint, Event.RESTORE)
    version = endpoint.active.number if endpoint.active else None
    record(endpoint, Kind.RESTORED, now=now, version=version)


def refuse_stale(endpoint: Endpoint, generation: int | None) -> None:
    """Raises StaleEdit when others changed the endpoint since `generation`."""
    if generation is None or generation == endpoint.generation:
        return
    changes = queries.changes_since(endpoint=endpoint, generation=generation)
    if changes:
        raise StaleEdit(
            _("The endpoint was changed after you opened this form. Compare, then save again."),
            changes=changes,
        )
