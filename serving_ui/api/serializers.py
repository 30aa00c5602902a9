"""The one place where rows become answers. Stored JSON is shown as it is, without models: a list may have thousands of rows.

Nothing is answered as null; what there is nothing to say of is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models.functions import Coalesce

from serving_ui.accounts.models import User
from serving_ui.catalogue.endpoint_config import public_config
from serving_ui.endpoints import bindings
from serving_ui.endpoints.lifecycle import Ready
from serving_ui.endpoints.models import ConfigVersion, Endpoint, EndpointEvent

Json = dict[str, Any]
Outcome = ConfigVersion.Outcome
DEPLOYMENTS = {
    Outcome.PENDING: "DEPLOYMENT_CREATING",
    Outcome.ACTIVE: "DEPLOYMENT_READY",
    Outcome.REPLACED: "DEPLOYMENT_READY",
    Outcome.FAILED: "DEPLOYMENT_FAILED",
    Outcome.CANCELED: "DEPLOYMENT_ABORTED",
}


def milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def endpoint_detail(endpoint: Endpoint) -> Json:
    """An endpoint with its configs, as `get` answers. `level` must be set. One query, for the names of who made what; one more
    where a secret may not be sent."""
    config = endpoint.shown_version
    revoked = endpoint.ready == Ready.NOT_READY and endpoint.active_id
    problem = bindings.first_problem(endpoint.active_id) if revoked else None
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
        found["config"] = version_config(config, emails, problem=problem)
        found["task"] = task_of(config.spec)
    if endpoint.pending:
        start = {"start_time": milliseconds(endpoint.pending.created_at)}
        found["pending_config"] = version_config(endpoint.pending, emails) | start
    return found | {
        "description": endpoint.description,
        "endpoint_type": "EXTERNAL_MODEL",
        "tags": endpoint.tags,
        **_governance(endpoint.rate_limits, endpoint.ai_gateway, endpoint.email_notifications),
        **({"timeouts": endpoint.timeouts} if endpoint.timeouts else {}),
        "permission_level": endpoint.level.name,
        "route_optimized": False,
    }


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


def _governance(rate_limits: list[Json], ai_gateway: Json, email_notifications: Json) -> Json:
    given = {
        "rate_limits": rate_limits,
        "ai_gateway": ai_gateway,
        "email_notifications": email_notifications,
    }
    return {name: value for name, value in given.items() if value}


def version_config(version: ConfigVersion, emails: Mapping[str, str], *, problem: str | None = None) -> Json:
    """A config as clients know it, each served entity with its state. `problem` is why an active one is not served."""
    spec = public_config(version.spec)
    outcome = Outcome(version.outcome)
    state = {
        "deployment": DEPLOYMENTS[outcome],
        # Of an active one it would only repeat that all is well; the original has it empty.
        "deployment_state_message": "" if outcome in (Outcome.ACTIVE, Outcome.REPLACED) else version.message,
    }
    if problem:
        state = {"deployment": "DEPLOYMENT_FAILED", "deployment_state_message": problem}
    made: Json = {"creation_timestamp": milliseconds(version.created_at)}
    if creator := emails.get(version.creator_id or ""):
        made["creator"] = creator
    entities = [{**entity, "state": state, **made} for entity in spec["served_entities"]]
    return {
        "served_entities": entities,
        "traffic_config": spec["traffic_config"],
        "config_version": version.number,
    }


def task_of(spec: Mapping[str, Any]) -> str:
    """The task of a stored config."""
    task: str = spec["served_entities"][0]["external_model"]["task"]
    return task


# Tuples rather than rows, and the shown config alone: thousands of them are written while they are read.
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
    Coalesce("active__spec", "latest__spec"),
)


def creation(row: tuple[Any, ...]) -> tuple[datetime, str]:
    """When it was made, and its id, from the values of LIST_COLUMNS."""
    return row[LIST_COLUMNS.index("created_at")], row[LIST_COLUMNS.index("pk")]


def list_item(row: tuple[Any, ...]) -> Json:
    """One endpoint of the list, from the values of LIST_COLUMNS."""
    name, pk, creator, created, modified, ready, update, description, tags, limits, gateway, spec = row
    found: Json = {
        "name": name,
        "id": pk,
        "creation_timestamp": milliseconds(created),
        "last_updated_timestamp": milliseconds(modified),
        "state": {"ready": ready, "config_update": update},
        "description": description,
        "endpoint_type": "EXTERNAL_MODEL",
        "tags": tags,
        **_governance(limits, gateway, {}),
    }
    if creator:
        found["creator"] = creator
    if spec:
        found["config"] = {"served_entities": public_config(spec["served_entities"])}
        found["task"] = task_of(spec)
    return found


def event(row: EndpointEvent) -> Json:
    """Something that happened to an endpoint."""
    found: Json = {"timestamp": milliseconds(row.at), "type": row.type, "message": row.sentence}
    if row.entity:
        found["served_entity_name"] = row.entity
    if row.actor:
        found["actor"] = row.actor.email
    if "version" in row.params:
        found["config_version"] = row.params["version"]
    return found


def config_version(version: ConfigVersion) -> Json:
    """A config that was submitted, and what became of it."""
    emails = {version.creator.pk: version.creator.email} if version.creator else {}
    found: Json = {
        "config_version": version.number,
        "outcome": version.outcome,
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
