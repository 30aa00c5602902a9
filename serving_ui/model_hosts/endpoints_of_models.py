"""Keeps the endpoints of a host's models equal to what the host lists, and their state true to the host's health.

Level-triggered: each check compares the rows with the list, so a check that is lost, repeated or late does no harm. Each model is one
short transaction of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from serving_ui.accounts.models import EVERYONE, Group
from serving_ui.catalogue import names
from serving_ui.catalogue.model_list import ListedModel
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.endpoints import celery_messages, commands
from serving_ui.endpoints.errors import ConcurrentChange
from serving_ui.endpoints.lifecycle import IllegalTransition, Ready, Unready
from serving_ui.endpoints.models import Endpoint, Grant, Workspace
from serving_ui.endpoints.permissions import Level
from serving_ui.endpoints.reports import report_endpoint, state_of
from serving_ui.endpoints.transitions import lose_health, regain_health, submit
from serving_ui.model_hosts import host_secrets
from serving_ui.model_hosts.models import FoundationModel, ModelHost

REMOVED_AFTER = timedelta(days=1)
"""How long the endpoint of a model stays that the host no longer has."""
MAX_ENDPOINTS = 1000
"""Of a host, with those of models that it no longer has: a host with new names at each check stops there."""


def update_models(host: ModelHost, listed: Iterable[ListedModel], *, now: datetime) -> int:
    """Makes the endpoints what the host's list says. Returns how many new models were left out. Raises host_secrets.Unusable."""
    models = {model.id: model for model in listed}
    host.models.exclude(model_id__in=list(models)).filter(gone_since=None).update(gone_since=now)
    for old in _rows(host).filter(gone_since__lte=now - REMOVED_AFTER).exclude(model_id__in=list(models)):
        _remove(old)
    rows = {row.model_id: row for row in _rows(host)}
    free, left_out = MAX_ENDPOINTS - len(rows), 0
    for model in models.values():
        row = rows.get(model.id)
        if row is None and free > 0:
            _create(host, model, now)
            free -= 1
        elif row is None:
            left_out += 1
        elif _is_outdated(row, model, host):
            _resubmit(host, row, model, now)
    seen = host.models.filter(model_id__in=[model_id for model_id in rows if model_id in models])
    seen.update(last_seen_at=now, gone_since=None)
    return left_out


def update_health(host: ModelHost, *, error: str = "", unchecked: str = "", now: datetime) -> None:
    """Makes its endpoints ready or not ready. `error` says why the host does not answer, `unchecked` why it cannot be checked; both are
    empty if it answers. One query if nothing changes."""
    rows = _rows(host)
    for row in rows.filter(endpoint__ready=Ready.READY):
        if row.gone_since or error or unchecked:
            _try_lose(row.endpoint, _reason(host, error, unchecked), now)
    lost = rows.filter(endpoint__ready=Ready.NOT_READY, endpoint__unready_because=Unready.HEALTH)
    for row in lost.filter(gone_since=None) if not (error or unchecked) else ():
        _try_regain(row.endpoint, now)


def _rows(host: ModelHost) -> QuerySet[FoundationModel]:
    return host.models.select_related("endpoint__active", "endpoint__pending", "endpoint__latest")


def _reason(host: ModelHost, error: str, unchecked: str) -> str:
    if unchecked:
        return _(
            "The model host %(host)s cannot be checked, so it is not known whether it answers. %(why)s Only admins can edit it."
        ) % {"host": host.name, "why": unchecked}
    if error:
        return _("The model host %(host)s does not answer: %(error)s It is asked again until it does.") % {
            "host": host.name,
            "error": error,
        }
    return _(
        "The model host %(host)s no longer has this model. The endpoint is removed a day after that, unless the model comes back."
    ) % {"host": host.name}


def _is_outdated(row: FoundationModel, model: ListedModel, host: ModelHost) -> bool:
    """Whether the endpoint needs another config: the host or the model changed, or no config of it ever became active."""
    has_none = row.endpoint.active_id is None and row.endpoint.pending_id is None
    stored = (row.host_revision, row.task, row.display_name)
    return has_none or stored != (host.revision, model.task, model.display_name)


def _create(host: ModelHost, model: ListedModel, now: datetime) -> None:
    with transaction.atomic():
        config, bindings = host_secrets.for_endpoint(host, _config(host, model))
        endpoint = Endpoint.objects.create(
            workspace=Workspace.here(),
            name=names.foundation_name(host.name_prefix, model.id, is_taken=_is_taken),
            created_at=now,
            modified_at=now,
        )
        FoundationModel.objects.create(
            host=host,
            endpoint=endpoint,
            model_id=model.id,
            display_name=model.display_name,
            task=model.task,
            host_revision=host.revision,
            first_seen_at=now,
            last_seen_at=now,
        )
        Grant.objects.create(endpoint=endpoint, group=Group.objects.get(name=EVERYONE), level=Level.CAN_QUERY)
        submit(endpoint, config, bindings=bindings, actor=None, now=now)
        report_endpoint("discover_model", endpoint, actor=None, before=None, after=state_of(endpoint))
        celery_messages.reconcile_on_commit(endpoint.pk)


def _resubmit(host: ModelHost, row: FoundationModel, model: ListedModel, now: datetime) -> None:
    """Does nothing while an update runs; the next check tries again."""
    endpoint = row.endpoint
    if endpoint.is_updating:
        return
    try:
        with transaction.atomic():
            before = state_of(endpoint)
            config, bindings = host_secrets.for_endpoint(host, _config(host, model))
            submit(endpoint, config, bindings=bindings, actor=None, now=now)
            host.models.filter(pk=row.pk).update(
                host_revision=host.revision, task=model.task, display_name=model.display_name
            )
            report_endpoint(
                "update_foundation_model", endpoint, actor=None, before=before, after=state_of(endpoint)
            )
            celery_messages.reconcile_on_commit(endpoint.pk)
    except (ConcurrentChange, IllegalTransition):
        return


def _config(host: ModelHost, model: ListedModel) -> ConfigSpec:
    """The config of the model's endpoint, with the host's secrets."""
    external = host.spec["served_entities"][0]["external_model"]
    described = {"name": model.id, "display_name": model.display_name}
    entity = {
        "name": names.default_entity_name(model.id),
        "foundation_model": described,
        "external_model": {**external, "name": model.id, "task": str(model.task)},
    }
    return ConfigSpec.load({"served_entities": [entity]})


def _is_taken(name: str) -> bool:
    return Endpoint.objects.filter(name=name).exists()


def _remove(row: FoundationModel) -> None:
    try:
        with transaction.atomic():
            commands.remove_endpoints([row.endpoint], action="forget_foundation_model", actor=None)
    except ConcurrentChange:
        return  # the next check tries again


def _try_lose(endpoint: Endpoint, message: str, now: datetime) -> None:
    try:
        with transaction.atomic():
            lose_health(endpoint, message=message, now=now)
    except (ConcurrentChange, IllegalTransition):
        return


def _try_regain(endpoint: Endpoint, now: datetime) -> None:
    try:
        with transaction.atomic():
            regain_health(endpoint, now=now)
    except (ConcurrentChange, IllegalTransition):
        return
