"""Checks model hosts: which models each one has, and whether it answers.

Each check runs in a thread and has a lease, a time in the row of the host, so that one worker checks a host at a time. Hosts that did not
answer at their last check use at most THREADS_OF_A_GROUP of the threads: however many they are, the others are checked in time.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import close_old_connections, connection
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from serving_ui.backends import model_lists
from serving_ui.backends.model_lists import ListFailed
from serving_ui.backends.transport import Call
from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.catalogue.model_list import MAX_MODELS, ListedModel, ModelList
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import outbound
from serving_ui.endpoints.fair_queue import FairQueue, Job
from serving_ui.lib import clock as system_clock
from serving_ui.model_hosts import endpoints_of_models, host_secrets
from serving_ui.model_hosts.models import Health, ModelHost

log = logging.getLogger(__name__)
EVERY = timedelta(minutes=1)
AGAIN = (timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=30))
"""Pauses after the first checks that fail; then EVERY."""
SECONDS = 10.0
"""Time limit of one check."""
LEASE = timedelta(seconds=90)
"""Longer than a check of a host with 500 new models. If the worker dies, the host is not checked for so long."""
THREADS = 24
THREADS_OF_A_GROUP = 16


def check_due_hosts(*, now: datetime) -> None:
    """Starts the checks of all hosts that are due, each in a thread, as soon as the limits allow it. Does not wait for them."""
    due = ModelHost.objects.filter(_is_free(now), next_check_at__lte=now).order_by("next_check_at")
    for host_id, health in due.values_list("pk", "health"):
        _queue.put(Job(host_id, user=str(health == Health.UNREACHABLE)))


def stop() -> None:
    """For a worker that ends: starts no more checks."""
    _queue.close()


def _run(job: Job) -> None:
    close_old_connections()
    try:
        if lease := _claim(job.key, now=system_clock.now()):
            check_host(job.key, lease=lease)
    except Exception:  # this thread has no caller; the host becomes due again when its lease ends
        log.exception("Model host %s could not be checked", job.key)
    finally:
        connection.close()


_queue = FairQueue(_run, max_running=THREADS, max_per_user=THREADS_OF_A_GROUP, max_per_host=THREADS)
"""Its users are two groups: hosts that answered at their last check or are new, and those that did not."""


def _is_free(now: datetime) -> Q:
    return Q(checking_until=None) | Q(checking_until__lte=now)


def _claim(host_id: str, *, now: datetime) -> datetime | None:
    """The lease, if no other worker checks the host or has just done so."""
    lease = now + LEASE
    due = ModelHost.objects.filter(_is_free(now), pk=host_id, next_check_at__lte=now)
    return lease if due.update(checking_until=lease) else None


def check_host(host_id: str, *, lease: datetime | None = None) -> None:
    """Asks one host for its models, and updates their endpoints. `lease` is the value of its `checking_until`."""
    host = ModelHost.objects.select_related("authoriser").filter(pk=host_id, checking_until=lease).first()
    if host is None:
        return
    clock = system_clock.now
    try:
        external = host_secrets.resolved(host)
        close_old_connections()  # so that no connection is held while the host answers
        with Call(policy=outbound.policy(), seconds=SECONDS) as call:
            found = _read_models(host, external, call)
        if not _is_current(host):
            return _release(host)
        left_out = endpoints_of_models.update_models(host, found.models, now=clock())
    except host_secrets.Unusable as problem:
        endpoints_of_models.update_health(host, unchecked=str(problem), now=clock())
        _store(host, clock(), health=Health.UNCHECKED, error=str(problem), failures=0)
    except ListFailed as problem:
        _record_failure(host, str(problem), clock())
    else:
        endpoints_of_models.update_health(host, now=clock())
        _store(host, clock(), health=Health.ONLINE, error="", note=_note(found, left_out), failures=0)


def _read_models(host: ModelHost, external: ExternalModel, call: Call) -> ModelList:
    """Raises ListFailed."""
    addresses = outbound.addresses()
    if not host.named_models:
        found = model_lists.list_models(external, addresses=addresses, call=call)
        tasks = external.provider_entry.tasks
        return replace(found, models=tuple(model for model in found.models if model.task in tasks))
    model_lists.check_account(external, addresses=addresses, call=call)
    named = {each["name"]: Task(each["task"]) for each in host.named_models}
    models = tuple(ListedModel(name, name[:100], task) for name, task in named.items())
    return ModelList(models, len(models))


def _is_current(host: ModelHost) -> bool:
    """Whether the host was neither changed nor deleted while it answered, and no other worker checks it."""
    return _checked_rows(host).filter(revision=host.revision).exists()


def _checked_rows(host: ModelHost) -> QuerySet[ModelHost]:
    """The row, unless the lease ended and another worker has one."""
    return ModelHost.objects.filter(pk=host.pk, checking_until=host.checking_until)


def _release(host: ModelHost) -> None:
    _checked_rows(host).update(checking_until=None)


def _record_failure(host: ModelHost, error: str, now: datetime) -> None:
    """The second failure in a row makes its endpoints not ready; a single one may be chance, and is followed by a check 5 s later."""
    failures = host.failures + 1
    if failures > 1 and _is_current(host):
        endpoints_of_models.update_health(host, error=error, now=now)
    pause = AGAIN[failures - 1] if failures <= len(AGAIN) else EVERY
    _store(host, now, pause, health=Health.UNREACHABLE, error=error, failures=failures)


def _store(host: ModelHost, now: datetime, pause: timedelta = EVERY, **columns: object) -> None:
    """A host that became due during the check stays due."""
    found = _checked_rows(host).filter(revision=host.revision)
    found.filter(next_check_at=host.next_check_at).update(next_check_at=now + pause)
    found.update(checked_at=now, **columns)
    _release(host)


def _note(found: ModelList, left_out: int) -> str:
    parts = []
    if left_out:
        sentence = _(
            "%(number)s new models were left out, because this host has %(limit)s endpoints, with those of models that went less than a day ago. Name the models that you want."
        )
        parts.append(
            sentence % {"number": f"{left_out:,}", "limit": f"{endpoints_of_models.MAX_ENDPOINTS:,}"}
        )
    if found.total > MAX_MODELS:
        sentence = _(
            "It lists %(total)s models, of which the first %(limit)s by name are used. Name the models that you want."
        )
        parts.append(sentence % {"total": f"{found.total:,}", "limit": MAX_MODELS})
    if found.unreadable:
        sentence = _(
            "%(number)s entries of its list were left out: they have no name that a request can contain."
        )
        parts.append(sentence % {"number": f"{found.unreadable:,}"})
    return " ".join(parts)
