"""The Celery face: short, idempotent tasks with ids only. Each calls one domain function; none returns anything.

None waits for anybody outside: the pool has four threads, and sweeping and the intake of usage need one at any time.
"""

from __future__ import annotations

import logging
import threading
from importlib import import_module

from celery import shared_task
from celery.signals import worker_shutting_down
from django.conf import settings
from django.db import connection

from serving_ui.endpoints import dispatch, leases, nudge, worker_health
from serving_ui.endpoints.revocation import Lookout
from serving_ui.lib import clock
from serving_ui.usage import ingest, retention, schedule

log = logging.getLogger(__name__)
_exporting = threading.Lock()
rights = Lookout()


@worker_shutting_down.connect
def leave(**_said: object) -> None:
    """The worker was told to go: what it asks of providers is given up, and found again by the next sweep."""
    dispatch.stop()


@shared_task(name=nudge.RECONCILE, ignore_result=True)
def reconcile_endpoint(*, endpoint_id: str, **_newer: object) -> None:
    """Has one endpoint's running update taken a step further, in a thread that is not one of Celery's."""
    dispatch.offer(endpoint_id=endpoint_id)


@shared_task(name=nudge.SWEEP, ignore_result=True)
def sweep(**_newer: object) -> None:
    """Finds what is due, so that a lost nudge costs a moment and nothing else."""
    for endpoint_id in leases.due():
        nudge.send(endpoint_id)
    rights.look(now=clock.now())
    worker_health.record_heartbeat(worker_health.SWEEP)


@shared_task(name=schedule.INGEST, ignore_result=True)
def ingest_usage(**_newer: object) -> None:
    """Takes what gateways have recorded into the database."""
    if not ingest.ingest(folder=settings.SPOOL_FOLDER, clock=clock.now).failed:
        worker_health.record_heartbeat(worker_health.INTAKE)


@shared_task(name=schedule.EXPORT, ignore_result=True)
def export_traces(**_newer: object) -> None:
    """Sends what was taken in since the last time to the collector of traces, if there is one.

    In a thread of its own, one at a time: a collector that is slow must not hold up the worker's other tasks.
    """
    if settings.OTLP_ENDPOINT and _exporting.acquire(blocking=False):
        threading.Thread(target=_export, name="traces", daemon=True).start()


def _export() -> None:
    try:
        tracing = import_module("serving_ui.usage.tracing")  # costs memory that most workers do without
        tracing.export(endpoint=settings.OTLP_ENDPOINT, now=clock.now())
    except Exception:  # the outermost edge of this thread: the next one tries again
        log.exception("Traces could not be sent to %s", settings.OTLP_ENDPOINT)
    finally:
        connection.close()
        _exporting.release()


@shared_task(name=schedule.FORGET, ignore_result=True)
def forget_usage(**_newer: object) -> None:
    """Deletes the usage that is older than it is kept."""
    retention.forget(now=clock.now())
