"""Asks Celery for work by task name once the transaction has committed; the domain does not know the tasks.

A nudge may be lost: the sweep finds the row by its due time, so a lost one costs a second and nothing else. It never expires: that
would be a moment on the sender's clock, which a worker reads on its own. One that comes late finds nothing to do.
"""

from __future__ import annotations

import logging

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

RECONCILE = "serving_ui.reconcile_endpoint"
SWEEP = "serving_ui.sweep"
log = logging.getLogger(__name__)


def reconcile(endpoint_id: str) -> None:
    """Has the endpoint reconciled as soon as this transaction has committed."""
    transaction.on_commit(lambda: send(endpoint_id), robust=True)


def sweep() -> None:
    """Has what is due looked for as soon as this transaction has committed, and whose rights on secrets have changed."""
    transaction.on_commit(lambda: _send(SWEEP), robust=True)


def send(endpoint_id: str) -> None:
    """Sends the task now. A broker that is away is logged and left to the sweep."""
    _send(RECONCILE, endpoint_id=endpoint_id)


def _send(task: str, **given: str) -> None:
    try:
        current_app.send_task(task, kwargs=given, retry=False)
    except (OperationalError, OSError) as error:
        about = "".join(f" for endpoint {each}" for each in given.values())
        log.warning("The broker did not take the nudge%s: %s", about, error)
