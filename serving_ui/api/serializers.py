"""Endpoints, config versions and events as answers: their shapes, and the functions that make them of rows.

Stored JSON is answered as it is, without pydantic models in between: a list may have thousands of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired, cast

from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from pydantic import Field
from typing_extensions import TypedDict

from serving_ui.accounts.models import User
from serving_ui.api.answers import Id, LevelName, Milliseconds
from serving_ui.api.request import Json
from serving_ui.catalogue.endpoint_config import public_config
from serving_ui.catalogue.endpoint_settings import AiGateway, EmailNotifications, Timeouts
from serving_ui.catalogue.own_model import WorkloadSize, WorkloadType
from serving_ui.catalogue.spec import RateLimit, Tag
from serving_ui.endpoints import bindings
from serving_ui.endpoints.events import EventKind
from serving_ui.endpoints.lifecycle import Ready, Unready
from serving_ui.endpoints.models import ConfigVersion, Endpoint, EndpointEvent

Outcome = ConfigVersion.Outcome
DEPLOYMENTS = {
    Outcome.PENDING: "DEPLOYMENT_CREATING",
    Outcome.ACTIVE: "DEPLOYMENT_READY",
    Outcome.REPLACED: "DEPLOYMENT_READY",
    Outcome.FAILED: "DEPLOYMENT_FAILED",
    Outcome.CANCELED: "DEPLOYMENT_ABORTED",
}


class EndpointState(TypedDict):
    ready: Literal["READY", "NOT_READY"]
    config_update: Literal["NOT_UPDATING", "IN_PROGRESS", "UPDATE_FAILED", "UPDATE_CANCELED"]


class EntityState(TypedDict):
    deployment: Literal[
        "DEPLOYMENT_CREATING",
        "DEPLOYMENT_RECOVERING",
        "DEPLOYMENT_READY",
        "DEPLOYMENT_FAILED",
        "DEPLOYMENT_ABORTED",
    ]
    deployment_state_message: str


class ShownExternalModel(TypedDict):
    """Its schema is made of the providers' declarations: `openapi.external_model.shown_model`."""


class ShownFoundationModel(TypedDict):
    name: str
    display_name: str
    description: str
    docs: str


class ShownEntity(TypedDict):
    name: str
    external_model: NotRequired[ShownExternalModel]
    foundation_model: NotRequired[ShownFoundationModel]
    entity_name: NotRequired[Annotated[str, Field(description="The name of one of your models.")]]
    entity_version: NotRequired[str]
    workload_type: NotRequired[WorkloadType]
    workload_size: NotRequired[WorkloadSize]
    scale_to_zero_enabled: NotRequired[bool]
    min_provisioned_throughput: NotRequired[int]
    max_provisioned_throughput: NotRequired[int]
    min_provisioned_concurrency: NotRequired[int]
    max_provisioned_concurrency: NotRequired[int]
    provisioned_model_units: NotRequired[int]
    burst_scaling_enabled: NotRequired[bool]
    environment_vars: NotRequired[
        Annotated[dict[str, str], Field(description="Plain values, and references of secrets.")]
    ]
    state: NotRequired[EntityState]
    creator: NotRequired[
        Annotated[str, Field(description="Who made the endpoint. Left out when the endpoint is built-in.")]
    ]
    creation_timestamp: NotRequired[Milliseconds]


class ShownRoute(TypedDict):
    served_entity_name: str
    served_model_name: Annotated[str, Field(description="The same, under its older name.")]
    traffic_percentage: int


class ShownTraffic(TypedDict):
    routes: list[ShownRoute]


class ShownConfig(TypedDict):
    served_entities: list[ShownEntity]
    traffic_config: NotRequired[ShownTraffic]
    config_version: NotRequired[int]


class PendingConfig(ShownConfig):
    start_time: NotRequired[Annotated[Milliseconds, Field(description="When the update began.")]]


