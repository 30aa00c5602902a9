"""What an endpoint does and did: metrics, logs, events, config versions."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.translation import gettext as _

from serving_ui.api import paging, serializers
from serving_ui.api.http import ApiRequest, Json
from serving_ui.api.metrics import text as metrics_text
from serving_ui.endpoints import queries
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib.refusal import NotFound
from serving_ui.usage import queries as usage

MOST_LINES = 1000


def metrics(request: ApiRequest, name: str) -> HttpResponse:
    """GET serving-endpoints/{name}/metrics."""
    endpoint = queries.get_endpoint(name=name, actor=request.user)
    content = metrics_text(endpoint, usage.totals(endpoint_id=endpoint.id))
    return HttpResponse(content, content_type="text/plain; version=0.0.4; charset=utf-8")


def logs(request: ApiRequest, name: str, entity: str) -> Json:
    """GET serving-endpoints/{name}/served-models/{entity}/logs: nothing runs here, so they tell what happened to it."""
    endpoint = _with_entity(request, name, entity)
    rows = queries.events(endpoint=endpoint).filter(entity__in=("", entity))[:MOST_LINES]
    return {"logs": serializers.log(reversed(list(rows)))}


def build_logs(request: ApiRequest, name: str, entity: str) -> Json:
    """GET serving-endpoints/{name}/served-models/{entity}/build-logs."""
    _with_entity(request, name, entity)
    return {"logs": _("Nothing is built for an external model: it runs at its provider.") + "\n"}


def events(request: ApiRequest, name: str) -> Json:
    """GET serving-endpoints/{name}/events, an addition of ours: what happened, newest first."""
    endpoint = queries.get_endpoint(name=name, actor=request.user)
    rows, more = paging.page(
        request, queries.events(endpoint=endpoint), order=("-at", "-pk"), key=lambda row: (row.at, row.pk)
    )
    return {"events": [serializers.event(row) for row in rows], **more}


def config_versions(request: ApiRequest, name: str) -> Json:
    """GET serving-endpoints/{name}/config-versions, an addition of ours: every config that was ever submitted."""
    endpoint = queries.get_endpoint(name=name, actor=request.user)
    rows, more = paging.page(
        request, queries.versions(endpoint=endpoint), order=("-number",), key=lambda row: (row.number,)
    )
    return {"config_versions": [serializers.config_version(row) for row in rows], **more}


def _with_entity(request: ApiRequest, name: str, entity: str) -> Endpoint:
    """The endpoint, if one of its configs serves, or served, an entity of this name."""
    endpoint = queries.get_endpoint(name=name, actor=request.user)
    specs = queries.versions(endpoint=endpoint).values_list("spec", flat=True)
    for spec in specs.iterator(chunk_size=100):
        if any(served["name"] == entity for served in spec["served_entities"]):
            return endpoint
    raise NotFound(
        _("%(name)s has no served entity named %(entity)s. Its names are in the config's served_entities.")
        % {"name": name, "entity": entity}
    )
