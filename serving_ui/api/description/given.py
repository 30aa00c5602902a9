"""Bodies of requests that are too small to be a model of the catalogue, as the document says them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from serving_ui.api.description.neighbour_shapes import AclLevel
from serving_ui.api.description.shapes import Level, sometimes
from serving_ui.catalogue.governance import EmailNotifications
from serving_ui.catalogue.spec import RateLimit, Tag

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.@-]+$")]
Fields = dict[str, Any]


class TagChanges(BaseModel):
    """What is added is there afterwards; what is deleted is not, even if it was added in the same call."""

    add_tags: list[Tag] = sometimes()
    delete_tags: list[str] = sometimes("Keys. One that is not there is no error.")


class NewRateLimits(BaseModel):
    rate_limits: list[RateLimit] = sometimes("All of them; an empty list removes them.")


class Notifications(BaseModel):
    email_notifications: EmailNotifications = sometimes("Left out: nobody is told.")


class Telemetry(BaseModel):
    telemetry_config: Fields = sometimes()


class Provisioned(BaseModel):
    config: Fields = sometimes()


class NamedProvisioned(Provisioned):
    name: str = sometimes()


class Empty(BaseModel):
    """Nothing needs to be said."""


class NewScope(BaseModel):
    scope: Name
    initial_manage_principal: str = sometimes("users: everyone may manage it.")
    scope_backend_type: Literal["DATABRICKS"] = sometimes()


class OfScope(BaseModel):
    scope: Name


class NewSecret(OfScope):
    key: Name
    string_value: str = sometimes("The value; or give bytes_value.")
    bytes_value: str = sometimes("The value in base64.")


class OfKey(OfScope):
    key: Name


class OfPrincipal(OfScope):
    principal: str = Field(description="E-mail of a person, or name of a group.")


class NewAcl(OfPrincipal):
    permission: AclLevel


class GivenAccess(BaseModel):
    """A level for one person or group. Give exactly one of the three names."""

    user_name: str = sometimes("E-mail.")
    group_name: str = sometimes()
    service_principal_name: str = sometimes()
    permission_level: Level


class GivenAccessList(BaseModel):
    access_control_list: list[GivenAccess] = sometimes()


class TokenWish(BaseModel):
    comment: str = sometimes("What it is for.")
    lifetime_seconds: int = sometimes("Left out: it works until it is revoked.")


class OfToken(BaseModel):
    token_id: str


class ChangedToken(BaseModel):
    comment: str = sometimes()


class TokenChange(BaseModel):
    token: ChangedToken
    update_mask: str = Field(examples=["comment"])


class GivenValue(BaseModel):
    value: str


class GivenUser(BaseModel):
    userName: str = Field(description="E-mail.")
    displayName: str = sometimes()
    active: bool = sometimes()
    entitlements: list[GivenValue] = sometimes()


class GivenGroup(BaseModel):
    displayName: str
    members: list[GivenValue] = sometimes("Ids of people.")


class ScimChange(BaseModel):
    op: Literal["add", "remove", "replace"]
    path: str = sometimes()
    value: Any = sometimes()


class ScimPatch(BaseModel):
    Operations: list[ScimChange]
    schemas: list[str] = sometimes()


class ChatMessage(BaseModel):
    role: str = Field(examples=["user"])
    content: Any = sometimes()


class Question(BaseModel):
    """In the shape of the OpenAI API; every field goes to the provider."""

    messages: list[ChatMessage] = sometimes("Task llm/v1/chat.")
    prompt: Any = sometimes("Task llm/v1/completions.")
    input: Any = sometimes("Task llm/v1/embeddings.")
    stream: bool = sometimes("Answer with server-sent events that end with data: [DONE].")


class NamedQuestion(Question):
    model: str = Field(description="Name of the endpoint.")
