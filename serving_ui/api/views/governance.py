"""Settings that change at once and make no config version: tags, rate limits, AI gateway, timeouts, notifications."""

from __future__ import annotations

from typing import Annotated, Any

from django.utils.translation import gettext
from pydantic import Field
from typing_extensions import TypedDict

from serving_ui.api import serializers
from serving_ui.api.request import ApiRequest, Json
from serving_ui.api.response_warnings import warn_of_ineffective_fields, warn_of_unsent_email
from serving_ui.api.routing import Router
from serving_ui.api.serializers import EndpointDetail
from serving_ui.api.views.endpoints import LIMITS, ONE, TAGS, edit
from serving_ui.catalogue.api_model import ApiModel
from serving_ui.catalogue.endpoint_settings import AiGateway, EmailNotifications, Timeouts
from serving_ui.catalogue.spec import RateLimit, RateLimits, Tag, Tags
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import queries
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.permissions import Action
from serving_ui.lib.refusal import Refusal

router = Router("Serving endpoints")
MAX_KEYS = 1000


class TagChanges(ApiModel):
    """What is added is there afterwards; what is deleted is not, even if it was added in the same call."""

    add_tags: Annotated[
        Tags, Field(description="There afterwards; a key that was there gets the new value.")
    ] = Field(default_factory=list)
    delete_tags: Annotated[
        list[str],
        Field(
            max_length=MAX_KEYS,
            description="Keys that are gone afterwards. One that is not there is no error.",
        ),
    ] = Field(default_factory=list)


class NewRateLimits(ApiModel):
    rate_limits: Annotated[
        RateLimits, Field(description="All of them; left out or empty, there are none.")
    ] = Field(default_factory=list)


class Notifications(ApiModel):
    email_notifications: Annotated[EmailNotifications, Field(description="Left out: nobody is told.")] = (
        Field(default_factory=EmailNotifications)
    )


class Telemetry(ApiModel):
    telemetry_config: Annotated[
        dict[str, Any] | None, Field(description="Left out: none, which is what there is.")
    ] = None


class TagList(TypedDict):
    tags: Annotated[list[Tag], Field(description="All of them, by key.")]


class RateLimitList(TypedDict):
    rate_limits: list[RateLimit]


class NotificationSettings(TypedDict):
    name: str
    email_notifications: EmailNotifications


@router.patch(
    f"{ONE}/tags",
    summary=_("Add and delete tags"),
    description=_("At once; no config version is made."),
    refusals=(403, 404, 409),
    example={"add_tags": TAGS, "delete_tags": ["trial"]},
    sdk="serving_endpoints.patch",
    mlflow="update_endpoint_tags",
)
def change_tags(request: ApiRequest, name: str, changes: TagChanges) -> TagList:
    endpoint = edit(
        request, name, EndpointChanges(add_tags=changes.add_tags, delete_tags=changes.delete_tags)
    )
    return {"tags": endpoint.tags}


@router.put(
    f"{ONE}/rate-limits",
    summary=_("Set the rate limits"),
    description=_(
        "Replaces them at once; no config version is made. A call over a limit is answered 429 with Retry-After."
    ),
    refusals=(403, 404, 409),
    example={"rate_limits": LIMITS},
    sdk="serving_endpoints.put",
    mlflow="update_endpoint_rate_limits",
)
def set_rate_limits(request: ApiRequest, name: str, body: NewRateLimits) -> RateLimitList:
    endpoint = edit(request, name, EndpointChanges(rate_limits=body.rate_limits))
    return {"rate_limits": endpoint.rate_limits}


@router.put(
    f"{ONE}/ai-gateway",
    summary=_("Set the AI gateway"),
    description=_("Replaces the whole of it at once; an empty body clears it."),
    answer=AiGateway,
    refusals=(403, 404, 409),
    example={"usage_tracking_config": {"enabled": True}},
    sdk="serving_endpoints.put_ai_gateway",
    mlflow="update_endpoint_ai_gateway",
)
def set_ai_gateway(request: ApiRequest, name: str, settings: AiGateway) -> Json:
    warn_of_ineffective_fields(request, settings.without_effect())
    endpoint = edit(request, name, EndpointChanges(ai_gateway=settings))
    return dict(endpoint.ai_gateway)


@router.put(
    f"{ONE}/timeouts",
    summary=_("Set the timeouts"),
    description=_(
        "How many seconds the provider is waited for. Replaces them at once; no config version is made. A query that takes longer is answered 504."
    ),
    answer=Timeouts,
    refusals=(403, 404, 409),
    example={"first_byte_seconds": 20, "total_seconds": 120},
    is_addition=True,
)
def set_timeouts(request: ApiRequest, name: str, timeouts: Timeouts) -> Json:
    endpoint = edit(request, name, EndpointChanges(timeouts=timeouts))
    return dict(endpoint.timeouts)


@router.patch(
    f"{ONE}/notifications",
    summary=_("Set the notifications"),
    description=_(
        "Who is to be told when an update succeeds or fails. They are kept and shown, but this version sends no e-mail, and says so in warnings."
    ),
    refusals=(403, 404, 409),
    example={"email_notifications": {"on_update_failure": ["team@example.com"]}},
    sdk="serving_endpoints.update_notifications",
)
def set_notifications(request: ApiRequest, name: str, body: Notifications) -> NotificationSettings:
    warn_of_unsent_email(request, body.email_notifications)
    endpoint = edit(request, name, EndpointChanges(email_notifications=body.email_notifications))
    return {"name": endpoint.name, "email_notifications": endpoint.email_notifications}


@router.patch(
    f"{ONE}/telemetry-config",
    summary=_("Remove where telemetry goes"),
    description=_("Telemetry to tables is not offered: removing it is done, setting it is refused."),
    body_required=False,
    refusals=(403, 404),
    sdk="serving_endpoints.patch_telemetry_config",
)
def set_telemetry(request: ApiRequest, name: str, body: Telemetry) -> EndpointDetail:
    endpoint = queries.get_endpoint(name=name, actor=request.user, action=Action.MANAGE)
    if body.telemetry_config:
        message = gettext("Telemetry to tables is not offered here. Read %(address)s instead.")
        address = f"/api/2.0/serving-endpoints/{name}/metrics"
        raise Refusal(message % {"address": address}, code="BAD_REQUEST")
    return serializers.endpoint_detail(endpoint)
