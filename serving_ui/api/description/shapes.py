"""What answers look like, as models of pydantic: for the document only, the serializers do not go through them.

A field without a default is always there. One that is `sometimes()` there is left out otherwise; nothing is answered as null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving_ui.catalogue.endpoint_settings import AiGateway, EmailNotifications, Timeouts
from serving_ui.catalogue.spec import RateLimit, Tag

Milliseconds = Annotated[int, Field(description="Milliseconds since 1970.", examples=[1699617587000])]
Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$", examples=["69962db6b9db47c4a8a222d2ac79d7f8"])]
Level = Literal["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]


def _left_out(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def sometimes(text: str = "", *, alias: str | None = None) -> Any:
    """A field that is left out when there is nothing to say."""
    return Field(default=None, description=text or None, json_schema_extra=_left_out, alias=alias)


class Shape(BaseModel):
    """A part of an answer. More fields may come with later versions."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": True})


class Nothing(Shape):
    """An empty object."""


class Error(Shape):
    """Every refusal, whatever its status."""

    error_code: str = Field(examples=["INVALID_PARAMETER_VALUE"])
    message: str = Field(description="What is wrong and what would be right, in a sentence.")
    details: list[Any] = sometimes("One item for each wrong field: its path, and a sentence.")


class EndpointState(Shape):
    ready: Literal["READY", "NOT_READY"]
    config_update: Literal["NOT_UPDATING", "IN_PROGRESS", "UPDATE_FAILED", "UPDATE_CANCELED"]


class EntityState(Shape):
    deployment: Literal[
        "DEPLOYMENT_CREATING",
        "DEPLOYMENT_RECOVERING",
        "DEPLOYMENT_READY",
        "DEPLOYMENT_FAILED",
        "DEPLOYMENT_ABORTED",
    ]
    deployment_state_message: str


class ShownExternalModel(Shape):
    """Its schema comes from the providers' files: see `providers.shown_model`."""


class ShownEntity(Shape):
    name: str
    external_model: ShownExternalModel
    state: EntityState = sometimes()
    creator: str = sometimes("Who made the endpoint. Left out when the endpoint is ready-made.")
    creation_timestamp: Milliseconds = sometimes()


class ShownRoute(Shape):
    served_entity_name: str
    served_model_name: str = Field(description="The same, under its older name.")
    traffic_percentage: int


class ShownTraffic(Shape):
    routes: list[ShownRoute]


class ShownConfig(Shape):
    served_entities: list[ShownEntity]
    traffic_config: ShownTraffic = sometimes()
    config_version: int = sometimes()


class PendingConfig(ShownConfig):
    start_time: Milliseconds = sometimes("When the update began.")


class ListedEndpoint(Shape):
    """An endpoint, as the list has it."""

    name: str
    id: Id
    creator: str = sometimes("E-mail. Left out when the endpoint is ready-made.")
    creation_timestamp: Milliseconds
    last_updated_timestamp: Milliseconds
    state: EndpointState
    config: ShownConfig = sometimes(
        "The active config, which answers every query; before there is one, the newest."
    )
    task: str = sometimes()
    endpoint_type: Literal["EXTERNAL_MODEL"]
    description: str
    tags: list[Tag]
    rate_limits: list[RateLimit] = sometimes()
    ai_gateway: AiGateway = sometimes()


class ShownEndpoint(ListedEndpoint):
    """An endpoint."""

    timeouts: Timeouts = sometimes("Those that were set.")
    creator_display_name: str = sometimes()
    creator_kind: Literal["User"] = sometimes()
    pending_config: PendingConfig = sometimes(
        "While an update runs: the config that it leads to, with the fields of config, and start_time."
    )
    email_notifications: EmailNotifications = sometimes()
    permission_level: Level = Field(description="What you may do with it.")
    route_optimized: Literal[False]
    warnings: list[str] = sometimes("What was given and has no effect here.")


class Paged(Shape):
    next_page_token: str = sometimes("Left out on the last page, and where everything comes at once.")


class EndpointList(Paged):
    endpoints: list[ListedEndpoint] = Field(description="Those that you may see.")


class ShownTags(Shape):
    tags: list[Tag] = Field(description="All of them, by key.")


class ShownRateLimits(Shape):
    rate_limits: list[RateLimit]


class ShownNotifications(Shape):
    name: str
    email_notifications: EmailNotifications


class Logs(Shape):
    logs: str


class ShownEvent(Shape):
    timestamp: Milliseconds
    type: str = Field(examples=["ENDPOINT_UPDATE_SUCCEEDED_EVENT"])
    message: str
    actor: str = sometimes("E-mail of whoever did it. Left out when the engine did.")
    served_entity_name: str = sometimes()
    config_version: int = sometimes()


class EventList(Paged):
    events: list[ShownEvent] = Field(description="Newest first.")


class ShownVersion(Shape):
    config_version: int
    outcome: Literal["PENDING", "ACTIVE", "REPLACED", "FAILED", "CANCELED"]
    message: str = Field(
        description="The last thing known: progress, or why it failed, in the provider's words."
    )
    creation_timestamp: Milliseconds
    creator: str = sometimes()
    settled_timestamp: Milliseconds = sometimes("When its outcome was known.")
    config: ShownConfig


class VersionList(Paged):
    config_versions: list[ShownVersion] = Field(description="Newest first.")


class DatabricksConfig(Shape):
    """Empty: nothing but tokens is needed."""


class Document(Shape):
    """An OpenAPI document."""

    openapi: str
    paths: dict[str, Any]


class Completion(Shape):
    """What the provider said, in the shape of the OpenAI API."""


class ModelList(Shape):
    object: Literal["list"]
    data: list[dict[str, Any]] = Field(description="The endpoints that you may query.")


class MLflowModel(Shape):
    name: Any
    provider: str


class MLflowEndpoint(Shape):
    name: str
    endpoint_type: str = Field(description="The task.")
    model: MLflowModel
    endpoint_url: str
    limit: Any = Field(description="The first rate limit, or null.")


class MLflowEndpointList(Shape):
    endpoints: list[MLflowEndpoint]
