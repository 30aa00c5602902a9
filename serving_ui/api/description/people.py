"""The operations on people, service principals and groups, which are the same for each; and the documents about the server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from serving_ui.api.description import neighbour_shapes as shown
from serving_ui.api.description import shapes
from serving_ui.api.description.neighbours import PAGE, PARTS, SCIM
from serving_ui.api.description.operation import Operation
from serving_ui.api.scim import schemas
from serving_ui.catalogue.translatable import TranslatableText, _

GROUP = "People and groups"
SCHEMA = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass(frozen=True)
class Kind:
    """What SCIM has a collection of, and how the words of its operations are."""

    path: str
    name: str
    one: type[BaseModel]
    many: type[BaseModel]
    body: type[BaseModel]
    example: dict[str, Any]
    summaries: tuple[
        TranslatableText,
        TranslatableText,
        TranslatableText,
        TranslatableText,
        TranslatableText,
        TranslatableText,
    ]
    sdk: str


def _operations(kind: Kind) -> Iterator[Operation]:
    many, one = f"{SCIM}/{kind.path}", f"{SCIM}/{kind.path}/{{id}}"
    listing, getting, creating, replacing, changing, deleting = kind.summaries
    read: dict[str, Any] = {"method": "GET", "group": GROUP}
    write: dict[str, Any] = {"group": GROUP, "admins": True, "refusals": (403, 404, 409)}
    change = {"op": "replace", "path": "displayName", "value": "A new name"}
    yield Operation(path=many, name=f"list_{kind.name}s", summary=listing, query=(*PAGE, *PARTS), answer=kind.many, sdk=f"{kind.sdk}.list", **read)  # fmt: skip
    yield Operation(path=one, name=f"get_{kind.name}", summary=getting, query=PARTS, answer=kind.one, refusals=(404,), sdk=f"{kind.sdk}.get", **read)  # fmt: skip
    yield Operation(
        method="POST", path=many, name=f"create_{kind.name}", summary=creating, body=kind.body, answer=kind.one, example=kind.example, **write,
    )  # fmt: skip
    yield Operation(
        method="PUT", path=one, name=f"replace_{kind.name}", summary=replacing, body=kind.body, answer=kind.one, example=kind.example, **write,
    )  # fmt: skip
    yield Operation(
        method="PATCH", path=one, name=f"change_{kind.name}", summary=changing, body=schemas.PatchRequest, answer=kind.one,
        example={"schemas": [SCHEMA], "Operations": [change]}, **write,
    )  # fmt: skip
    yield Operation(method="DELETE", path=one, name=f"delete_{kind.name}", summary=deleting, sdk=f"{kind.sdk}.delete", **write)  # fmt: skip


PEOPLE = Kind(
    "Users", "user", shown.ScimUser, shown.ScimUserList, schemas.UserRequest,
    {"userName": "new@example.com", "displayName": "New Colleague"},
    (_("List people"), _("Get a person"), _("Create a person"), _("Replace a person"), _("Change a person"), _("Delete a person")),
    "users",
)  # fmt: skip
PROGRAMS = Kind(
    "ServicePrincipals", "service_principal", shown.ScimServicePrincipal, shown.ScimServicePrincipalList, schemas.ServicePrincipalRequest,
    {"applicationId": "1b2c3d4e-5f60-4718-a293-a4b5c6d7e8f9", "displayName": "Nightly job"},
    (
        _("List service principals"), _("Get a service principal"), _("Create a service principal"),
        _("Replace a service principal"), _("Change a service principal"), _("Delete a service principal"),
    ),
    "service_principals",
)  # fmt: skip
GROUPS = Kind(
    "Groups", "group", shown.ScimGroup, shown.ScimGroupList, schemas.GroupRequest,
    {"displayName": "Analysts", "members": []},
    (_("List groups"), _("Get a group"), _("Create a group"), _("Replace a group"), _("Change a group"), _("Delete a group")),
    "groups",
)  # fmt: skip
ME = Operation(
    method="GET", path=SCIM + "/Me", group=GROUP, name="get_me", summary=_("Get yourself"), query=PARTS,
    answer=shown.ScimUser, sdk="current_user.me",
)  # fmt: skip
SERVER = (
    Operation(
        method="GET", path="/api/2.0/openapi.json", group="This server", name="get_openapi", ours=True,
        summary=_("Get the OpenAPI document of the whole API"), answer=shapes.Document,
    ),
    Operation(
        method="GET", path="/.well-known/databricks-config", group="This server", name="get_databricks_config",
        summary=_("Get what clients ask before they sign in"), text=_("Empty, which means: access tokens only."),
        answer=shapes.DatabricksConfig, public=True,
    ),
)  # fmt: skip
OPERATIONS: tuple[Operation, ...] = (
    ME,
    *_operations(PEOPLE),
    *_operations(PROGRAMS),
    *_operations(GROUPS),
    *SERVER,
)
