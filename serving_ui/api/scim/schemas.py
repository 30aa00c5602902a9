"""Request bodies of SCIM. The field names are those of RFC 7643 and 7644."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictBool

from serving_ui.accounts.directory import MAX_NAME_LENGTH
from serving_ui.catalogue.api_model import ApiModel

MAX_MEMBERS = 10_000
MAX_OPERATIONS = 1000
Schemas = Annotated[list[str], Field(max_length=20)]
ShortText = Annotated[str, Field(max_length=MAX_NAME_LENGTH)]


class Member(ApiModel):
    """A member of a group. Only `value`, the principal's id, is used; the other fields repeat what the id says."""

    value: str
    display: str | None = None
    type: str | None = None
    ref: Annotated[str | None, Field(alias="$ref")] = None
    primary: bool | None = None


class PersonName(ApiModel):
    givenName: str = ""
    familyName: str = ""
    formatted: str = ""


class PrincipalRequest(ApiModel):
    """Fields that users and service principals share."""

    schemas: Schemas = Field(default_factory=list)
    id: str | None = None
    displayName: ShortText | None = None
    active: StrictBool | None = None
    externalId: ShortText | None = None
    name: PersonName | None = None

    @property
    def full_name(self) -> str | None:
        """`displayName`, else the text of `name`; None when the request has neither."""
        if self.displayName is not None or self.name is None:
            return self.displayName
        return self.name.formatted or f"{self.name.givenName} {self.name.familyName}".strip()


class UserRequest(PrincipalRequest):
    """`emails` is accepted and not used, because `userName` is the e-mail address."""

    userName: str | None = None
    emails: Annotated[list[Any], Field(max_length=100)] = Field(default_factory=list)


class ServicePrincipalRequest(PrincipalRequest):
    applicationId: str | None = None


class GroupRequest(ApiModel):
    schemas: Schemas = Field(default_factory=list)
    id: str | None = None
    displayName: ShortText | None = None
    externalId: ShortText | None = None
    members: Annotated[list[Member], Field(max_length=MAX_MEMBERS)] = Field(default_factory=list)

    @property
    def member_ids(self) -> list[str]:
        return [member.value for member in self.members]


class MembersValue(ApiModel):
    """The value of a PATCH operation on `members`."""

    members: Annotated[list[Member], Field(max_length=MAX_MEMBERS)]


class PatchOperation(ApiModel):
    """`op` in any case: Entra ID writes `Replace`."""

    op: str
    path: str = ""
    value: Any = None


class PatchRequest(ApiModel):
    schemas: Schemas = Field(default_factory=list)
    Operations: Annotated[list[PatchOperation], Field(max_length=MAX_OPERATIONS)]
