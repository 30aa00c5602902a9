"""What changes at once and makes no config version: tags, rate limits, AI gateway, timeouts, notifications; telemetry is refused."""

from __future__ import annotations

from django.utils.translation import gettext as _

from serving_ui.api import serializers
from serving_ui.api.bodies import NewRateLimits, Notifications, TagChanges, Telemetry
from serving_ui.api.http import ApiRequest, Json
from serving_ui.api.request_body import read_body
from serving_ui.api.response_warnings import (
    warn_of_ineffective_fields,
    warn_of_unknown_fields,
    warn_of_unsent_email,
)
from serving_ui.catalogue import unknown
from serving_ui.catalogue.endpoint_settings import parse_ai_gateway, parse_email_notifications, parse_timeouts
from serving_ui.endpoints import commands, queries
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Action
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal


def change_tags(request: ApiRequest, name: str) -> Json:
    """PATCH serving-endpoints/{name}/tags."""
    changes = read_body(TagChanges, request.json)
    warn_of_unknown_fields(request, unknown.in_model(TagChanges, request.json))
    endpoint = _edit(
        request, name, EndpointChanges(add_tags=changes.add_tags, delete_tags=changes.delete_tags)
    )
    return {"tags": endpoint.tags}


def set_rate_limits(request: ApiRequest, name: str) -> Json:
    """PUT serving-endpoints/{name}/rate-limits."""
    wanted = read_body(NewRateLimits, request.json)
    warn_of_unknown_fields(request, unknown.in_model(NewRateLimits, request.json))
    endpoint = _edit(request, name, EndpointChanges(rate_limits=wanted.rate_limits))
    return {"rate_limits": endpoint.rate_limits}


def set_ai_gateway(request: ApiRequest, name: str) -> Json:
    """PUT serving-endpoints/{name}/ai-gateway."""
    settings = parse_ai_gateway(request.json)
    warn_of_unknown_fields(request, settings.unknown)
    warn_of_ineffective_fields(request, settings.without_effect())
    endpoint = _edit(request, name, EndpointChanges(ai_gateway=settings))
    return dict(endpoint.ai_gateway)


def set_timeouts(request: ApiRequest, name: str) -> Json:
    """PUT serving-endpoints/{name}/timeouts, an addition of ours."""
    timeouts = parse_timeouts(request.json)
    warn_of_unknown_fields(request, timeouts.unknown)
    endpoint = _edit(request, name, EndpointChanges(timeouts=timeouts))
    return dict(endpoint.timeouts)


def set_notifications(request: ApiRequest, name: str) -> Json:
    """PATCH serving-endpoints/{name}/notifications."""
    wanted = read_body(Notifications, request.json)
    notifications = parse_email_notifications(wanted.email_notifications)
    warn_of_unknown_fields(request, [f"email_notifications.{path}" for path in notifications.unknown])
    warn_of_unsent_email(request, notifications)
    endpoint = _edit(request, name, EndpointChanges(notifications=notifications))
    return {"name": endpoint.name, "email_notifications": endpoint.email_notifications}


def set_telemetry(request: ApiRequest, name: str) -> Json:
    """PATCH serving-endpoints/{name}/telemetry-config: removing what is not there is fine, setting it is refused."""
    wanted = read_body(Telemetry, request.json)
    endpoint = queries.get_endpoint(name=name, actor=request.user, action=Action.MANAGE)
    if wanted.telemetry_config:
        message = _("Telemetry to tables is not offered here. Read %(address)s instead.")
        address = f"/api/2.0/serving-endpoints/{name}/metrics"
        raise Refusal(message % {"address": address}, code="BAD_REQUEST")
    return serializers.endpoint_detail(endpoint)


def _edit(request: ApiRequest, name: str, changes: EndpointChanges) -> Endpoint:
    return commands.edit_endpoint(name=name, changes=changes, actor=request.user, now=clock.now())
