"""What the REST API changes beside the config, at once and with no config version: single tags, AI gateway, notifications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from serving_ui.accounts.models import User
from serving_ui.catalogue.endpoint_settings import AiGateway, EmailNotifications, Timeouts
from serving_ui.catalogue.limits import RateLimit
from serving_ui.catalogue.spec import Tag
from serving_ui.endpoints import limits, queries
from serving_ui.endpoints.events import Kind
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Action
from serving_ui.endpoints.transitions import record, refuse_stale, retried, swap
from serving_ui.revisions.changes import Subject, bump_revision


@retried
def change_tags(
    *, name: str, add: Sequence[Tag], delete: Iterable[str], actor: User, now: datetime
) -> Endpoint:
    """Adds or replaces some tags, then deletes some; a key that is not there is no error."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        tags = {tag["key"]: tag["value"] for tag in endpoint.tags}
        tags |= {tag.key: tag.value for tag in add}
        for key in delete:
            tags.pop(key, None)
        changed = [{"key": key, "value": tags[key]} for key in sorted(tags)]
        if changed != endpoint.tags:
            swap(endpoint, tags=changed, modified_at=now)
            record(endpoint, Kind.TAGS, now=now, actor=actor)
    return endpoint


@retried
def set_ai_gateway(*, name: str, settings: AiGateway, actor: User, now: datetime) -> Endpoint:
    """Replaces the AI gateway settings; empty ones clear them."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        principals = limits.rebound(endpoint, "ai_gateway", settings.rate_limits or [])
        swap(endpoint, ai_gateway=settings.stored(), limit_principals=principals, modified_at=now)
        record(endpoint, Kind.AI_GATEWAY, now=now, actor=actor)
        bump_revision(Subject.ENDPOINT, endpoint.pk)
    return endpoint


@retried
def set_fallback(
    *, name: str, enabled: bool, generation: int | None = None, actor: User, now: datetime
) -> Endpoint:
    """Whether another served entity is asked when one fails. All other AI gateway settings stay as they are."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        refuse_stale(endpoint, generation)
        _set_of_ai_gateway(endpoint, {"fallback_config": {"enabled": enabled}}, actor=actor, now=now)
    return endpoint


@retried
def set_gateway_limits(
    *, name: str, rate_limits: Sequence[RateLimit], generation: int | None = None, actor: User, now: datetime
) -> Endpoint:
    """Replaces the rate limits of the AI gateway settings. All its other settings stay as they are."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        refuse_stale(endpoint, generation)
        principals = limits.rebound(endpoint, "ai_gateway", rate_limits)
        given = {"rate_limits": [limit.stored() for limit in rate_limits]}
        _set_of_ai_gateway(endpoint, given, limit_principals=principals, actor=actor, now=now)
    return endpoint


def _set_of_ai_gateway(
    endpoint: Endpoint, some: Mapping[str, Any], *, actor: User, now: datetime, **more: Any
) -> None:
    swap(endpoint, ai_gateway={**endpoint.ai_gateway, **some}, modified_at=now, **more)
    record(endpoint, Kind.AI_GATEWAY, now=now, actor=actor)
    bump_revision(Subject.ENDPOINT, endpoint.pk)


@retried
def set_timeouts(
    *, name: str, timeouts: Timeouts, generation: int | None = None, actor: User, now: datetime
) -> Endpoint:
    """Replaces how long providers are waited for; what is not given is as the gateway has it."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        refuse_stale(endpoint, generation)
        swap(endpoint, timeouts=timeouts.stored(), modified_at=now)
        record(endpoint, Kind.TIMEOUTS, now=now, actor=actor)
        bump_revision(Subject.ENDPOINT, endpoint.pk)
    return endpoint


@retried
def set_notifications(
    *, name: str, notifications: EmailNotifications, actor: User, now: datetime
) -> Endpoint:
    """Replaces who is told by e-mail when an update succeeds or fails."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        swap(endpoint, email_notifications=notifications.stored(), modified_at=now)
        record(endpoint, Kind.NOTIFICATIONS, now=now, actor=actor)
    return endpoint
