"""Shapes of the answers of SCIM. The field names are those of RFC 7643 and 7644."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

ScimReference = TypedDict(
    "ScimReference",
    {
        "value": str,
        "display": NotRequired[str],
        "type": NotRequired[str],
        "primary": NotRequired[bool],
        "$ref": NotRequired[str],
    },
)


class _Resource(TypedDict):
    """The parameters `attributes` and `excludedAttributes` may leave out every attribute but `id` and `schemas`."""

    id: str
    schemas: list[str]
    externalId: NotRequired[Annotated[str, Field(description="The id in the directory that manages it.")]]
    displayName: NotRequired[str]
    groups: NotRequired[list[ScimReference]]
    entitlements: NotRequired[list[ScimReference]]
    roles: NotRequired[list[ScimReference]]


class ScimUser(_Resource):
    userName: NotRequired[Annotated[str, Field(description="E-mail.")]]
    active: NotRequired[bool]
    name: NotRequired[dict[str, Any]]
    emails: NotRequired[list[ScimReference]]


class ScimServicePrincipal(_Resource):
    applicationId: NotRequired[str]
    active: NotRequired[bool]


class ScimGroup(_Resource):
    members: NotRequired[list[ScimReference]]
    meta: NotRequired[dict[str, Any]]


class _ListResponse(TypedDict):
    schemas: list[str]
    totalResults: int
    startIndex: NotRequired[Annotated[int, Field(description="Left out if the request has a cursor.")]]
    nextCursor: NotRequired[
        Annotated[
            str,
            Field(
                description="If the request has a cursor: the cursor of the next page. Left out on the last page."
            ),
        ]
    ]
    itemsPerPage: int


class ScimUserList(_ListResponse):
    Resources: list[ScimUser]


class ScimServicePrincipalList(_ListResponse):
    Resources: list[ScimServicePrincipal]


class ScimGroupList(_ListResponse):
    Resources: list[ScimGroup]
