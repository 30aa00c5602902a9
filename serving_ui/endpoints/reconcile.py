"""One step of an update: observe, then move the endpoint by compare-and-swap, or say when to look again.

Level-triggered: the row is the truth, so a step may be lost, doubled or late without harm. The step checks the
credentials, publishes the config to the gateways, and succeeds once every live gateway serves it.
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

from serving_ui.backends.local import Outcome, Verdict, check_credentials
from serving_ui.backends.transport import Aborted, Call
from serving_ui.endpoints import bindings, leases, outbound
from serving_ui.endpoints.errors import Overtaken
from serving_ui.endpoints.events import Kind
from serving_ui.endpoints.lifecycle import Event, IllegalTransition
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.endpoints.resolution import Unresolved, resolve
from serving_ui.endpoints.transitions import drop, record, succeed, swap
from serving_ui.revisions import gateways
from serving_ui.revisions.changes import Subject, bump_revision

log = logging.getLogger(__name__)
Clock = Callable[[], datetime]
AT_ONCE = timedelta(0)
LONGEST_WAIT = timedelta(seconds=15)
UNEXPECTED_TRIES = 3
ACKNOWLEDGEMENT_SECONDS = (
    0.5  # longer than gateways take; one that lags is looked after when the row is due again
)
ACKNOWLEDGEMENT_POLL = 0.02


def reconcile(*, endpoint_id: str, clock: Clock) -> None:
    """Takes the endpoint's running update as far as it goes now. Does nothing if another worker holds it."""
    token = leases.claim(endpoint_id=endpoint_id)
    if token is None:
        return
    pause = LONGEST_WAIT
    try:
        with (
            Call(policy=outbound.policy()) as call,
            leases.kept(endpoint_id=endpoint_id, token=token, lost=call.abort),
        ):
            pause = _step(endpoint_id, token, clock, call)
    except (Overtaken, IllegalTransition, Aborted):
        pause = AT_ONCE  # somebody changed the endpoint meanwhile: what we saw is no longer so
    except Exception as error:  # the outermost edge: one poisonous row must not stop the others
        log.exception("Endpoint %s could not be reconciled", endpoint_id)
        pause = _after_unexpected(endpoint_id, token, error, clock())
    finally:
        leases.release(endpoint_id=endpoint_id, token=token, pause=pause)


def _step(endpoint_id: str, token: int, clock: Clock, call: Call) -> timedelta:
    """Answers after which pause to look again."""
    endpoint = _held(endpoint_id, token)
    version = endpoint.pending
    if version is None:
        return AT_ONCE
    if version.published_revision is None:
        verdicts = _verdicts(version, call)
        verdict = _worst(verdicts)
        # The person may have cancelled or another worker taken over while the provider was asked.
        endpoint = _held(endpoint_id, token, pending=version)
        if verdict.outcome is Outcome.REJECTED:
            return _fail(endpoint, verdict.message, clock())
        if verdict.outcome is Outcome.RETRY:
            return _try_later(endpoint, version, verdict, clock())
        _publish(endpoint, version, verdicts, clock())
    return _finish(endpoint, version, clock)


def _held(endpoint_id: str, token: int, pending: ConfigVersion | None = None) -> Endpoint:
    """The endpoint as it is now; raises Overtaken when this worker no longer holds it or the update has ended."""
    row = Endpoint.objects.select_related("pending", "active").filter(pk=endpoint_id, lease_token=token)
    endpoint = (row.filter(pending=pending) if pending else row).first()
    if endpoint is None or not endpoint.is_updating:
        raise Overtaken(_("The update has ended."))
    return endpoint


def _verdicts(version: ConfigVersion, call: Call) -> dict[str, Verdict]:
    """What the providers say of the credentials, by served entity. Raises Aborted."""
    try:
        resolved = resolve(version)
    except Unresolved as reason:
        return {"": Verdict(Outcome.REJECTED, str(reason))}
    close_old_connections()  # not to be held while a provider is waited for
    return {
        entity.name: check_credentials(entity, addresses=outbound.addresses(), call=call)
        for entity in resolved.served_entities
    }


def _worst(verdicts: Mapping[str, Verdict]) -> Verdict:
    """The one that counts; of several entities it says which it is about."""
    name, verdict = max(verdicts.items(), key=lambda found: found[1].outcome)
    if len(verdicts) == 1 or not verdict.message:
        return verdict
    return replace(verdict, message=f"{name}: {verdict.message}")


