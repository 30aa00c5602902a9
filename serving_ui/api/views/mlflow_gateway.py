"""Operations that MLflow's client calls when its target is this server's address: `get_deploy_client("http://HOST:PORT")`.

The client reads endpoints here and sends queries to /endpoints/{name}/invocations, which the gateway answers. It sends the token of
MLFLOW_TRACKING_TOKEN, and has no method to create or change endpoints.
"""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpResponseBase
from pydantic import Field
from typing_extensions import TypedDict

from serving_ui.api import serializers, streaming
from serving_ui.api.request import ApiRequest, Json
from serving_ui.api.routing import Router
from serving_ui.api.views.inference import INFERENCE_REFUSALS, Completion, InferenceBody
from serving_ui.catalogue.code_samples import SAMPLE_BODIES
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import queries

router = Router("MLflow by address")
COLUMNS = ("name", "rate_limits", "active__spec", "latest__spec")


class MLflowModel(TypedDict):
    name: Any
    provider: str


class MLflowEndpoint(TypedDict):
    name: str
    endpoint_type: Annotated[str, Field(description="The task.")]
    model: MLflowModel
    endpoint_url: str
    limit: Annotated[Any, Field(description="The first rate limit, or null.")]


class MLflowEndpointList(TypedDict):
    endpoints: list[MLflowEndpoint]


@router.get(
    "endpoints",
    summary=_("List endpoints, as MLflow's own gateway does"),
    description=_(
        'For get_deploy_client("http://HOST:PORT"), which sends the token of MLFLOW_TRACKING_TOKEN and can read and query.'
    ),
    answer=MLflowEndpointList,
)
def list_mlflow_endpoints(request: ApiRequest) -> HttpResponseBase:
    rows = queries.visible(actor=request.user).filter(latest__isnull=False).order_by("name")
    values = rows.values_list(*COLUMNS).iterator(chunk_size=500)
    return streaming.json_list(request, "endpoints", (_described(*row) for row in values))


@router.get("endpoints/{name}", summary=_("Get an endpoint, as MLflow's own gateway does"), refusals=(404,))
def get_mlflow_endpoint(request: ApiRequest, name: str) -> MLflowEndpoint:
    endpoint = queries.get_endpoint(name=name, actor=request.user)
    version = endpoint.shown_version
    return _described(endpoint.name, endpoint.rate_limits, version.spec if version else None, None)


def _described(name: str, limits: list[Json], active: Json | None, latest: Json | None) -> MLflowEndpoint:
    """MLflow's gateway knows one model and one limit of an endpoint."""
    spec: dict[str, Any] = active or latest or {}
    model = _model(spec["served_entities"][0]) if spec else {"name": None, "provider": ""}
    return {
        "name": name,
        "endpoint_type": serializers.task_of(spec) if spec else "",
        "model": model,
        "endpoint_url": f"/endpoints/{name}/invocations",
        "limit": limits[0] if limits else None,
    }


def _model(entity: dict[str, Any]) -> MLflowModel:
    if "entity_name" in entity:
        return {"name": entity["entity_name"], "provider": "serving-ui"}
    if "foundation_model" in entity:
        return {"name": entity["foundation_model"]["name"], "provider": "serving-ui"}
    return {"name": entity["external_model"]["name"], "provider": entity["external_model"]["provider"]}


router.describe(
    "POST",
    "/endpoints/{name}/invocations",
    "query_mlflow_endpoint",
    summary=_("Query an endpoint, as MLflow's own gateway does"),
    body=InferenceBody,
    answer=Completion,
    refusals=INFERENCE_REFUSALS,
    example=SAMPLE_BODIES[Task.CHAT],
)
