"""Where a worker reconciles: in threads of its own, so that no provider holds up the worker's other tasks.

One person, and one provider's host, is asked for only so many checks at a time. What is over that waits without using up its
attempts or its deadline, and says so on its page. Level-triggered as all of it: what waits here is due again after a while, so
a worker that is killed loses nothing, and whichever worker has room takes it.
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
from serving_ui.lib import clock as here

log = logging.getLogger(__name__)
MOST = 32  # threads; each takes 0.2 MB while a provider is waited for
MOST_OF_A_PERSON = 4
MOST_OF_A_HOST = 8
PUT_OFF = timedelta(seconds=10)  # then it is looked for again, should this worker have died


def offer(*, endpoint_id: str) -> None:
    """Has the endpoint reconciled, now or when it is its turn. Does nothing if nothing is to do, or another worker does it."""
    job = _job(endpoint_id)
    if job is None:
        return
    if (limit := _queue.limit(job)) is not None:
        _put_off(endpoint_id, limit)
        job = replace(job, has_waited=True)
    _queue.put(job)


def stop() -> None:
    """This worker ends: connections to providers are closed, and the rows are free for others at once."""
    _queue.close()
    leases.abandon()


def _job(endpoint_id: str) -> Job | None:
    row = leases.free().filter(pk=endpoint_id).select_related("pending")
    endpoint = row.first()
    if endpoint is None:
        return None
    version = endpoint.pending
    if version is None:
        return Job(endpoint_id, "")
    return Job(endpoint_id, str(version.creator_id or ""), _hosts(version))


def _hosts(version: ConfigVersion) -> frozenset[str]:
    """Whom a check would ask."""
    if version.published_revision is not None:
        return frozenset()
    addresses = outbound.addresses()
    found: set[str] = set()
    try:
        for entity in version.config.served_entities:
            model = entity.external_model
            provider = registry.get(model.provider)
            found.add(origin(provider.base_url(model.config, addresses)))
            found.update(map(origin, provider.other_urls(model.config, addresses)))
    except Exception:  # a poisonous row, which reconciling settles with a reason
        return frozenset()
    return frozenset(found)


def _run(job: Job) -> None:
    close_old_connections()
    try:
        if job.has_waited:
            _unpublished(job.key).update(message="")
        reconcile(endpoint_id=job.key, clock=here.now)
    except Exception:  # the outermost edge of this thread: the row is due again
        log.exception("Endpoint %s could not be reconciled", job.key)
    finally:
        connection.close()


def _put_off(endpoint_id: str, limit: Limit) -> None:
    """It waits: says why, and moves its deadline along, which counts from the first attempt anyway."""
    with transaction.atomic():
        leases.free().filter(pk=endpoint_id).update(next_poll_at=Now() + PUT_OFF)
        _unpublished(endpoint_id).update(deadline=F("deadline") + PUT_OFF, message=_sentence(limit))


def _unpublished(endpoint_id: str) -> QuerySet[ConfigVersion]:
    """The pending version, while it waits for its check."""
    pending = ConfigVersion.Outcome.PENDING
    return ConfigVersion.objects.filter(
        endpoint=endpoint_id, outcome=pending, published_revision__isnull=True
    )


def _sentence(limit: Limit) -> str:
    match limit:
        case Limit.PERSON:
            return _("Waiting its turn: %(count)d other endpoints of the same person are being checked.") % {
                "count": MOST_OF_A_PERSON
            }
        case Limit.HOST:
            return _("Waiting its turn: %(count)d other endpoints are being checked with this provider.") % {
                "count": MOST_OF_A_HOST
            }
    return _("Waiting its turn: %(count)d other endpoints are being checked.") % {"count": MOST}


_queue = FairQueue(_run, most=MOST, most_of_a_person=MOST_OF_A_PERSON, most_of_a_host=MOST_OF_A_HOST)