def _try_later(endpoint: Endpoint, version: ConfigVersion, verdict: Verdict, now: datetime) -> timedelta:
    """Backs off 1, 2, 4 … 15 s, as long as the vendor asks if it does, and fails at the deadline with the last reason."""
    if endpoint.attempts == 0:
        _put_deadline(version)
    wait = max(
        min(timedelta(seconds=2**endpoint.attempts), LONGEST_WAIT), timedelta(seconds=verdict.retry_after)
    )
    left = _time_left(version)
    if wait > left:
        message = _("%(reason)s Gave up after %(seconds)d seconds.") % {
            "reason": verdict.message,
            "seconds": (_time_given() - left).total_seconds(),
        }
        return _fail(endpoint, message, now)
    with transaction.atomic(durable=True):
        swap(endpoint, attempts=endpoint.attempts + 1)
        ConfigVersion.objects.filter(pk=version.pk).update(message=verdict.message)
    return wait


def _put_deadline(version: ConfigVersion) -> None:
    """What was waited for before does not count: a worker that came late, or a machine that was suspended."""
    ConfigVersion.objects.filter(pk=version.pk).update(deadline=Now() + _time_given())


def _time_left(version: ConfigVersion) -> timedelta:
    """Until the deadline; negative afterwards. One further off than it can have been put, because the clock was set back since,
    is put anew."""
    deadline, now = ConfigVersion.objects.values_list("deadline", Now()).get(pk=version.pk)
    left: timedelta = deadline - now
    if left > _time_given():
        _put_deadline(version)
    return min(left, _time_given())


def _time_given() -> timedelta:
    return timedelta(seconds=settings.CHECK_DEADLINE_SECONDS)


def _publish(
    endpoint: Endpoint, version: ConfigVersion, verdicts: Mapping[str, Verdict], now: datetime
) -> None:
    """Puts the config into the snapshot: each gateway serves it from the moment that it takes the snapshot up."""
    with transaction.atomic(durable=True):
        swap(endpoint)
        version.published_revision = bump_revision(Subject.ENDPOINT, endpoint.pk)
        ConfigVersion.objects.filter(pk=version.pk).update(
            published_revision=version.published_revision, message=_worst(verdicts).message
        )
        _put_deadline(version)
        for name, verdict in verdicts.items():
            kind = Kind.VERIFIED if verdict.outcome is Outcome.VERIFIED else Kind.UNVERIFIED
            record(endpoint, kind, now=now, entity=name, message=verdict.message)


def _finish(endpoint: Endpoint, version: ConfigVersion, clock: Clock) -> timedelta:
    """Succeeds once every live gateway has acknowledged; waits for them a moment, then lets the next step look.

    Even after the deadline it waits once: gateways may have been stopped together with this worker.
    """
    revision = version.published_revision or 0
    pause = threading.Event()
    waited = 0.0
    while late := gateways.lagging_gateways(revision=revision):
        if waited >= ACKNOWLEDGEMENT_SECONDS:
            if _time_left(version) >= AT_ONCE:
                return timedelta(seconds=1)
            message = _(
                "These gateway processes did not take the configuration up: %(late)s. Restart them, then retry."
            )
            return _fail(endpoint, message % {"late": ", ".join(late)}, clock())
        pause.wait(ACKNOWLEDGEMENT_POLL)
        waited += ACKNOWLEDGEMENT_POLL
    with transaction.atomic(durable=True):
        if reason := bindings.first_problem(version.pk):  # a right was withdrawn since it was published
            drop(endpoint, Event.FAIL, message=reason, now=clock())
        else:
            succeed(endpoint, version, now=clock())
    return AT_ONCE


def _fail(endpoint: Endpoint, message: str, now: datetime) -> timedelta:
    with transaction.atomic(durable=True):
        drop(endpoint, Event.FAIL, message=message, now=now)
    return AT_ONCE


def _after_unexpected(endpoint_id: str, token: int, error: Exception, now: datetime) -> timedelta:
    """Tries a few times more, then sets the poisonous row aside: its update fails, with a reason on its page."""
    message = _(
        "Serving UI met an unexpected error (%(kind)s). Retry; if it stays, tell an admin to look at the log."
    )
    message %= {"kind": type(error).__name__}
    try:
        endpoint = _held(endpoint_id, token)
        if endpoint.attempts + 1 < UNEXPECTED_TRIES:
            if endpoint.attempts == 0 and endpoint.pending:
                _put_deadline(endpoint.pending)
            swap(endpoint, attempts=endpoint.attempts + 1)
            return timedelta(seconds=2**endpoint.attempts)
        return _fail(endpoint, message, now)
    except (Overtaken, IllegalTransition):
        return AT_ONCE
