"""What answers of the neighbours look like: secrets, permissions, tokens, people."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from serving_ui.api.description.shapes import Level, Milliseconds, Shape, sometimes

AclLevel = Literal["READ", "WRITE", "MANAGE"]


class ShownScope(Shape):
    name: str
    backend_type: Literal["DATABRICKS"] = sometimes()


class ScopeList(Shape):
    scopes: list[ShownScope] = sometimes("Those that you may read.")


class SecretMetadata(Shape):
    key: str
    last_updated_timestamp: Milliseconds


class SecretList(Shape):
    secrets: list[SecretMetadata] = sometimes("Keys only; values are never listed.")


class SecretValue(Shape):
    key: str
    value: str = Field(description="Base64.")


class AclItem(Shape):
    principal: str
    permission: AclLevel


class AclList(Shape):
    items: list[AclItem] = sometimes()


class GivenLevel(Shape):
    permission_level: Level
    inherited: bool


class AccessControl(Shape):
    user_name: str = sometimes("One of the three names.")
    group_name: str = sometimes()
    service_principal_name: str = sometimes()
    display_name: str = sometimes()
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


class TokenInfo(Shape):
    token_id: str
    comment: str
    creation_time: Milliseconds
    expiry_time: int = Field(description="Milliseconds since 1970; -1 when it does not end.")


class NewToken(Shape):
    token_value: str = Field(description="Shown only this once.")
    token_info: TokenInfo


class TokenList(Shape):
    token_infos: list[TokenInfo] = sometimes()


class ManagedToken(TokenInfo):
    created_by_username: str = sometimes()
    owner_id: Any = sometimes()


class ManagedTokenList(Shape):
    token_infos: list[ManagedToken] = sometimes()


class OneManagedToken(Shape):
    token_info: ManagedToken


class ComplexValue(Shape):
    value: str
    display: str = sometimes()


class ScimUser(Shape):
    id: str
    userName: str
    displayName: str = sometimes()
    active: bool = sometimes()
    name: dict[str, Any] = sometimes()
    emails: list[ComplexValue] = sometimes()
    groups: list[ComplexValue] = sometimes()
    entitlements: list[ComplexValue] = sometimes()


class ScimGroup(Shape):
    id: str
    displayName: str
    members: list[ComplexValue] = sometimes()


class _Page(Shape):
    totalResults: int
    startIndex: int = sometimes()
    itemsPerPage: int = sometimes()


class ScimUserList(_Page):
    Resources: list[ScimUser] = sometimes()


class ScimGroupList(_Page):
    Resources: list[ScimGroup] = sometimes()
