"""One step of an update: observe, then move the endpoint by compare-and-swap, or return when to poll again.

A step has the backend deploy the served entities, publishes the config to the gateways, and succeeds once every live gateway serves
it. It is level-triggered: it starts from the row, so a step that is lost, repeated or late does no harm.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from serving_ui.backends.local import Local
from serving_ui.backends.protocol import Backend, Observation, Progress
from serving_ui.backends.transport import Aborted, Calls
from serving_ui.catalogue.served_entity import Kind
from serving_ui.endpoints import bindings, leases, outbound, own_models
from serving_ui.endpoints.cluster import Cluster
from serving_ui.endpoints.errors import ConcurrentChange
from serving_ui.endpoints.events import EventKind
from serving_ui.endpoints.lifecycle import IllegalTransition, Trigger
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.endpoints.resolution import Unresolved, resolve
from serving_ui.endpoints.transitions import drop, record_event, succeed, swap
from serving_ui.revisions import gateways
from serving_ui.revisions.changes import Subject, bump_revision

log = logging.getLogger(__name__)
Clock = Callable[[], datetime]
IMMEDIATELY = timedelta(0)
MAX_WAIT = timedelta(seconds=15)
MAX_UNEXPECTED_ERRORS = 3
ACKNOWLEDGEMENT_SECONDS = (
    0.5  # usually enough for all gateways; a slower one is checked again in the next step
)
ACKNOWLEDGEMENT_POLL = 0.02


def reconcile(*, endpoint_id: str, clock: Clock) -> None:
    """Takes the endpoint's update as far as possible. Does nothing if another worker holds the lease."""
    token = leases.claim(endpoint_id=endpoint_id)
    if token is None:
        return
    pause = MAX_WAIT
    try:
        calls = Calls(policy=outbound.policy())
        with leases.renewed(endpoint_id=endpoint_id, token=token, on_lost=calls.abort):
            pause = _step(endpoint_id, token, clock, calls)
    except (ConcurrentChange, IllegalTransition, Aborted):
        pause = IMMEDIATELY  # the endpoint was changed meanwhile
    except Exception as error:  # an error of one endpoint must not stop the thread
        log.exception("Endpoint %s could not be reconciled", endpoint_id)
        pause = _handle_unexpected(endpoint_id, token, error, clock())
    finally:
        leases.release(endpoint_id=endpoint_id, token=token, pause=pause)


def _step(endpoint_id: str, token: int, clock: Clock, calls: Calls) -> timedelta:
    """Returns the pause until the next step."""
    endpoint = _load(endpoint_id, token)
    version = endpoint.pending
    if version is None:
        return IMMEDIATELY
    if version.published_revision is None:
        observations = _deploy(version, calls)
        worst = _worst(observations)
        # Meanwhile the update may have been cancelled, or another worker may have the lease.
        endpoint = _load(endpoint_id, token, pending=version)
        if worst.progress is Progress.FAILED:
            return _fail(endpoint, worst.message, clock())
        if worst.progress is Progress.DEPLOYING:
            return _wait(endpoint, version, worst, clock())
        if worst.progress is Progress.RETRY:
            return _try_later(endpoint, version, worst, clock())
        _publish(endpoint, version, observations, clock())
    return _finish(endpoint, version, clock)


def _load(endpoint_id: str, token: int, pending: ConfigVersion | None = None) -> Endpoint:
    """The endpoint's current row. Raises ConcurrentChange if this worker has lost the lease or the update has ended."""
    row = Endpoint.objects.select_related("pending", "active").filter(pk=endpoint_id, lease_token=token)
    endpoint = (row.filter(pending=pending) if pending else row).first()
    if endpoint is None or not endpoint.is_updating:
        raise ConcurrentChange(_("The update has ended."))
    return endpoint


def _deploy(version: ConfigVersion, calls: Calls) -> dict[str, Observation]:
    """One step of the backend; what it tells by served entity. Raises Aborted."""
    try:
        resolved = resolve(version)
    except Unresolved as reason:
        return {"": Observation(Progress.FAILED, str(reason))}
    close_old_connections()  # so that no connection is held while a provider answers
    return _backend(version, calls).deploy(resolved.served_entities)


def _backend(version: ConfigVersion, calls: Calls) -> Backend:
    if version.config.kind is Kind.OWN_MODEL:
        return Cluster(version)
    return Local(calls, outbound.addresses())


def _worst(observations: Mapping[str, Observation]) -> Observation:
    """The worst observation; if there are several entities, its message starts with the name of the entity."""
    name, worst = max(observations.items(), key=lambda found: found[1].progress)
    if len(observations) == 1 or not worst.message:
        return worst
    return replace(worst, message=f"{name}: {worst.message}")


def _wait(endpoint: Endpoint, version: ConfigVersion, worst: Observation, now: datetime) -> timedelta:
    """Returns the pause until the next look at a deployment that goes on: 1 s, later up to 15 s. Fails at the deadline."""
    left = _time_left(version)
    if left < IMMEDIATELY:
        return _fail(endpoint, _gave_up(version, worst.message), now)
    if worst.message != version.message:
        pending = ConfigVersion.objects.filter(pk=version.pk, outcome=ConfigVersion.Outcome.PENDING)
        pending.update(message=worst.message)
    return min(max((_time_limit(version) - left) / 10, timedelta(seconds=1)), MAX_WAIT)


