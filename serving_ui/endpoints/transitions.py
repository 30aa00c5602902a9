"""Transitions of an endpoint's state, each by compare-and-swap. Apart from them only the creation of an endpoint writes the state.

Those that end an update or change whether the endpoint is ready also create an event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db.models import F, Max
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.catalogue.model_source import ModelSource
from serving_ui.catalogue.served_entity import Kind
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.endpoints import bindings as secret_bindings
from serving_ui.endpoints import celery_messages, lifecycle, own_models, queries
from serving_ui.endpoints.errors import ConcurrentChange, StaleEdit
from serving_ui.endpoints.events import EventKind
from serving_ui.endpoints.lifecycle import Trigger, Unready
from serving_ui.endpoints.models import ConfigVersion, Endpoint, EndpointEvent, SecretBinding
from serving_ui.revisions.changes import Subject, bump_revision

P = ParamSpec("P")
R = TypeVar("R")
MAX_ATTEMPTS = 5


def retry_on_concurrent_change(command: Callable[P, R]) -> Callable[P, R]:
    """Decorator: runs the command again if another change was committed between its read and its write. Raises ConcurrentChange after
    MAX_ATTEMPTS."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for _attempt in range(MAX_ATTEMPTS - 1):
            try:
                return command(*args, **kwargs)
            except ConcurrentChange:
                continue
        return command(*args, **kwargs)

    return run


def swap(endpoint: Endpoint, **changes: Any) -> None:
    """Compare-and-swap: writes `changes` if the row's generation is the one that was read. Raises ConcurrentChange otherwise."""
    row = Endpoint.objects.filter(pk=endpoint.pk, generation=endpoint.generation)
    if not row.update(generation=F("generation") + 1, **changes):
        raise ConcurrentChange(_("The endpoint changed at the same moment. Try again."))
    endpoint.generation += 1
    for name, value in changes.items():
        setattr(endpoint, name, value)


def advance(endpoint: Endpoint, trigger: Trigger, **changes: Any) -> None:
    """Applies a trigger of the lifecycle, by compare-and-swap. Raises lifecycle.IllegalTransition or ConcurrentChange."""
    state = lifecycle.step(endpoint.state, trigger)
    swap(endpoint, ready=state.ready, config_update=state.update, **changes)


def record_event(
    endpoint: Endpoint, kind: EventKind, *, now: datetime, actor: User | None = None, **params: Any
) -> None:
    """Creates the event of a change."""
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
    sources: Sequence[ModelSource] = (),
    actor: User | None,
    now: datetime,
    **changes: Any,
) -> ConfigVersion:
    """Makes `config` the pending version, with the bindings of its references and the sources of its own models, and writes other
    `changes` of columns. Raises lifecycle.IllegalTransition while another version is pending.
    """
    changes |= {
        "kind": endpoint.kind or config.kind,
        "next_poll_at": Now(),
        "attempts": 0,
        "modified_at": now,
    }
    advance(endpoint, Trigger.SUBMIT, **changes)
    # After the swap, which locks the row, so two concurrent submits cannot use the same number.
    newest = endpoint.versions.aggregate(newest=Max("number"))["newest"] or 0
    spec, deployments = config.stored(), own_models.plan(endpoint, config, sources, number=newest + 1)
    version = ConfigVersion.objects.create(
        endpoint=endpoint,
        number=newest + 1,
        spec=spec,
        creator=actor,
        created_at=now,
        deployments=deployments,
        deadline=now + own_models.time_limit(deployments, spec),  # restarted after the first failed attempt
    )
    unsaved = list(bindings)
    for binding in unsaved:
        binding.version = version
    SecretBinding.objects.bulk_create(unsaved)
    Endpoint.objects.filter(pk=endpoint.pk).update(pending=version, latest=version)
    endpoint.pending = endpoint.latest = version
    return version


