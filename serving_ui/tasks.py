"""The Celery face: short, idempotent tasks with ids only. Each calls one domain function; none returns anything."""

from __future__ import annotations

from importlib import import_module

from celery import shared_task
from django.conf import settings

from serving_ui.endpoints import leases, nudge
from serving_ui.endpoints.reconcile import reconcile
from serving_ui.lib import clock
from serving_ui.usage import ingest, retention, schedule


@shared_task(name=nudge.RECONCILE, ignore_result=True)
def reconcile_endpoint(*, endpoint_id: str, **_newer: object) -> None:
    """Takes one endpoint's running update a step further."""
    reconcile(endpoint_id=endpoint_id, clock=clock.now)


@shared_task(name=nudge.SWEEP, ignore_result=True)
def sweep(**_newer: object) -> None:
    """Finds what is due, so that a lost nudge costs a moment and nothing else."""
    for endpoint_id in leases.due(now=clock.now()):
        nudge.send(endpoint_id)


@shared_task(name=schedule.INGEST, ignore_result=True)
def ingest_usage(**_newer: object) -> None:
    """Takes what gateways have recorded into the database."""
    ingest.ingest(folder=settings.SPOOL_FOLDER, clock=clock.now)


@shared_task(name=schedule.EXPORT, ignore_result=True)
def export_traces(**_newer: object) -> None:
    """Sends what was taken in since the last time to the collector of traces, if there is one."""
    if settings.OTLP_ENDPOINT:
        tracing = import_module("serving_ui.usage.tracing")  # costs memory that most workers do without
        tracing.export(endpoint=settings.OTLP_ENDPOINT, now=clock.now())


@shared_task(name=schedule.FORGET, ignore_result=True)
def forget_usage(**_newer: object) -> None:
    """Deletes the usage that is older than it is kept."""
    retention.forget(now=clock.now())
