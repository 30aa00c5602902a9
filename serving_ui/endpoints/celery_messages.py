"""Sends Celery tasks by name when the transaction commits, because the domain must not import the tasks.

A message only makes immediate what the sweep does a second later from the row's due time, so it may be lost. It has no expiry, because
the clocks of two machines would be compared; the task of a late message finds nothing to do.
"""

from __future__ import annotations

import logging

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

RECONCILE = "serving_ui.reconcile_endpoint"
SWEEP = "serving_ui.sweep"
CHECK_CLUSTER, CHECK_CLUSTER_SECONDS = "serving_ui.check_cluster", 5.0
log = logging.getLogger(__name__)


def reconcile_on_commit(endpoint_id: str) -> None:
    """Sends the task that reconciles the endpoint, when the transaction commits."""
    transaction.on_commit(lambda: send_reconcile(endpoint_id), robust=True)


def sweep_on_commit() -> None:
    """Sends the sweep, which also applies changed rights on secrets, when the transaction commits."""
    transaction.on_commit(lambda: _send(SWEEP), robust=True)


def check_cluster_on_commit() -> None:
    """Sends the task that makes the cluster run the wanted applications, when the transaction commits."""
    transaction.on_commit(lambda: _send(CHECK_CLUSTER), robust=True)


def send_reconcile(endpoint_id: str) -> None:
    """Sends the task that reconciles the endpoint now. If the broker is unreachable, logs a warning."""
    _send(RECONCILE, endpoint_id=endpoint_id)


def _send(task: str, **arguments: str) -> None:
    try:
        current_app.send_task(task, kwargs=arguments, retry=False)
    except (OperationalError, OSError) as error:
        about = "".join(f" for endpoint {each}" for each in arguments.values())
        log.warning("The broker did not accept the message %s%s: %s", task, about, error)
