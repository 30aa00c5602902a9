"""The Celery tasks: short, idempotent, with ids as arguments and no results. Each calls one function of the domain.

No task waits for a provider or another server: the worker has four threads, of which sweep and ingest use one each.
"""

from __future__ import annotations

from celery import shared_task
from celery.signals import worker_shutting_down
from django.conf import settings

from serving_ui.endpoints import celery_messages, cluster, leases, reconcile_queue, worker_health
from serving_ui.endpoints.revocation import SecretRightsCheck
from serving_ui.lib import clock
from serving_ui.lib.background import Background
from serving_ui.model_hosts import discovery, local_models
from serving_ui.model_hosts import schedule as host_checks
from serving_ui.usage import ingest, retention, schedule

secret_rights_check = SecretRightsCheck()


@worker_shutting_down.connect
def on_worker_shutdown(**_signal: object) -> None:
    """Aborts the credential checks that are running; the next sweep of another worker starts them again."""
    reconcile_queue.stop()
    discovery.stop()


@shared_task(name=celery_messages.RECONCILE, ignore_result=True)
def reconcile_endpoint(*, endpoint_id: str, **_newer: object) -> None:
    """Starts one step of an endpoint's update, in a thread of `reconcile_queue`. `_newer`: arguments that a newer sender adds."""
    reconcile_queue.enqueue(endpoint_id=endpoint_id)


@shared_task(name=celery_messages.SWEEP, ignore_result=True)
def sweep(**_newer: object) -> None:
    """Finds the endpoints that are due, so that a lost message only costs delay."""
    for endpoint_id in leases.due():
        celery_messages.send_reconcile(endpoint_id)
    secret_rights_check.run(now=clock.now())
    worker_health.record_heartbeat(worker_health.SWEEP)


@shared_task(name=celery_messages.CHECK_CLUSTER, ignore_result=True)
def check_cluster(**_newer: object) -> None:
    """Makes the Ray cluster run the wanted applications, and follows their health."""
    if cluster.is_configured():
        _cluster.request()


_cluster = Background("cluster", lambda: cluster.check_cluster(now=clock.now()))


@shared_task(name=schedule.INGEST, ignore_result=True)
def ingest_usage(**_newer: object) -> None:
    """Stores the usage that gateways have recorded in the database."""
    if not ingest.ingest(folder=settings.SPOOL_FOLDER, clock=clock.now).failed:
        worker_health.record_heartbeat(worker_health.INGEST)


@shared_task(name=schedule.EXPORT, ignore_result=True)
def export_traces(**_newer: object) -> None:
    """Sends the spans of new requests to the trace collector, if one is configured."""
    if settings.OTLP_ENDPOINT:
        _traces.request()


def _export() -> None:
    from serving_ui.usage import tracing  # noqa: PLC0415 -- memory that a worker without a collector saves

    tracing.export(endpoint=settings.OTLP_ENDPOINT, now=clock.now())


_traces = Background("traces", _export)


@shared_task(name=host_checks.CHECK, ignore_result=True)
def check_model_hosts(**_newer: object) -> None:
    """Makes hosts of the models that run on this machine, then starts the checks of the hosts that are due, in threads of their own."""
    try:
        local_models.follow(now=clock.now())
    finally:
        discovery.check_due_hosts(now=clock.now())


@shared_task(name=schedule.DELETE_EXPIRED, ignore_result=True)
def delete_expired_usage(**_newer: object) -> None:
    """Deletes usage that is older than the settings allow."""
    retention.delete_expired(now=clock.now())
