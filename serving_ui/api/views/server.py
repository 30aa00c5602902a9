"""Documents about this server: the OpenAPI document of the whole API and of one endpoint, and what clients ask before sign-in."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from serving_ui.api.openapi.document import document
from serving_ui.api.openapi.endpoint_document import endpoint_document
from serving_ui.api.request import ApiRequest
from serving_ui.api.routing import Router
from serving_ui.api.views.endpoints import ONE
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import queries
from serving_ui.lib.address import public_url

router = Router("This server")
endpoint_router = Router("Serving endpoints")


class Document(TypedDict):
    """An OpenAPI document."""

    openapi: str
    paths: dict[str, Any]


class DatabricksConfig(TypedDict):
    """Empty: nothing but tokens is needed."""


@router.get(
    "openapi.json",
    summary=_("Get the OpenAPI document of the whole API"),
    answer=Document,
    is_addition=True,
    session=True,
)
def get_openapi(request: ApiRequest) -> dict[str, Any]:
    return document(base=public_url(request))


@endpoint_router.get(
    f"{ONE}/openapi",
    summary=_("Get the OpenAPI document of an endpoint"),
    description=_("How it is queried: its address and the fields of its task."),
    answer=Document,
    refusals=(404,),
    sdk="serving_endpoints.get_open_api",
    session=True,
)
def get_endpoint_openapi(request: ApiRequest, name: str) -> dict[str, Any]:
    endpoint = queries.get_endpoint(name=name, actor=request.user)
    return endpoint_document(endpoint, base=public_url(request))


# Answered by `asgi`, without sign-in and without the database.
router.describe(
    "GET",
    "/.well-known/databricks-config",
    "get_databricks_config",
    summary=_("Get what clients ask before they sign in"),
    description=_("Empty, which means: access tokens only."),
    answer=DatabricksConfig,
    is_public=True,
)