def _gave_up(version: ConfigVersion, reason: str) -> str:
    return _("%(reason)s Gave up after %(seconds)d seconds.") % {
        "reason": reason,
        "seconds": (_time_limit(version) - _time_left(version)).total_seconds(),
    }


def _try_later(endpoint: Endpoint, version: ConfigVersion, worst: Observation, now: datetime) -> timedelta:
    """Returns the backoff of 1, 2, 4 … 15 s, or the provider's Retry-After if longer. Fails at the deadline with the last reason."""
    if endpoint.attempts == 0:
        _restart_deadline(version)
    wait = max(min(timedelta(seconds=2**endpoint.attempts), MAX_WAIT), timedelta(seconds=worst.retry_after))
    left = _time_left(version)
    if wait > left:
        return _fail(endpoint, _gave_up(version, worst.message), now)
    with transaction.atomic(durable=True):
        swap(endpoint, attempts=endpoint.attempts + 1)
        ConfigVersion.objects.filter(pk=version.pk).update(message=worst.message)
    return wait


def _restart_deadline(version: ConfigVersion) -> None:
    """Sets the deadline from now on, so that earlier delays do not count: a late worker, or a machine that was suspended."""
    ConfigVersion.objects.filter(pk=version.pk).update(deadline=Now() + _time_limit(version))


def _time_left(version: ConfigVersion) -> timedelta:
    """Time until the deadline; negative after it. Restarts a deadline that is too far in the future because the clock was set back."""
    deadline, now = ConfigVersion.objects.values_list("deadline", Now()).get(pk=version.pk)
    left: timedelta = deadline - now
    limit = _time_limit(version)
    if left > limit:
        _restart_deadline(version)
    return min(left, limit)


def _time_limit(version: ConfigVersion) -> timedelta:
    """For the deployment, and after the publication for the gateways to load the config."""
    if version.published_revision is not None:
        return timedelta(seconds=settings.CHECK_DEADLINE_SECONDS)
    return own_models.time_limit(version.deployments, version.spec)


def _publish(
    endpoint: Endpoint, version: ConfigVersion, observations: Mapping[str, Observation], now: datetime
) -> None:
    """Makes the config part of the next snapshot. Each gateway serves it as soon as it has that snapshot."""
    with transaction.atomic(durable=True):
        swap(endpoint)
        version.published_revision = bump_revision(Subject.ENDPOINT, endpoint.pk)
        ConfigVersion.objects.filter(pk=version.pk).update(
            published_revision=version.published_revision, message=_worst(observations).message
        )
        _restart_deadline(version)
        for name, observation in observations.items() if endpoint.kind == Kind.EXTERNAL_MODEL else ():
            is_verified = observation.progress is Progress.READY
            kind = EventKind.VERIFIED if is_verified else EventKind.UNVERIFIED
            record_event(endpoint, kind, now=now, entity=name, message=observation.message)


def _finish(endpoint: Endpoint, version: ConfigVersion, clock: Clock) -> timedelta:
    """Succeeds once every live gateway has acknowledged the config. Waits ACKNOWLEDGEMENT_SECONDS, then leaves the rest to the next step.

    Waits after the deadline too, because the gateways may have been stopped together with this worker.
    """
    revision = version.published_revision or 0
    pause = threading.Event()
    waited = 0.0
    while late := gateways.lagging_gateways(revision=revision):
        if waited >= ACKNOWLEDGEMENT_SECONDS:
            if _time_left(version) >= IMMEDIATELY:
                return timedelta(seconds=1)
            message = _(
                "These gateway processes did not load the configuration: %(late)s. Restart them, then retry."
            )
            return _fail(endpoint, message % {"late": ", ".join(late)}, clock())
        pause.wait(ACKNOWLEDGEMENT_POLL)
        waited += ACKNOWLEDGEMENT_POLL
    with transaction.atomic(durable=True):
        if reason := bindings.first_problem(version.pk):  # a right was withdrawn after the publication
            drop(endpoint, Trigger.FAIL, message=reason, now=clock())
        else:
            succeed(endpoint, version, now=clock())
    return IMMEDIATELY


def _fail(endpoint: Endpoint, message: str, now: datetime) -> timedelta:
    with transaction.atomic(durable=True):
        drop(endpoint, Trigger.FAIL, message=message, now=now)
    return IMMEDIATELY


def _handle_unexpected(endpoint_id: str, token: int, error: Exception, now: datetime) -> timedelta:
    """Retries up to MAX_UNEXPECTED_ERRORS, then fails the update with a reason, so that the row is no longer due."""
    message = _(
        "Serving UI failed with an unexpected error (%(kind)s). Retry. If it happens again, ask an admin to look at the log."
    )
    message %= {"kind": type(error).__name__}
    try:
        endpoint = _load(endpoint_id, token)
        if endpoint.attempts + 1 < MAX_UNEXPECTED_ERRORS:
            if endpoint.attempts == 0 and endpoint.pending:
                _restart_deadline(endpoint.pending)
            swap(endpoint, attempts=endpoint.attempts + 1)
            return timedelta(seconds=2**endpoint.attempts)
        return _fail(endpoint, message, now)
    except (ConcurrentChange, IllegalTransition):
        return IMMEDIATELY
