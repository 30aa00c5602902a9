"""What MLflow asks when its target is this server's address: `mlflow.deployments.get_deploy_client("http://HOST:PORT")`.

That client reads endpoints here and sends queries to /endpoints/{name}/invocations, which the gateway answers itself. It sends the
token of MLFLOW_TRACKING_TOKEN, and its own MLflow offers it nothing to create or change.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase

from serving_ui.api import serializers, streaming
from serving_ui.api.http import ApiRequest, Json, route
from serving_ui.endpoints import queries

COLUMNS = ("name", "rate_limits", "active__spec", "latest__spec")


def listing(request: ApiRequest) -> HttpResponseBase:
    """GET endpoints: all that the person may see, by name."""
    rows = queries.visible(actor=request.user).filter(latest__isnull=False).order_by("name")
    values = rows.values_list(*COLUMNS).iterator(chunk_size=500)
    return streaming.json_list(request, "endpoints", (_shown(*row) for row in values))


def get(request: ApiRequest, name: str) -> Json:
    """GET endpoints/{name}."""
    endpoint = queries.get_endpoint(name=name, actor=request.user)
    version = endpoint.shown_version
    return _shown(endpoint.name, endpoint.rate_limits, version.spec if version else None, None)


def _shown(name: str, limits: list[Json], active: Json | None, latest: Json | None) -> Json:
    """An endpoint as MLflow's own gateway describes one; it knows one model and one limit."""
    spec: dict[str, Any] = active or latest or {}
    external = spec["served_entities"][0]["external_model"] if spec else {}
    return {
        "name": name,
        "endpoint_type": serializers.task_of(spec) if spec else "",
        "model": {"name": external.get("name"), "provider": external.get("provider", "")},
        "endpoint_url": f"/endpoints/{name}/invocations",
        "limit": limits[0] if limits else None,
    }


urlpatterns = [*route("endpoints", GET=listing), *route("endpoints/<str:name>", GET=get)]
