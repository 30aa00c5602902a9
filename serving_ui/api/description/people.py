"""The operations on people and groups, which are the same for both; and the documents about the server itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from serving_ui.api.description import given, shapes
from serving_ui.api.description import neighbour_shapes as neighbours
from serving_ui.api.description.neighbours import PAGE, SCIM
from serving_ui.api.description.operation import Operation
from serving_ui.catalogue.text import _

GROUP = "People and groups"
PATCH = {"Operations": [{"op": "replace", "path": "displayName", "value": "Analysts"}]}


def _collection(
    kind: str, one: type[BaseModel], many: type[BaseModel], body: type[BaseModel], example: dict[str, Any]
) -> Iterator[Operation]:
    path, noun = f"{SCIM}/{kind}", kind.lower()
    shared: dict[str, Any] = {"group": GROUP, "admins": True}
    yield Operation(
        method="GET", path=path, group=GROUP, name=f"list_{noun}", summary=_("List %(kind)s").fill(kind=noun),
        query=PAGE, answer=many, refusals=(400, 403), sdk=f"{noun}.list",
    )  # fmt: skip
    yield Operation(
        method="GET", path=path + "/{id}", group=GROUP, name=f"get_{noun}", summary=_("Get one of the %(kind)s").fill(kind=noun),
        answer=one, refusals=(403, 404), sdk=f"{noun}.get",
    )  # fmt: skip
    yield Operation(
        method="POST", path=path, name=f"create_{noun}", summary=_("Create one of the %(kind)s").fill(kind=noun),
        body=body, answer=one, refusals=(400, 403, 409), example=example, **shared,
    )  # fmt: skip
    yield Operation(
        method="PATCH", path=path + "/{id}", name=f"change_{noun}", summary=_("Change one of the %(kind)s").fill(kind=noun),
        body=given.ScimPatch, answer=one, refusals=(400, 403, 404, 409), example=PATCH, **shared,
    )  # fmt: skip
    yield Operation(
        method="DELETE", path=path + "/{id}", name=f"delete_{noun}", summary=_("Delete one of the %(kind)s").fill(kind=noun),
        refusals=(400, 403, 404, 409), sdk=f"{noun}.delete", **shared,
    )  # fmt: skip


PEOPLE = (
    Operation(
        method="GET", path=SCIM + "/Me", group=GROUP, name="get_me", summary=_("Get yourself"),
        answer=neighbours.ScimUser, sdk="current_user.me",
    ),
    *_collection("Users", neighbours.ScimUser, neighbours.ScimUserList, given.GivenUser, {"userName": "new@example.com"}),
    *_collection("Groups", neighbours.ScimGroup, neighbours.ScimGroupList, given.GivenGroup, {"displayName": "Analysts"}),
)  # fmt: skip
SERVER = (
    Operation(
        method="GET", path="/api/2.0/openapi.json", group="This document", name="get_openapi", summary=_("Get the OpenAPI document of the whole API"),
        answer=shapes.Document, ours=True,
    ),
    Operation(
        method="GET", path="/.well-known/databricks-config", group="This document", name="get_databricks_config",
        summary=_("Get what clients ask before they sign in"), text=_("Empty, which means: access tokens only."),
        answer=shapes.DatabricksConfig, public=True,
    ),
)  # fmt: skip
OPERATIONS: tuple[Operation, ...] = (*PEOPLE, *SERVER)
