"""What answers of the neighbours look like: secrets, permissions, tokens, people."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from serving_ui.api.description.shapes import Level, Milliseconds, Paged, Shape, sometimes

AclLevel = Literal["READ", "WRITE", "MANAGE"]


class ShownScope(Shape):
    name: str
    backend_type: Literal["DATABRICKS"]


class ScopeList(Paged):
    scopes: list[ShownScope] = Field(description="Those that you may read.")


class SecretMetadata(Shape):
    key: str
    last_updated_timestamp: Milliseconds


class SecretList(Paged):
    secrets: list[SecretMetadata] = Field(description="Keys only; values are never listed.")


class SecretValue(Shape):
    key: str
    value: str = Field(description="Base64.")


class AclItem(Shape):
    principal: str
    permission: AclLevel


class AclList(Shape):
    items: list[AclItem] = Field(description="The creator first.")


class Takeover(Shape):
    endpoint: str
    secret: str = Field(description="The reference.", examples=["{{secrets/my_scope/my_openai_api_key}}"])
    authorised_by: str = Field(description="Who gave it and is deactivated.")


class TakeoverList(Paged):
    takeovers: list[Takeover]


class GivenLevel(Shape):
    permission_level: Level
    inherited: bool
    inherited_from_object: list[str] = sometimes()


class AccessControl(Shape):
    user_name: str = sometimes("One of the three names.")
    group_name: str = sometimes()
    service_principal_name: str = sometimes()
    display_name: str
    all_permissions: list[GivenLevel]


class ObjectPermissions(Shape):
    object_id: str = Field(examples=["/serving-endpoints/69962db6b9db47c4a8a222d2ac79d7f8"])
    object_type: Literal["serving-endpoint"]
    access_control_list: list[AccessControl]


class LevelDescription(Shape):
    permission_level: Level
    description: str


class LevelList(Shape):
    permission_levels: list[LevelDescription]


class ShownToken(Shape):
    token_id: str
    comment: str
    creation_time: Milliseconds
    expiry_time: int = Field(description="Milliseconds since 1970; -1 when it does not end.")


class TokenMade(Shape):
    token_value: str = Field(description="Shown only this once.")
    token_info: ShownToken


class TokenList(Paged):
    token_infos: list[ShownToken]


class ManagedToken(ShownToken):
    owner_id: int
    created_by_id: int
    created_by_username: str


class ManagedTokenMade(Shape):
    token_value: str = Field(description="Shown only this once.")
    token_info: ManagedToken


class ManagedTokenList(Paged):
    token_infos: list[ManagedToken]


class OneManagedToken(Shape):
    token_info: ManagedToken


class ScimReference(Shape):
    value: str
    display: str = sometimes()
    type: str = sometimes()
    primary: bool = sometimes()
    ref: str = sometimes(alias="$ref")


class _Resource(Shape):
    """Attributes that were not asked for, or asked to be left out, are."""

    id: str
    schemas: list[str]
    externalId: str = sometimes("The id that a directory gave it.")
    displayName: str = sometimes()
    groups: list[ScimReference] = sometimes()
    entitlements: list[ScimReference] = sometimes()
    roles: list[ScimReference] = sometimes()


class ScimUser(_Resource):
    userName: str = sometimes("E-mail.")
    active: bool = sometimes()
    name: dict[str, Any] = sometimes()
    emails: list[ScimReference] = sometimes()


class ScimServicePrincipal(_Resource):
    applicationId: str = sometimes()
    active: bool = sometimes()


class ScimGroup(_Resource):
    members: list[ScimReference] = sometimes()
    meta: dict[str, Any] = sometimes()


class _Page(Shape):
    schemas: list[str]
    totalResults: int
    startIndex: int = sometimes("Left out when a cursor was given.")
    nextCursor: str = sometimes("With a cursor: that of the next page. Left out on the last one.")
    itemsPerPage: int


class ScimUserList(_Page):
    Resources: list[ScimUser]


class ScimServicePrincipalList(_Page):
    Resources: list[ScimServicePrincipal]


class ScimGroupList(_Page):
    Resources: list[ScimGroup]
