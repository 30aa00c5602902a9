"""The operations on serving endpoints."""

from __future__ import annotations

from typing import Any

from serving_ui.api import bodies
from serving_ui.api.description import given, shapes
from serving_ui.api.description.operation import ALWAYS_IN_PAGES, ENDPOINTS, PAGES, Operation, Parameter
from serving_ui.catalogue.endpoint_settings import AiGateway, Timeouts
from serving_ui.catalogue.spec import ConfigSpec, EndpointSpec
from serving_ui.catalogue.translatable import _

GROUP = "Serving endpoints"
ONE = ENDPOINTS + "/{name}"
SERVED = ONE + "/served-models/{served_model_name}"
MODEL = {
    "name": "gpt-4o",
    "provider": "openai",
    "task": "llm/v1/chat",
    "openai_config": {"openai_api_key": "{{secrets/my_scope/my_openai_api_key}}"},
}
CONFIG: dict[str, Any] = {"served_entities": [{"name": "gpt-4o", "external_model": MODEL}]}
LIMITS = [{"calls": 100, "key": "user", "renewal_period": "minute"}]
TAGS = [{"key": "team", "value": "gen-ai"}]

LIFE = (
    Operation(
        method="POST", path=ENDPOINTS, group=GROUP, name="create_endpoint",
        summary=_("Create an endpoint"),
        text=_("Answers at once, with the config pending as version 1; the endpoint is ready when state.ready is READY. A name that is taken is refused with 409 RESOURCE_ALREADY_EXISTS, who made it, when, and whether its config is the same."),
        body=EndpointSpec, answer=shapes.ShownEndpoint, refusals=(409,),
        example={"name": "my-chat", "config": CONFIG, "rate_limits": LIMITS, "tags": TAGS},
        sdk="serving_endpoints.create", mlflow="create_endpoint",
    ),
    Operation(
        method="GET", path=ENDPOINTS, group=GROUP, name="list_endpoints",
        summary=_("List endpoints"),
        text=_("Every endpoint that you may see, last modified first, in one answer; or in pages, in the order of their creation."),
        query=PAGES, answer=shapes.EndpointList, refusals=(), sdk="serving_endpoints.list", mlflow="list_endpoints",
    ),
    Operation(
        method="GET", path=ONE, group=GROUP, name="get_endpoint",
        summary=_("Get an endpoint"),
        text=_("While an update runs, config is the old one, which answers queries, and pending_config the new one."),
        answer=shapes.ShownEndpoint, refusals=(404,), sdk="serving_endpoints.get", mlflow="get_endpoint",
    ),
    Operation(
        method="PUT", path=ONE + "/config", group=GROUP, name="update_config",
        summary=_("Update the config"),
        text=_("Makes a new config version. The old one answers every query until the new one is ready. While an update runs, another is refused with 409 RESOURCE_CONFLICT."),
        body=ConfigSpec, answer=shapes.ShownEndpoint, refusals=(403, 404, 409),
        example=CONFIG, sdk="serving_endpoints.update_config", mlflow="update_endpoint_config",
    ),
    Operation(
        method="DELETE", path=ONE, group=GROUP, name="delete_endpoint",
        summary=_("Delete an endpoint"), text=_("With its history and the secrets pasted into it. It cannot be brought back."),
        refusals=(403, 404), sdk="serving_endpoints.delete", mlflow="delete_endpoint",
    ),
)  # fmt: skip
GOVERNANCE = (
    Operation(
        method="PATCH", path=ONE + "/tags", group=GROUP, name="change_tags",
        summary=_("Add and delete tags"), text=_("At once; no config version is made."),
        body=bodies.TagChanges, answer=shapes.ShownTags, refusals=(403, 404, 409),
        example={"add_tags": TAGS, "delete_tags": ["trial"]},
        sdk="serving_endpoints.patch", mlflow="update_endpoint_tags",
    ),
    Operation(
        method="PUT", path=ONE + "/rate-limits", group=GROUP, name="set_rate_limits",
        summary=_("Set the rate limits"), text=_("Replaces them at once; no config version is made. A call over a limit is answered 429 with Retry-After."),
        body=bodies.NewRateLimits, answer=shapes.ShownRateLimits, refusals=(403, 404, 409),
        example={"rate_limits": LIMITS}, sdk="serving_endpoints.put", mlflow="update_endpoint_rate_limits",
    ),
    Operation(
        method="PUT", path=ONE + "/ai-gateway", group=GROUP, name="set_ai_gateway",
        summary=_("Set the AI gateway"), text=_("Replaces the whole of it at once; an empty body clears it."),
        body=AiGateway, answer=AiGateway, refusals=(403, 404, 409),
        example={"usage_tracking_config": {"enabled": True}},
        sdk="serving_endpoints.put_ai_gateway", mlflow="update_endpoint_ai_gateway",
    ),
    Operation(
        method="PATCH", path=ONE + "/notifications", group=GROUP, name="set_notifications",
        summary=_("Set the notifications"), text=_("Who is to be told when an update succeeds or fails. They are kept and shown, but this version sends no e-mail, and says so in warnings."),
        body=bodies.Notifications, answer=shapes.ShownNotifications, refusals=(403, 404, 409),
        example={"email_notifications": {"on_update_failure": ["team@example.com"]}},
        sdk="serving_endpoints.update_notifications",
    ),
)  # fmt: skip
OBSERVATION = (
    Operation(
        method="GET", path=ONE + "/metrics", group=GROUP, name="get_metrics",
        summary=_("Get metrics"), text=_("What it has answered in all, and its state, in the text format of Prometheus."),
        media="text/plain", refusals=(404,), sdk="serving_endpoints.export_metrics",
    ),
    Operation(
        method="GET", path=ONE + "/openapi", group=GROUP, name="get_endpoint_openapi",
        summary=_("Get the OpenAPI document of an endpoint"), text=_("How it is queried: its address and the fields of its task."),
        answer=shapes.Document, refusals=(404,), sdk="serving_endpoints.get_open_api",
    ),
    Operation(
        method="GET", path=SERVED + "/logs", group=GROUP, name="get_logs",
        summary=_("Get the logs of a served entity"), text=_("For an external model: what happened to it, since nothing runs here; the last 1,000 lines."),
        answer=shapes.Logs, refusals=(404,), sdk="serving_endpoints.logs",
    ),
    Operation(
        method="GET", path=SERVED + "/build-logs", group=GROUP, name="get_build_logs",
        summary=_("Get the build logs of a served entity"), text=_("An external model is not built; the answer says so."),
        answer=shapes.Logs, refusals=(404,), sdk="serving_endpoints.build_logs",
    ),
)  # fmt: skip
OURS = (
    Operation(
        method="PUT", path=ONE + "/timeouts", group=GROUP, name="set_timeouts",
        summary=_("Set the timeouts"), text=_("How many seconds the provider is waited for. Replaces them at once; no config version is made. A query that takes longer is answered 504."),
        body=Timeouts, answer=Timeouts, refusals=(403, 404, 409),
        example={"first_byte_seconds": 20, "total_seconds": 120}, ours=True,
    ),
    Operation(
        method="POST", path=ONE + "/config:cancel", group=GROUP, name="cancel_update",
        summary=_("Cancel the running update"), text=_("The pending config is dropped, and the active one answers as before. Refused with 409 when no update runs."),
        body=given.Empty, body_required=False, answer=shapes.ShownEndpoint, refusals=(403, 404, 409), ours=True,
    ),
    Operation(
        method="POST", path=ONE + "/config:take-over", group=GROUP, name="take_over",
        summary=_("Take over the secrets"), text=_("Its secret references are sent on your right from now on, where whoever gave them is deactivated or may not read them any more and you may. No config version is made; an endpoint that was not ready for it is ready again."),
        body=given.Empty, body_required=False, answer=shapes.ShownEndpoint, refusals=(403, 404, 409), ours=True,
    ),
    Operation(
        method="GET", path=ONE + "/events", group=GROUP, name="list_events",
        summary=_("List what happened to an endpoint"), query=ALWAYS_IN_PAGES, answer=shapes.EventList, refusals=(404,), ours=True,
    ),
    Operation(
        method="GET", path=ONE + "/config-versions", group=GROUP, name="list_config_versions",
        summary=_("List the config versions"), text=_("Every config that was ever submitted, who made it and what became of it."),
        query=ALWAYS_IN_PAGES, answer=shapes.VersionList, refusals=(404,), ours=True,
    ),
)  # fmt: skip
REFUSED = (
    Operation(
        method="PATCH", path=ONE + "/telemetry-config", group=GROUP, name="set_telemetry",
        summary=_("Remove where telemetry goes"), text=_("Telemetry to tables is not offered: removing it is done, setting it is refused."),
        body=bodies.Telemetry, body_required=False, answer=shapes.ShownEndpoint, refusals=(403, 404), sdk="serving_endpoints.patch_telemetry_config",
    ),
    Operation(
        method="POST", path=ENDPOINTS + "/pt", group=GROUP, name="create_provisioned",
        summary=_("Create an endpoint with provisioned throughput"), text=_("Not offered until foundation models are."),
        body=given.NamedProvisioned, sdk="serving_endpoints.create_provisioned_throughput_endpoint", refused=True,
    ),
    Operation(
        method="PUT", path=ENDPOINTS + "/pt/{name}/config", group=GROUP, name="update_provisioned",
        summary=_("Update the config of provisioned throughput"), text=_("Not offered until foundation models are."),
        body=given.Provisioned, refusals=(403, 404), refused=True,
        sdk="serving_endpoints.update_provisioned_throughput_endpoint_config",
    ),
)  # fmt: skip
OPERATIONS: tuple[Operation, ...] = (*LIFE, *GOVERNANCE, *OBSERVATION, *OURS, *REFUSED)
PATH_PARAMETERS = (
    Parameter(name="name", text=_("Name of the endpoint."), required=True, pattern="^[A-Za-z0-9_-]{1,63}$"),
    Parameter(name="served_model_name", text=_("Name of the served entity."), required=True),
    Parameter(name="id", text=_("The id in the answer that describes it, not its name."), required=True),
)
