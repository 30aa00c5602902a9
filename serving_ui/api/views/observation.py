"""Metrics, logs, events and config versions of an endpoint."""

from __future__ import annotations

from typing import Annotated

from django.http import HttpResponse
from django.utils.translation import gettext
from pydantic import Field
from typing_extensions import TypedDict

from serving_ui.api import paging, serializers
from serving_ui.api.answers import NextPage
from serving_ui.api.metrics import exposition
from serving_ui.api.operation import ALWAYS_PAGED
from serving_ui.api.request import ApiRequest
from serving_ui.api.routing import Router
from serving_ui.api.serializers import Event, Version
from serving_ui.api.views.endpoints import ONE
from serving_ui.catalogue.served_entity import Kind
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import cluster_logs, queries
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib.refusal import NotFound
from serving_ui.usage import queries as usage

router = Router("Serving endpoints")
SERVED = f"{ONE}/served-models/{{served_model_name}}"
MAX_LOG_LINES = 1000


class Logs(TypedDict):
    logs: str


class EventList(NextPage):
    events: Annotated[list[Event], Field(description="Newest first.")]


class VersionList(NextPage):
    config_versions: Annotated[list[Version], Field(description="Newest first.")]


@router.get(
    f"{ONE}/metrics",
    summary=_("Get metrics"),
    description=_("What it has answered in all, and its state, in the text format of Prometheus."),
    media="text/plain",
    refusals=(404,),
    sdk="serving_endpoints.export_metrics",
)
def get_metrics(request: ApiRequest, name: str) -> HttpResponse:
    endpoint = queries.get_endpoint(name=name, actor=request.user)
    content = exposition(endpoint, usage.totals(endpoint_id=endpoint.id))
    return HttpResponse(content, content_type="text/plain; version=0.0.4; charset=utf-8")


@router.get(
    f"{SERVED}/logs",
    summary=_("Get the logs of a served entity"),
    description=_(
        "Of a model of your own: the end of the output of the replica that started last. Of an external model: what happened to it, since nothing runs here; the last 1,000 lines."
    ),
    refusals=(404, 503),
    sdk="serving_endpoints.logs",
)
def get_logs(request: ApiRequest, name: str, served_model_name: str) -> Logs:
    endpoint = _with_entity(request, name, served_model_name)
    if endpoint.kind == Kind.OWN_MODEL:
        return {"logs": cluster_logs.service_logs(endpoint, served_model_name)}
    rows = queries.events(endpoint=endpoint).filter(entity__in=("", served_model_name))[:MAX_LOG_LINES]
    return {"logs": serializers.log(reversed(list(rows)))}


@router.get(
    f"{SERVED}/build-logs",
    summary=_("Get the build logs of a served entity"),
    description=_(
        "Of a model of your own: what Ray wrote when it installed its packages and imported it. An external model is not built; the answer says so."
    ),
    refusals=(404, 503),
    sdk="serving_endpoints.build_logs",
)
def get_build_logs(request: ApiRequest, name: str, served_model_name: str) -> Logs:
    endpoint = _with_entity(request, name, served_model_name)
    if endpoint.kind == Kind.OWN_MODEL:
        return {"logs": cluster_logs.build_logs(endpoint, served_model_name)}
    return {"logs": gettext("Nothing is built for an external model: it runs at its provider.") + "\n"}


@router.get(
    f"{ONE}/events",
    summary=_("List what happened to an endpoint"),
    query=ALWAYS_PAGED,
    refusals=(404,),
    is_addition=True,
)
def list_events(request: ApiRequest, name: str) -> EventList:
    endpoint = queries.get_endpoint(name=name, actor=request.user)
    rows, more = paging.page(
        request, queries.events(endpoint=endpoint), order=("-at", "-pk"), key=lambda row: (row.at, row.pk)
    )
    return {"events": [serializers.event(row) for row in rows], **more}


@router.get(
    f"{ONE}/config-versions",
    summary=_("List the config versions"),
    description=_("Every config that was ever submitted, who made it and what became of it."),
    query=ALWAYS_PAGED,
    refusals=(404,),
    is_addition=True,
)
def list_config_versions(request: ApiRequest, name: str) -> VersionList:
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
        gettext(
            "%(name)s has no served entity named %(entity)s. Its names are in the config's served_entities."
        )
        % {"name": name, "entity": entity}
    )
