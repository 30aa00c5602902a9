"""The Ray cluster that runs own models: writes the wanted applications to it, and follows their health.

Ray takes the whole list of applications at once and deletes what is not in it, so one process writes at a time (a lease in the database),
and always the whole list, built from the rows. Level-triggered: a run that is lost, repeated or late does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from serving_ui.backends.protocol import Observation, Progress
from serving_ui.backends.ray_serve.application import Application
from serving_ui.backends.ray_serve.client import RayServe, RayUnavailable
from serving_ui.catalogue.served_entity import Kind, ServedEntity
from serving_ui.endpoints import outbound, own_models
from serving_ui.endpoints.errors import ConcurrentChange
from serving_ui.endpoints.lifecycle import IllegalTransition, Ready, Unready
from serving_ui.endpoints.models import ClusterState, ConfigVersion, Endpoint
from serving_ui.endpoints.resolution import SecretValues, Unresolved, resolve
from serving_ui.endpoints.transitions import lose_health, regain_health
from serving_ui.revisions.changes import Subject, bump_revision

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=60)  # longer than all requests of one run may take
UNHEALTHY_AFTER = 8.0  # seconds of failed checks: Ray shows unchanged applications as deploying for a moment
_ID = 1


def is_configured() -> bool:
    """Whether this server has a Ray cluster."""
    return bool(settings.RAY_ADDRESS)


def connect() -> RayServe:
    return RayServe(
        settings.RAY_ADDRESS, token=settings.RAY_TOKEN, proxies=settings.RAY_PROXIES, policy=outbound.policy()
    )


class Cluster:
    """The backend of own models: one application of Ray Serve for each served entity."""

    def __init__(self, version: ConfigVersion) -> None:
        self._version = version

    def deploy(self, entities: Sequence[ServedEntity]) -> dict[str, Observation]:
        names = {entity.name: self._version.deployments[entity.name]["application"] for entity in entities}
        try:
            wanted = write_applications()
            ray = connect()
            observed = ray.observe_all(wanted[each] for each in names.values() if each in wanted)
            if all(each.progress is Progress.READY for each in observed.values()):
                _store_proxies(ray.proxies())  # before gateways get the config
        except RayUnavailable as reason:
            return dict.fromkeys(names, Observation(Progress.RETRY, str(reason)))
        return {name: observed.get(each, _REPLACED) for name, each in names.items()}


_REPLACED = Observation(Progress.DEPLOYING)
"""Of an application that is no longer wanted: its update has ended, which the caller finds next."""


def write_applications() -> dict[str, Application]:
    """Makes the cluster run exactly the wanted applications of ours, and returns them by name. Raises RayUnavailable.

    Writes nothing while another process does: that one writes them all, or the next run sees what is missing. Nobody waits for it,
    because among many updates one could wait until its deadline.
    """
    token = _claim()
    if token is None:
        return wanted_applications()
    try:
        wanted = wanted_applications()
        close_old_connections()  # so that no connection is held while the cluster answers
        connect().apply(wanted.values())
    finally:
        _state().filter(lease_token=token).update(lease_until=None)
    return wanted


def wanted_applications() -> dict[str, Application]:
    """The applications of all versions that are active or pending, by name. A version whose secrets may not be sent has none, so that no
    model goes on with a secret that was withdrawn."""
    rows = Endpoint.objects.filter(kind=Kind.OWN_MODEL).select_related("active", "pending")
    versions = [
        version
        for row in rows
        for version in (row.pending, None if row.is_stopped else row.active)
        if version is not None
    ]
    values = SecretValues.load(versions)
    wanted: dict[str, Application] = {}
    for version in versions:  # an active one after a pending one, which may have the same application
        try:
            found = own_models.applications(version, resolve(version, values=values))
        except Unresolved:
            continue
        wanted |= {each.name: each for each in found.values()}
    return wanted


def check_cluster(*, now: datetime) -> None:
    """Writes the wanted applications, observes them, and moves endpoints whose health has changed."""
    try:
        wanted = write_applications()
        ray = connect()
        observed = ray.observe_all(wanted.values())
        _store_proxies(ray.proxies())
        _record(observed, problem="", now=now)
    except RayUnavailable as reason:
        _record(None, problem=str(reason), now=now)
    _move_endpoints(now)


def _store_proxies(found: Sequence[str]) -> None:
    """Gateways get the proxies that answer with the next snapshot."""
    with transaction.atomic():
        changed = _state().exclude(proxies=list(found)).update(proxies=list(found))
        if changed:
            for pk in Endpoint.objects.filter(kind=Kind.OWN_MODEL).values_list("pk", flat=True):
                bump_revision(Subject.ENDPOINT, pk)


def _record(observed: Mapping[str, Observation] | None, *, problem: str, now: datetime) -> None:
    """Stores what was observed; None: nothing could be, so that every application counts as failed."""
    before = ClusterState.objects.get_or_create(pk=_ID)[0]
    applications = {
        name: _recorded(each, before.applications.get(name, {}), now)
        for name, each in (observed or {}).items()
    }
    if observed is None:
        failed = Observation(Progress.RETRY, problem)
        applications = {name: _recorded(failed, each, now) for name, each in before.applications.items()}
    _state().update(applications=applications, problem=problem)


def _recorded(observation: Observation, before: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    is_ready = observation.progress is Progress.READY
    return {
        "progress": observation.progress.name,
        "message": observation.message,
        "is_scaled_to_zero": observation.is_scaled_to_zero,
        "failed_since": None if is_ready else before.get("failed_since") or now.timestamp(),
    }


def _move_endpoints(now: datetime) -> None:
    """Endpoints are ready as long as the applications of their active version are."""
    known = ClusterState.objects.get(pk=_ID).applications
    rows = Endpoint.objects.filter(kind=Kind.OWN_MODEL, active__isnull=False).select_related("active")
    for row in rows:
        failed = _failed(row, known, now)
        try:
            with transaction.atomic():
                if failed and row.ready == Ready.READY:
                    lose_health(row, message=failed, now=now)
                elif (
                    failed is None and row.unready_because == Unready.HEALTH and row.ready == Ready.NOT_READY
                ):
                    regain_health(row, now=now)
        except (ConcurrentChange, IllegalTransition):
            continue  # the next check sees the new state


def _failed(row: Endpoint, known: Mapping[str, Any], now: datetime) -> str | None:
    """Why the endpoint does not answer; empty if that is not certain yet; None if it answers."""
    states = [
        known.get(planned["application"], {"failed_since": now.timestamp(), "message": ""})
        for planned in (row.active.deployments if row.active else {}).values()
    ]
    failed = [each for each in states if each["failed_since"]]
    if not failed:
        return None
    first = min(failed, key=lambda each: float(each["failed_since"]))
    # The time in which the version was still loading does not count.
    active_since = row.active.settled_at.timestamp() if row.active and row.active.settled_at else 0.0
    since = max(float(first["failed_since"]), active_since)
    return str(first["message"]) if now.timestamp() - since >= UNHEALTHY_AFTER else ""


def proxies() -> list[str]:
    """The base URLs of the proxies that answered the last check. One query."""
    found = _state().values_list("proxies", flat=True).first()
    return found or []


def scaled_to_zero(version: ConfigVersion) -> frozenset[str]:
    """The names of the served entities without a replica at the last check. One query, none for external models."""
    if not version.deployments:
        return frozenset()
    known = _state().values_list("applications", flat=True).first() or {}
    return frozenset(
        name
        for name, planned in version.deployments.items()
        if known.get(planned["application"], {}).get("is_scaled_to_zero")
    )


def _state() -> QuerySet[ClusterState]:
    return ClusterState.objects.filter(pk=_ID)


def _claim() -> int | None:
    """The token of the lease to write; None while another process has it."""
    state = ClusterState.objects.get_or_create(pk=_ID)[0]
    free = Q(lease_until=None) | Q(lease_until__lt=Now()) | Q(lease_until__gt=Now() + LEASE)
    row = _state().filter(free, lease_token=state.lease_token)
    won = row.update(lease_token=F("lease_token") + 1, lease_until=Now() + LEASE)
    return state.lease_token + 1 if won else None