class EndpointSummary(TypedDict):
    """An endpoint in a list."""

    name: str
    id: Id
    creator: NotRequired[Annotated[str, Field(description="E-mail. Left out when the endpoint is built-in.")]]
    creation_timestamp: Milliseconds
    last_updated_timestamp: Milliseconds
    state: EndpointState
    config: NotRequired[
        Annotated[
            ShownConfig,
            Field(
                description="The active config, which answers every query; before there is one, the newest."
            ),
        ]
    ]
    task: NotRequired[str]
    endpoint_type: NotRequired[
        Annotated[
            Literal["EXTERNAL_MODEL", "CUSTOM_MODEL", "FOUNDATION_MODEL_API"],
            Field(description="Fixed by the first config. Left out before there is one."),
        ]
    ]
    description: str
    tags: list[Tag]
    rate_limits: NotRequired[list[RateLimit]]
    ai_gateway: NotRequired[AiGateway]


class EndpointDetail(EndpointSummary):
    """An endpoint."""

    timeouts: NotRequired[Annotated[Timeouts, Field(description="Those that were set.")]]
    creator_display_name: NotRequired[str]
    creator_kind: NotRequired[Literal["User"]]
    pending_config: NotRequired[
        Annotated[
            PendingConfig,
            Field(
                description="While an update runs: the config that it leads to, with the fields of config, and start_time."
            ),
        ]
    ]
    email_notifications: NotRequired[EmailNotifications]
    permission_level: Annotated[LevelName, Field(description="What you may do with it.")]
    route_optimized: Literal[False]
    warnings: NotRequired[Annotated[list[str], Field(description="What was given and has no effect here.")]]


class Event(TypedDict):
    timestamp: Milliseconds
    type: Annotated[str, Field(examples=["ENDPOINT_UPDATE_SUCCEEDED_EVENT"])]
    message: str
    actor: NotRequired[
        Annotated[
            str,
            Field(
                description="E-mail of the user who caused the event. Left out for events of this server itself."
            ),
        ]
    ]
    served_entity_name: NotRequired[str]
    config_version: NotRequired[int]


class Version(TypedDict):
    config_version: int
    outcome: Literal["PENDING", "ACTIVE", "REPLACED", "FAILED", "CANCELED"]
    message: Annotated[
        str,
        Field(description="The last thing known: progress, or why it failed, in the provider's words."),
    ]
    creation_timestamp: Milliseconds
    creator: NotRequired[str]
    settled_timestamp: NotRequired[Annotated[Milliseconds, Field(description="When its outcome was known.")]]
    config: ShownConfig


def milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def endpoint_detail(endpoint: Endpoint) -> EndpointDetail:
    """Needs `endpoint.level`. One query for the creators' e-mails, and one more when a secret may not be sent."""
    config = endpoint.shown_version
    versions = [version for version in (config, endpoint.pending) if version]
    emails = _emails({version.creator_id for version in versions if version.creator_id})
    found: Json = {
        "name": endpoint.name,
        "id": endpoint.pk,
        **_creator(endpoint),
        "creation_timestamp": milliseconds(endpoint.created_at),
        "last_updated_timestamp": milliseconds(endpoint.modified_at),
        "state": {"ready": endpoint.ready, "config_update": endpoint.config_update},
    }
    if config:
        found["config"] = version_config(config, emails, state=_unready_state(endpoint))
        found["task"] = task_of(config.spec)
    if endpoint.pending:
        start = {"start_time": milliseconds(endpoint.pending.created_at)}
        found["pending_config"] = version_config(endpoint.pending, emails) | start
    found |= {
        "description": endpoint.description,
        **({"endpoint_type": endpoint.kind} if endpoint.kind else {}),
        "tags": endpoint.tags,
        **{name: value for name in Endpoint.SETTINGS if (value := getattr(endpoint, name))},
        "permission_level": endpoint.level.name,
        "route_optimized": False,
    }
    return cast(EndpointDetail, found)


def _unready_state(endpoint: Endpoint) -> EntityState | None:
    """The state of the served entities of an active config that is not served. One query, none if it is served."""
    if endpoint.ready == Ready.READY or not endpoint.active_id:
        return None
    if endpoint.unready_because == Unready.STOPPED:
        return {"deployment": "DEPLOYMENT_ABORTED", "deployment_state_message": _("The endpoint is stopped.")}
    if endpoint.unready_because == Unready.HEALTH:
        lost = endpoint.events.filter(type=EventKind.UNHEALTHY).order_by("-at", "-pk").first()
        reason = lost.params.get("message", "") if lost else ""
        return {"deployment": "DEPLOYMENT_RECOVERING", "deployment_state_message": reason}
    problem = bindings.first_problem(endpoint.active_id)
    return {"deployment": "DEPLOYMENT_FAILED", "deployment_state_message": problem} if problem else None


