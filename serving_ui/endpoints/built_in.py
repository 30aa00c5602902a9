"""Built-in endpoints, which exist from the first start and answer from the built-in sandbox."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from serving_ui.catalogue.spec import parse_config
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import celery_messages
from serving_ui.endpoints.models import Endpoint, Workspace
from serving_ui.endpoints.reports import report_endpoint, state_of
from serving_ui.endpoints.transitions import submit
from serving_ui.lib import clock

SANDBOX = (("sandbox-chat", Task.CHAT), ("sandbox-embeddings", Task.EMBEDDINGS))


def ensure() -> None:
    """Creates the missing ones. May run at every start and in several processes at once."""
    now = clock.now()
    for name, task in SANDBOX:
        if not Endpoint.objects.filter(name=name).exists():
            _create(name, task, now)


def _create(name: str, task: Task, now: datetime) -> None:
    model: dict[str, object] = {"name": name, "provider": "sandbox", "task": task.value, "sandbox_config": {}}
    config = parse_config({"served_entities": [{"name": name, "external_model": model}]})
    with transaction.atomic():
        endpoint, is_new = Endpoint.objects.get_or_create(
            workspace=Workspace.here(),
            name=name,
            defaults={"created_at": now, "modified_at": now, "is_ready_made": True},
        )
        if is_new:
            submit(endpoint, config, actor=None, now=now)
            report_endpoint("ensure", endpoint, actor=None, before=None, after=state_of(endpoint))
            celery_messages.reconcile_on_commit(endpoint.pk)