def succeed(endpoint: Endpoint, version: ConfigVersion, *, now: datetime) -> None:
    """Makes the pending version the active one."""
    settled = {"active": version, "pending": None, "next_poll_at": None, "lease_until": None}
    advance(endpoint, Trigger.SUCCEED, unready_because=Unready.RIGHTS, **settled)
    _free_cluster(endpoint)
    endpoint.versions.filter(outcome=ConfigVersion.Outcome.ACTIVE).update(
        outcome=ConfigVersion.Outcome.REPLACED
    )
    endpoint.versions.filter(pk=version.pk).update(outcome=ConfigVersion.Outcome.ACTIVE, settled_at=now)
    record_event(
        endpoint,
        EventKind.SUCCEEDED,
        now=now,
        entity=version.config.served_entities[0].name,
        version=version.number,
    )


def _free_cluster(endpoint: Endpoint) -> None:
    """Has the cluster drop what the endpoint no longer needs."""
    if endpoint.kind == Kind.OWN_MODEL:
        celery_messages.check_cluster_on_commit()


def drop(
    endpoint: Endpoint, trigger: Trigger, *, message: str = "", actor: User | None = None, now: datetime
) -> None:
    """Drops the pending version after Trigger.FAIL or Trigger.CANCEL. The active version stays in service."""
    version = endpoint.pending
    if version is None:
        raise lifecycle.IllegalTransition("nothing is pending")
    advance(endpoint, trigger, pending=None, next_poll_at=None, lease_until=None)
    failed = trigger is Trigger.FAIL
    endpoint.versions.filter(pk=version.pk).update(
        outcome=ConfigVersion.Outcome.FAILED if failed else ConfigVersion.Outcome.CANCELED,
        settled_at=now,
        message=message,
    )
    if version.published_revision:
        bump_revision(
            Subject.ENDPOINT, endpoint.pk
        )  # gateways that serve it already return to the active version
    _free_cluster(endpoint)
    kind = EventKind.FAILED if failed else EventKind.CANCELED
    record_event(endpoint, kind, now=now, actor=actor, version=version.number, message=message)


def lose_health(endpoint: Endpoint, *, message: str, now: datetime) -> None:
    """Makes the endpoint NOT_READY because what answers its queries does not answer. `message` says why and what happens next."""
    advance(endpoint, Trigger.REVOKE, unready_because=Unready.HEALTH)
    record_event(endpoint, EventKind.UNHEALTHY, now=now, message=message)


def regain_health(endpoint: Endpoint, *, now: datetime) -> None:
    """Makes an endpoint READY again after `lose_health`, unless a secret may no longer be sent."""
    if secret_bindings.first_problem(endpoint.active_id):
        swap(endpoint, unready_because=Unready.RIGHTS)
        return
    advance(endpoint, Trigger.RESTORE, unready_because=Unready.RIGHTS)
    record_event(endpoint, EventKind.HEALTHY, now=now)


def stop(endpoint: Endpoint, *, actor: User | None, now: datetime) -> None:
    """Makes the endpoint NOT_READY until it is started. Gateways refuse queries from the next snapshot on."""
    advance(endpoint, Trigger.STOP, unready_because=Unready.STOPPED, modified_at=now)
    bump_revision(Subject.ENDPOINT, endpoint.pk)
    _free_cluster(endpoint)
    record_event(endpoint, EventKind.STOPPED, now=now, actor=actor)


def revoke(endpoint: Endpoint, *, message: str, now: datetime) -> None:
    """Makes the endpoint NOT_READY because a secret of its active config may not be sent. `message` says which and whom to ask."""
    advance(endpoint, Trigger.REVOKE, unready_because=Unready.RIGHTS)
    record_event(endpoint, EventKind.REVOKED, now=now, message=message)


def restore(endpoint: Endpoint, *, now: datetime) -> None:
    """Makes a revoked endpoint READY again."""
    advance(endpoint, Trigger.RESTORE)
    version = endpoint.active.number if endpoint.active else None
    record_event(endpoint, EventKind.RESTORED, now=now, version=version)


def refuse_stale(endpoint: Endpoint, generation: int | None) -> None:
    """Raises StaleEdit if users changed the endpoint after `generation`."""
    if generation is None or generation == endpoint.generation:
        return
    changes = queries.changes_since(endpoint=endpoint, generation=generation)
    if changes:
        raise StaleEdit(
            _("The endpoint was changed after you opened this form. Compare the changes, then save again."),
            changes=changes,
        )
