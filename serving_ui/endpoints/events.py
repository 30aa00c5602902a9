"""The kinds of events with their sentences. Each change of an endpoint has one event."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _


class EventKind(StrEnum):
    CREATED = "ENDPOINT_CREATION_EVENT"
    SUBMITTED = "ENDPOINT_UPDATE_EVENT"
    VERIFIED = "SERVED_ENTITY_VERIFIED_EVENT"
    UNVERIFIED = "SERVED_ENTITY_UNVERIFIED_EVENT"
    SUCCEEDED = "ENDPOINT_UPDATE_SUCCEEDED_EVENT"
    FAILED = "ENDPOINT_UPDATE_FAILED_EVENT"
    CANCELED = "ENDPOINT_UPDATE_CANCELED_EVENT"
    REVOKED = "ENDPOINT_REVOKED_EVENT"
    RESTORED = "ENDPOINT_RESTORED_EVENT"
    UNHEALTHY = "ENDPOINT_UNHEALTHY_EVENT"
    HEALTHY = "ENDPOINT_HEALTHY_EVENT"
    STOPPED = "ENDPOINT_STOPPED_EVENT"
    STARTED = "ENDPOINT_STARTED_EVENT"
    TAKEN_OVER = "ENDPOINT_TAKEN_OVER_EVENT"
    DESCRIPTION = "ENDPOINT_DESCRIPTION_EVENT"
    TAGS = "ENDPOINT_TAGS_EVENT"
    RATE_LIMITS = "ENDPOINT_RATE_LIMITS_EVENT"
    AI_GATEWAY = "ENDPOINT_AI_GATEWAY_EVENT"
    TIMEOUTS = "ENDPOINT_TIMEOUTS_EVENT"
    NOTIFICATIONS = "ENDPOINT_NOTIFICATIONS_EVENT"
    PERMISSIONS = "ENDPOINT_PERMISSIONS_EVENT"


SENTENCES: dict[str, str] = {
    EventKind.CREATED: _("Created by %(actor)s with configuration version 1."),
    EventKind.SUBMITTED: _("Configuration version %(version)s submitted by %(actor)s."),
    EventKind.VERIFIED: _("The provider accepted the credentials."),
    EventKind.UNVERIFIED: _("The credentials could not be verified and are used as given. %(message)s"),
    EventKind.SUCCEEDED: _("Configuration version %(version)s is active."),
    EventKind.FAILED: _("Configuration version %(version)s failed. %(message)s"),
    EventKind.CANCELED: _("The update to configuration version %(version)s was canceled by %(actor)s."),
    EventKind.REVOKED: _("The endpoint is no longer ready. %(message)s"),
    EventKind.RESTORED: _(
        "The secrets of configuration version %(version)s may be read again, so it is active."
    ),
    EventKind.UNHEALTHY: _("The endpoint is no longer ready. %(message)s"),
    EventKind.HEALTHY: _("The endpoint answers again and is ready."),
    EventKind.STOPPED: _("Stopped by %(actor)s."),
    EventKind.STARTED: _("Started by %(actor)s with configuration version %(version)s."),
    EventKind.TAKEN_OVER: _("%(actor)s took over: %(message)s"),
    EventKind.DESCRIPTION: _("Description changed by %(actor)s."),
    EventKind.TAGS: _("Tags changed by %(actor)s."),
    EventKind.RATE_LIMITS: _("Rate limits changed by %(actor)s."),
    EventKind.AI_GATEWAY: _("AI gateway settings changed by %(actor)s."),
    EventKind.TIMEOUTS: _("Timeouts changed by %(actor)s."),
    EventKind.NOTIFICATIONS: _("E-mail notifications changed by %(actor)s."),
    EventKind.PERMISSIONS: _("Permissions changed by %(actor)s: %(principal)s, %(level)s."),
}


CREATED_WITHOUT_CONFIG = _("Created by %(actor)s without a configuration.")


def sentence(kind: str, params: Mapping[str, Any], actor: str) -> str:
    """The event as a sentence in the active language. `actor` is an e-mail; empty for the engine's own steps."""
    known: dict[str, Any] = {"version": "?", "message": "", "principal": "", "level": ""}
    template = CREATED_WITHOUT_CONFIG if params.get("is_without_config") else SENTENCES[kind]
    return (gettext(template) % {**known, **params, "actor": actor or gettext("Serving UI")}).strip()