def _emails(ids: set[str]) -> dict[str, str]:
    return dict(User.objects.filter(pk__in=ids).values_list("pk", "email"))


def _creator(endpoint: Endpoint) -> Json:
    person = endpoint.creator
    if person is None:
        return {}
    return {
        "creator": person.email,
        "creator_display_name": person.name or person.email,
        "creator_kind": "User",
    }


def version_config(
    version: ConfigVersion, emails: Mapping[str, str], *, state: EntityState | None = None
) -> ShownConfig:
    """A config, each served entity with its state, which is `state` if that is given."""
    spec = public_config(version.spec)
    outcome = Outcome(version.outcome)
    shown: Mapping[str, str] = cast(Any, state) or {
        "deployment": DEPLOYMENTS[outcome],
        # Databricks has it empty for a config that is, or was, active.
        "deployment_state_message": "" if outcome in (Outcome.ACTIVE, Outcome.REPLACED) else version.message,
    }
    made: Json = {"creation_timestamp": milliseconds(version.created_at)}
    if creator := emails.get(version.creator_id or ""):
        made["creator"] = creator
    entities = [{**entity, "state": shown, **made} for entity in spec["served_entities"]]
    return {
        "served_entities": cast(Any, entities),
        "traffic_config": spec["traffic_config"],
        "config_version": version.number,
    }


def task_of(spec: Mapping[str, Any]) -> str:
    """The task of a stored config; empty for own models that answer any JSON."""
    entity = spec["served_entities"][0]
    task: str = entity.get("external_model", entity).get("task", "")
    return task


# Tuples and one config instead of rows: thousands of endpoints are written while they are read.
LIST_COLUMNS: tuple[str | Coalesce, ...] = (
    "name",
    "pk",
    "creator__email",
    "created_at",
    "modified_at",
    "ready",
    "config_update",
    "description",
    "tags",
    "rate_limits",
    "ai_gateway",
    "kind",
    Coalesce("active__spec", "latest__spec"),
)


def creation(row: tuple[Any, ...]) -> tuple[datetime, str]:
    """When it was made, and its id, from the values of LIST_COLUMNS."""
    return row[LIST_COLUMNS.index("created_at")], row[LIST_COLUMNS.index("pk")]


def endpoint_summary(row: tuple[Any, ...]) -> EndpointSummary:
    """From the values of LIST_COLUMNS."""
    name, pk, creator, created, modified, ready, update, description, tags, limits, gateway, kind, spec = row
    found: Json = {
        "name": name,
        "id": pk,
        "creation_timestamp": milliseconds(created),
        "last_updated_timestamp": milliseconds(modified),
        "state": {"ready": ready, "config_update": update},
        "description": description,
        **({"endpoint_type": kind} if kind else {}),
        "tags": tags,
        **({"rate_limits": limits} if limits else {}),
        **({"ai_gateway": gateway} if gateway else {}),
    }
    if creator:
        found["creator"] = creator
    if spec:
        found["config"] = {"served_entities": public_config(spec["served_entities"])}
        found["task"] = task_of(spec)
    return cast(EndpointSummary, found)


def event(row: EndpointEvent) -> Event:
    found: Event = {"timestamp": milliseconds(row.at), "type": row.type, "message": row.sentence}
    if row.entity:
        found["served_entity_name"] = row.entity
    if row.actor:
        found["actor"] = row.actor.email
    if "version" in row.params:
        found["config_version"] = row.params["version"]
    return found


def config_version(version: ConfigVersion) -> Version:
    emails = {version.creator.pk: version.creator.email} if version.creator else {}
    found: Version = {
        "config_version": version.number,
        "outcome": cast(Any, version.outcome),
        "message": version.message,
        "creation_timestamp": milliseconds(version.created_at),
        "config": version_config(version, emails),
    }
    if version.creator:
        found["creator"] = version.creator.email
    if version.settled_at:
        found["settled_timestamp"] = milliseconds(version.settled_at)
    return found


def log(rows: Iterable[EndpointEvent]) -> str:
    """Events as lines of a log, oldest first."""
    return "".join(f"{row.at:%Y-%m-%dT%H:%M:%SZ} {row.sentence}\n" for row in rows)
