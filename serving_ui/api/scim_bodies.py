"""Bodies of SCIM. The field names are those of the standard."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictBool

from serving_ui.accounts.directory import LONGEST_NAME
from serving_ui.catalogue.endpoint_config import Body

MOST_MEMBERS = 10_000
MOST_OPERATIONS = 1000
Schemas = Annotated[list[str], Field(max_length=20)]
Short = Annotated[str, Field(max_length=LONGEST_NAME)]


class Member(Body):
    """A principal by id. What else clients send of it says the same again."""

    value: str
    display: str | None = None
    type: str | None = None
    ref: Annotated[str | None, Field(alias="$ref")] = None
    primary: bool | None = None


class PersonName(Body):
    givenName: str = ""
    familyName: str = ""
    formatted: str = ""


class GivenPrincipal(Body):
    """What people and service principals have in common."""

    schemas: Schemas = Field(default_factory=list)
    id: str | None = None
    displayName: Short | None = None
    active: StrictBool | None = None
    externalId: Short | None = None
    name: PersonName | None = None

    @property
    def full_name(self) -> str | None:
        """The name to show; None when none was given."""
        if self.displayName is not None or self.name is None:
            return self.displayName
        return self.name.formatted or f"{self.name.givenName} {self.name.familyName}".strip()


class GivenUser(GivenPrincipal):
    """`emails` are accepted: the user name is the e-mail."""

    userName: str | None = None
    emails: Annotated[list[Any], Field(max_length=100)] = Field(default_factory=list)


class GivenServicePrincipal(GivenPrincipal):
    applicationId: str | None = None


class GivenGroup(Body):
    schemas: Schemas = Field(default_factory=list)
    id: str | None = None
    displayName: Short | None = None
    externalId: Short | None = None
    members: Annotated[list[Member], Field(max_length=MOST_MEMBERS)] = Field(default_factory=list)

    @property
    def member_ids(self) -> list[str]:
        return [member.value for member in self.members]


class Members(Body):
    """The value of a change of members."""

    members: Annotated[list[Member], Field(max_length=MOST_MEMBERS)]


class Change(Body):
    """One operation. `op` is read whatever its capitals, as some directories write them."""

    op: str
    path: str = ""
    value: Any = None


class Changes(Body):
    schemas: Schemas = Field(default_factory=list)
    Operations: Annotated[list[Change], Field(max_length=MOST_OPERATIONS)]
