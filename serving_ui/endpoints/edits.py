"""The changes of one edit of an endpoint, and the columns that result. The row of a new endpoint is filled in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from serving_ui.catalogue.endpoint_settings import AiGateway, EmailNotifications, Timeouts
from serving_ui.catalogue.limits import RateLimit
from serving_ui.catalogue.problems import Path, Problem
from serving_ui.catalogue.spec import ConfigSpec, EndpointSpec, Tag
from serving_ui.endpoints import limits
from serving_ui.endpoints.events import EventKind
from serving_ui.endpoints.models import Endpoint

GATEWAY_SETTINGS = frozenset({EventKind.RATE_LIMITS, EventKind.AI_GATEWAY, EventKind.TIMEOUTS})
"""The parts beside the config that gateways carry out."""


@dataclass(frozen=True)
class EndpointChanges:
    """The parts of an endpoint that an edit replaces. One that is None, or an empty change of tags, stays as it is.

    A part that `EndpointSpec` has too has the same name there.
    """

    config: ConfigSpec | None = None
    description: str | None = None
    tags: Sequence[Tag] | None = None
    add_tags: Sequence[Tag] = ()
    """Replace tags of the same keys; without effect when `tags` is given."""
    delete_tags: Sequence[str] = ()
    """Keys, deleted after `add_tags` were added. A key that no tag has is ignored."""
    rate_limits: Sequence[RateLimit] | None = None
    ai_gateway: AiGateway | None = None
    """All AI gateway settings; empty ones clear them."""
    ai_gateway_rate_limits: Sequence[RateLimit] | None = None
    """Of the AI gateway settings these alone; likewise `fallback`."""
    fallback: bool | None = None
    """Whether another served entity is asked when one fails."""
    timeouts: Timeouts | None = None
    email_notifications: EmailNotifications | None = None

    @classmethod
    def of(cls, spec: EndpointSpec) -> EndpointChanges:
        """Everything that a new endpoint is given, its config included."""
        names = {each.name for each in fields(cls)} & EndpointSpec.model_fields.keys()
        return cls(**{name: getattr(spec, name) for name in names})

    @property
    def is_empty(self) -> bool:
        return self == EndpointChanges()


@dataclass
class Columns:
    """New values of an endpoint's columns, the kinds of events that tell of them, and what was wrong."""

    values: dict[str, Any] = field(default_factory=dict)
    events: list[EventKind] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def put(self, event: EventKind, **values: Any) -> None:
        self.values |= values
        self.events.append(event)


def columns_of(endpoint: Endpoint, changes: EndpointChanges, *, ai_gateway_at: Path = ()) -> Columns:
    """The columns beside the config. Two queries for each list of rate limits that names a principal.

    `ai_gateway_at` is where the request body has `changes.ai_gateway`; empty if it is the body itself.
    """
    columns = Columns()
    if changes.description is not None:
        columns.put(EventKind.DESCRIPTION, description=changes.description)
    tags = _tags(endpoint, changes)
    if tags is not None:
        columns.put(EventKind.TAGS, tags=tags)
    principals = dict(endpoint.limit_principals)
    if changes.rate_limits is not None:
        principals["rate_limits"] = limits.bind(
            changes.rate_limits, before=endpoint.limit_principals.get("rate_limits", {})
        )
        columns.problems += limits.problems(changes.rate_limits, principals["rate_limits"])
        stored = [limit.stored() for limit in changes.rate_limits]
        columns.put(EventKind.RATE_LIMITS, rate_limits=stored, limit_principals=principals)
    _put_ai_gateway(columns, endpoint, changes, principals, ai_gateway_at)
    if changes.timeouts is not None:
        columns.put(EventKind.TIMEOUTS, timeouts=changes.timeouts.stored())
    if changes.email_notifications is not None:
        columns.put(EventKind.NOTIFICATIONS, email_notifications=changes.email_notifications.stored())
    return columns


def changed_parts(endpoint: Endpoint, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the parts, by their names in EndpointChanges, that give a column another value."""

    def is_changed(name: str, part: Any) -> bool:
        values = columns_of(endpoint, EndpointChanges(**{name: part})).values
        return any(getattr(endpoint, column) != value for column, value in values.items())

    return {name: part for name, part in parts.items() if is_changed(name, part)}


def _stored_tags(tags: Iterable[Tag]) -> list[dict[str, str]]:
    """Tags as a column holds them: by key."""
    return sorted((tag.model_dump(mode="json") for tag in tags), key=lambda tag: str(tag["key"]))


def _tags(endpoint: Endpoint, changes: EndpointChanges) -> list[dict[str, str]] | None:
    if changes.tags is not None:
        return _stored_tags(changes.tags)
    values = {tag["key"]: tag["value"] for tag in endpoint.tags}
    values |= {tag.key: tag.value for tag in changes.add_tags}
    for key in changes.delete_tags:
        values.pop(key, None)
    changed = [{"key": key, "value": values[key]} for key in sorted(values)]
    return changed if changed != endpoint.tags else None


def _put_ai_gateway(
    columns: Columns,
    endpoint: Endpoint,
    changes: EndpointChanges,
    principals: dict[str, limits.Ids],
    at: Path,
) -> None:
    settings = None if changes.ai_gateway is None else changes.ai_gateway.stored()
    rate_limits: Sequence[RateLimit] | None = changes.ai_gateway_rate_limits
    if changes.ai_gateway is not None:
        rate_limits = changes.ai_gateway.rate_limits or []
    elif rate_limits is not None:
        settings = {**endpoint.ai_gateway, "rate_limits": [limit.stored() for limit in rate_limits]}
        at = ("ai_gateway",)
    if changes.fallback is not None:
        settings = {**(settings or endpoint.ai_gateway), "fallback_config": {"enabled": changes.fallback}}
    if settings is None:
        return
    if rate_limits is not None:
        before = endpoint.limit_principals.get("ai_gateway", {})
        principals["ai_gateway"] = limits.bind(rate_limits, before=before)
        columns.problems += limits.problems(
            rate_limits, principals["ai_gateway"], prefix=(*at, "rate_limits")
        )
        columns.values["limit_principals"] = principals
    columns.put(EventKind.AI_GATEWAY, ai_gateway=settings)
