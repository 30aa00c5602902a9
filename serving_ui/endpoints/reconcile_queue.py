"""Runs `reconcile` in threads of the worker process, so that a slow provider does not block the Celery tasks.

The number of threads is limited in total, for each user and for each host of a provider. An endpoint above a limit waits, which its
page says; waiting uses up neither its attempts nor its deadline. A waiting row becomes due again after POSTPONEMENT, so it is not
lost when the worker crashes, and any worker that has a free thread takes it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from django.db import close_old_connections, connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from serving_ui.catalogue import registry
from serving_ui.catalogue.upstream import origin
from serving_ui.endpoints import leases, outbound
from serving_ui.endpoints.fair_queue import FairQueue, Job, Limit
from serving_ui.endpoints.models import ConfigVersion
from serving_ui.endpoints.reconcile import reconcile
from serving_ui.lib import clock

log = logging.getLogger(__name__)
MAX_RUNNING = 32  # threads; one takes 0.2 MB while it waits for a provider
MAX_PER_USER = 4
MAX_PER_HOST = 8
POSTPONEMENT = timedelta(seconds=10)


def enqueue(*, endpoint_id: str) -> None:
    """Reconciles the endpoint in a thread, now or when a limit allows it. Does nothing if it has no update or another worker holds it."""
    job = _job(endpoint_id)
    if job is None:
        return
    if (limit := _queue.limit(job)) is not None:
        _postpone(endpoint_id, limit)
        job = replace(job, has_waited=True)
    _queue.put(job)


def stop() -> None:
    """For a worker that ends: closes the connections to providers and gives up the leases."""
    _queue.close()
    leases.release_all()


def _job(endpoint_id: str) -> Job | None:
    row = leases.claimable().filter(pk=endpoint_id).select_related("pending")
    endpoint = row.first()
    if endpoint is None:
        return None
    version = endpoint.pending
    if version is None:
        return Job(endpoint_id, "")
    return Job(endpoint_id, str(version.creator_id or ""), _hosts(version))


def _hosts(version: ConfigVersion) -> frozenset[str]:
    """The origins that a credential check would connect to."""
    if version.published_revision is not None:
        return frozenset()
    addresses = outbound.addresses()
    found: set[str] = set()
    try:
        for entity in version.config.served_entities:
            model = entity.external_model
            if model is None or entity.foundation_model:  # not checked at a provider
                continue
            provider = registry.get(model.provider)
            found.add(origin(provider.base_url(model.config, addresses)))
            found.update(map(origin, provider.other_urls(model.config, addresses)))
    except Exception:  # the config cannot be read; `reconcile` fails the update with a reason
        return frozenset()
    return frozenset(found)


def _run(job: Job) -> None:
    close_old_connections()
    try:
        if job.has_waited:
            _unpublished(job.key).update(message="")
        reconcile(endpoint_id=job.key, clock=clock.now)
    except Exception:  # this thread has no caller; the row becomes due again
        log.exception("Endpoint %s could not be reconciled", job.key)
    finally:
        connection.close()


def _postpone(endpoint_id: str, limit: Limit) -> None:
    """Moves due time and deadline, and stores the reason for the endpoint's page."""
    with transaction.atomic():
        leases.claimable().filter(pk=endpoint_id).update(next_poll_at=Now() + POSTPONEMENT)
        _unpublished(endpoint_id).update(deadline=F("deadline") + POSTPONEMENT, message=_sentence(limit))


def _unpublished(endpoint_id: str) -> QuerySet[ConfigVersion]:
    """The pending version, unless its credentials have been checked."""
    pending = ConfigVersion.Outcome.PENDING
    return ConfigVersion.objects.filter(
        endpoint=endpoint_id, outcome=pending, published_revision__isnull=True
    )


def _sentence(limit: Limit) -> str:
    match limit:
        case Limit.USER:
            return _("Queued: %(count)d other endpoints of the same person are being checked.") % {
                "count": MAX_PER_USER
            }
        case Limit.HOST:
            return _("Queued: %(count)d other endpoints are being checked with this provider.") % {
                "count": MAX_PER_HOST
            }
    return _("Queued: %(count)d other endpoints are being checked.") % {"count": MAX_RUNNING}


_queue = FairQueue(_run, max_running=MAX_RUNNING, max_per_user=MAX_PER_USER, max_per_host=MAX_PER_HOST)
