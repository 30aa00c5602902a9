"""Checks model hosts: which models each one has, and whether it answers.

The Celery task calls `check_due_hosts` in a thread of `lib.background`. Each due host is claimed by compare-and-swap, so that
several workers check it once, and is checked in a thread of its own: a slow host delays no other one by more than SECONDS.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from django.db import close_old_connections, connection
from django.utils.translation import gettext as _

from serving_ui.backends import model_lists
from serving_ui.backends.model_lists import ListFailed
from serving_ui.backends.transport import Call
from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.catalogue.model_list import MAX_MODELS, ListedModel, ModelList
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import outbound
from serving_ui.lib import clock as system_clock
from serving_ui.model_hosts import endpoints_of_models, host_secrets
from serving_ui.model_hosts.models import Health, ModelHost

log = logging.getLogger(__name__)
EVERY = timedelta(minutes=1)
AGAIN = (timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=30))
"""Pauses after the first checks that fail; then EVERY."""
SECONDS = 10.0
"""Time limit of one check."""
THREADS = 16


def check_due_hosts(*, clock: Callable[[], datetime] = system_clock.now) -> None:
    """Checks every host that is due, and returns when all of them are checked."""
    due = list(ModelHost.objects.filter(next_check_at__lte=clock()).values_list("pk", "next_check_at"))
    claimed = [host for host, at in due if _claim(host, at, clock())]
    if not claimed:
        return
    with ThreadPoolExecutor(min(THREADS, len(claimed)), thread_name_prefix="model-host") as threads:
        list(threads.map(partial(_check_in_thread, clock=clock), claimed))


def check_host(host_id: str, *, clock: Callable[[], datetime] = system_clock.now) -> None:
    """Asks one host for its models, and updates their endpoints."""
    host = ModelHost.objects.select_related("authoriser").filter(pk=host_id).first()
    if host is None:
        return
    try:
        external = host_secrets.resolved(host)
        close_old_connections()  # so that no connection is held while the host answers
        with Call(policy=outbound.policy(), seconds=SECONDS) as call:
            found = _read_models(host, external, call)
        if not _is_current(host):
            return
        endpoints_of_models.update_models(host, found.models, now=clock())
    except host_secrets.Unusable as problem:  # its endpoints follow the rights themselves
        _store(host, clock(), health=Health.UNCHECKED, error=str(problem), failures=0)
    except ListFailed as problem:
        _record_failure(host, str(problem), clock())
    else:
        endpoints_of_models.update_health(host, now=clock())
        _store(host, clock(), health=Health.ONLINE, error="", note=_note(found), failures=0)


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


def _claim(host_id: str, at: datetime, now: datetime) -> bool:
    """Whether this worker checks the host. Another one does not for EVERY, also if this worker dies."""
    return bool(ModelHost.objects.filter(pk=host_id, next_check_at=at).update(next_check_at=now + EVERY))


def _check_in_thread(host_id: str, *, clock: Callable[[], datetime]) -> None:
    try:
        check_host(host_id, clock=clock)
    except Exception:  # an error of one host must not stop the others
        log.exception("Model host %s could not be checked", host_id)
    finally:
        connection.close()


def _is_current(host: ModelHost) -> bool:
    """Whether the host was neither changed nor deleted while it answered."""
    return ModelHost.objects.filter(pk=host.pk, revision=host.revision).exists()


def _record_failure(host: ModelHost, error: str, now: datetime) -> None:
    """The second failure in a row makes its endpoints not ready; a single one may be chance, and is followed by a check 5 s later."""
    failures = host.failures + 1
    if failures > 1 and _is_current(host):
        endpoints_of_models.update_health(host, error=error, now=now)
    pause = AGAIN[failures - 1] if failures <= len(AGAIN) else EVERY
    _store(host, now, pause, health=Health.UNREACHABLE, error=error, failures=failures)


def _store(host: ModelHost, now: datetime, pause: timedelta = EVERY, **columns: object) -> None:
    """A host that became due during the check stays due."""
    found = ModelHost.objects.filter(pk=host.pk, revision=host.revision)
    found.update(checked_at=now, **columns)
    found.filter(next_check_at=host.next_check_at).update(next_check_at=now + pause)


def _note(found: ModelList) -> str:
    parts = []
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
