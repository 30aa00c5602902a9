"""Every method of `WorkspaceClient().serving_endpoints`, including the waiters."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import OperationFailed
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service import serving
from databricks.sdk.service.serving import (
    AiGatewayConfig,
    AiGatewayRateLimit,
    AiGatewayRateLimitRenewalPeriod,
    AiGatewayUsageTrackingConfig,
    ChatMessage,
    ChatMessageRole,
    EmailNotifications,
    EndpointStateConfigUpdate,
    EndpointStateReady,
    EndpointTag,
    ExternalFunctionRequestHttpMethod,
    PtEndpointCoreConfig,
    PtServedModel,
    RateLimit,
    RateLimitKey,
    RateLimitRenewalPeriod,
    ServedModelStateDeployment,
    ServingEndpointAccessControlRequest,
    ServingEndpointDetailed,
    ServingEndpointDetailedPermissionLevel,
    ServingEndpointPermissionLevel,
)

from tests.api.clients.bodies import COMPLETIONS, EMBEDDINGS, core, ready, served, wait_until_settled
from tests.api.clients.conftest import OTHER, OWNER, Account
from tests.support.sandbox import SandboxServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]

MINUTE = timedelta(minutes=1)
LIMIT = RateLimit(calls=5, key=RateLimitKey.USER, renewal_period=RateLimitRenewalPeriod.MINUTE)
HELLO = [ChatMessage(role=ChatMessageRole.USER, content="Hello")]


def models(endpoint: ServingEndpointDetailed) -> list[str]:
    """The names of the external models of the active config."""
    assert endpoint.config is not None
    entities = endpoint.config.served_entities or []
    return [entity.external_model.name for entity in entities if entity.external_model]


def test_create_and_wait_returns_the_endpoint_with_all_fields(
    workspace: WorkspaceClient, name: str, secret: str
):
    made = workspace.serving_endpoints.create_and_wait(
        name,
        config=core(secret),
        tags=[EndpointTag("team", "gen-ai")],
        rate_limits=[LIMIT],
        email_notifications=EmailNotifications(on_update_success=[OWNER]),
        ai_gateway=AiGatewayConfig(usage_tracking_config=AiGatewayUsageTrackingConfig(enabled=True)),
        description="For tests",
        timeout=MINUTE,
    )
    assert made.state is not None
    assert made.state.ready is EndpointStateReady.READY
    assert made.state.config_update is EndpointStateConfigUpdate.NOT_UPDATING
    assert (made.creator, made.description, made.task) == (OWNER, "For tests", "llm/v1/chat")
    assert made.permission_level is ServingEndpointDetailedPermissionLevel.CAN_MANAGE
    assert made.tags == [EndpointTag("team", "gen-ai")]
    assert made.route_optimized is False
    assert made.email_notifications == EmailNotifications(on_update_success=[OWNER])
    assert made.ai_gateway is not None
    assert made.ai_gateway.usage_tracking_config == AiGatewayUsageTrackingConfig(enabled=True)
    assert made.pending_config is None
    assert made.config is not None
    assert made.config.config_version == 1
    [entity] = made.config.served_entities or []
    assert entity.state is not None
    assert entity.state.deployment is ServedModelStateDeployment.DEPLOYMENT_READY
    assert entity.external_model is not None
    assert entity.external_model.openai_config is not None
    assert entity.external_model.openai_config.openai_api_key == secret
    assert made.config.traffic_config is not None
    [route] = made.config.traffic_config.routes or []
    assert (route.served_model_name, route.served_entity_name) == ("entity", "entity")
    assert route.traffic_percentage == 100


def test_the_waiter_of_a_create_reports_progress_and_raises_on_failure(
    workspace: WorkspaceClient, provider: SandboxServer, name: str, secret: str
):
    waiting = workspace.serving_endpoints.create(name, config=core(secret))
    response: Any = waiting.response
    assert response.name == name
    seen: list[ServingEndpointDetailed] = []
    waiting.result(timeout=MINUTE, callback=seen.append)
    assert all(each.state and each.state.ready is EndpointStateReady.NOT_READY for each in seen)
    provider.set_faults(on="models", status=401, message="This key was withdrawn.")
    with pytest.raises(OperationFailed):
        workspace.serving_endpoints.update_config_and_wait(
            name, served_entities=served(secret, model="gpt-4o"), timeout=MINUTE
        )
    failed = workspace.serving_endpoints.get(name)
    assert failed.state is not None
    assert failed.state.ready is EndpointStateReady.READY
    assert failed.state.config_update is EndpointStateConfigUpdate.UPDATE_FAILED
    assert models(failed) == ["gpt-4"]
    logs = workspace.serving_endpoints.logs(name, "entity")
    assert "This key was withdrawn." in logs.logs


def test_an_update_shows_the_old_config_and_the_pending_one(
    workspace: WorkspaceClient, provider: SandboxServer, name: str, secret: str
):
    ready(workspace, name, secret)
    provider.hold("models")
    waiting = workspace.serving_endpoints.update_config(name, served_entities=served(secret, model="gpt-4o"))
    during = workspace.serving_endpoints.get(name)
    assert during.state is not None
    assert during.state.ready is EndpointStateReady.READY
    assert during.state.config_update is EndpointStateConfigUpdate.IN_PROGRESS
    assert models(during) == ["gpt-4"]
    pending = during.pending_config
    assert pending is not None
    assert (pending.config_version, pending.start_time is not None) == (2, True)
    [entity] = pending.served_entities or []
    assert entity.external_model is not None
    assert entity.external_model.name == "gpt-4o"
    assert entity.state is not None
    assert entity.state.deployment is ServedModelStateDeployment.DEPLOYMENT_CREATING
    provider.release("models")
    done = waiting.result(timeout=MINUTE)
    assert (models(done), done.pending_config) == (["gpt-4o"], None)
    assert workspace.serving_endpoints.wait_get_serving_endpoint_not_updating(name).name == name


def test_the_waiter_of_a_cancelled_update_raises(
    workspace: WorkspaceClient, provider: SandboxServer, name: str, secret: str
):
    ready(workspace, name, secret)
    provider.hold("models")
    waiting = workspace.serving_endpoints.update_config(name, served_entities=served(secret, model="gpt-4o"))
    workspace.api_client.do("POST", f"/api/2.0/serving-endpoints/{name}/config:cancel")
    with pytest.raises(OperationFailed):
        waiting.result(timeout=MINUTE)
    assert models(workspace.serving_endpoints.get(name)) == ["gpt-4"]


def test_list_and_delete(workspace: WorkspaceClient, name: str, secret: str):
    made = ready(workspace, name, secret)
    listed = {each.name: each for each in workspace.serving_endpoints.list()}
    shown = listed[name]
    assert (shown.id, shown.creator, shown.task) == (made.id, OWNER, "llm/v1/chat")
    assert (shown.creation_timestamp, shown.state) == (made.creation_timestamp, made.state)
    assert shown.config is not None
    [entity] = shown.config.served_entities or []
    assert entity.external_model is not None
    assert entity.external_model.name == "gpt-4"
    workspace.serving_endpoints.delete(name)
    with pytest.raises(DatabricksError) as error:
        workspace.serving_endpoints.get(name)
    assert error.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_changes_of_governance_create_no_config_version(workspace: WorkspaceClient, name: str, secret: str):
    before = ready(workspace, name, secret)
    api = workspace.serving_endpoints
    tags = api.patch(name, add_tags=[EndpointTag("b", "2"), EndpointTag("a")], delete_tags=["no-such"]).tags
    assert [(tag.key, tag.value or "") for tag in tags or []] == [("a", ""), ("b", "2")]
    assert api.put(name, rate_limits=[LIMIT]).rate_limits == [LIMIT]
    emails = EmailNotifications(on_update_failure=[OWNER])
    noted = api.update_notifications(name, email_notifications=emails)
    assert noted.name == name
    assert noted.email_notifications is not None
    assert noted.email_notifications.on_update_failure == [OWNER]
    usage = AiGatewayUsageTrackingConfig(enabled=True)
    gateway_limit = AiGatewayRateLimit(AiGatewayRateLimitRenewalPeriod.MINUTE, calls=9)
    gateway = api.put_ai_gateway(name, usage_tracking_config=usage, rate_limits=[gateway_limit])
    assert gateway.usage_tracking_config == usage
    assert [limit.calls for limit in gateway.rate_limits or []] == [9]
    after = api.get(name)
    assert after.ai_gateway is not None
    assert after.ai_gateway.usage_tracking_config == usage
    assert after.email_notifications == noted.email_notifications
    assert (after.config, after.state, after.pending_config) == (before.config, before.state, None)
    cleared = api.put_ai_gateway(name)
    assert not cleared.usage_tracking_config
    assert not cleared.rate_limits


def test_metrics_description_and_logs(workspace: WorkspaceClient, name: str, secret: str):
    ready(workspace, name, secret)
    api = workspace.serving_endpoints
    metrics = api.export_metrics(name).contents
    assert metrics is not None
    assert isinstance(metrics.read().decode(), str)
    document = api.get_open_api(name).contents
    assert document is not None
    described = json.loads(document.read())
    assert described["openapi"].startswith("3.")
    assert any(name in server["url"] for server in described["servers"])
    assert "/invocations" in described["paths"]
    assert api.logs(name, "entity").logs is not None
    assert api.build_logs(name, "entity").logs is not None
    with pytest.raises(DatabricksError) as error:
        api.logs(name, "no-such-entity")
    assert error.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_query_of_each_task(workspace: WorkspaceClient, name: str, secret: str):
    api = workspace.serving_endpoints
    ready(workspace, name, secret)
    answer = api.query(name, messages=HELLO, max_tokens=50, temperature=0.5)
    assert answer.choices is not None
    assert answer.choices[0].message is not None
    assert "Hello" in (answer.choices[0].message.content or "")
    assert answer.served_model_name == "entity"
    ready(workspace, f"{name}-text", secret, task=COMPLETIONS)
    text = api.query(f"{name}-text", prompt="Once")
    assert text.choices is not None
    assert text.choices[0].text
    ready(workspace, f"{name}-vectors", secret, task=EMBEDDINGS)
    vectors = api.query(f"{name}-vectors", input=["a", "b"])
    assert len(vectors.data or []) == 2


def test_parameters_of_a_query_go_to_the_gateway_or_to_the_provider(
    workspace: WorkspaceClient, provider: SandboxServer, name: str, secret: str
):
    ready(workspace, name, secret)
    answer = workspace.serving_endpoints.query(
        name,
        messages=HELLO,
        max_tokens=50,
        extra_params={"reasoning_effort": "low", "max_tokens": "9", "stream": "true"},
        usage_context={"team": "gen-ai"},
        client_request_id="request-1",
    )
    assert answer.choices is not None
    sent = provider.requests("chat/completions")[-1]["body"]
    assert (sent["reasoning_effort"], sent["max_tokens"]) == ("low", 50)
    assert not {"extra_params", "usage_context", "client_request_id", "stream"} & set(sent)


@pytest.mark.parametrize("task", [COMPLETIONS, EMBEDDINGS])
def test_extra_parameters_reach_the_provider_whatever_the_task(
    workspace: WorkspaceClient, provider: SandboxServer, name: str, secret: str, task: str
):
    ready(workspace, name, secret, task=task)
    inputs: dict[str, Any] = {"prompt": "Once"} if task == COMPLETIONS else {"input": "Once"}
    call = "completions" if task == COMPLETIONS else "embeddings"
    extra, context = {"user": "someone"}, {"team": "gen-ai"}
    workspace.serving_endpoints.query(
        name, **inputs, extra_params=extra, usage_context=context, client_request_id="1"
    )
    sent = provider.requests(call)[-1]["body"]
    assert sent["user"] == "someone"
    assert not {"extra_params", "usage_context", "client_request_id"} & set(sent)


def test_permissions_by_id(workspace: WorkspaceClient, other: Account, name: str, secret: str):
    api = workspace.serving_endpoints
    made = ready(workspace, name, secret)
    assert made.id is not None
    levels = {each.permission_level for each in api.get_permission_levels(made.id).permission_levels or []}
    assert levels == set(ServingEndpointPermissionLevel)
    query = ServingEndpointAccessControlRequest(
        user_name=OTHER, permission_level=ServingEndpointPermissionLevel.CAN_QUERY
    )
    api.update_permissions(made.id, access_control_list=[query])
    found = api.get_permissions(made.id)
    assert (found.object_id, found.object_type) == (f"/serving-endpoints/{made.id}", "serving-endpoint")
    held = {
        each.user_name: {one.permission_level for one in each.all_permissions or []}
        for each in found.access_control_list or []
    }
    assert held[OTHER] == {ServingEndpointPermissionLevel.CAN_QUERY}
    assert ServingEndpointPermissionLevel.CAN_MANAGE in held[OWNER]
    theirs = other.client().serving_endpoints.get(name)
    assert theirs.permission_level is ServingEndpointDetailedPermissionLevel.CAN_QUERY
    api.set_permissions(made.id, access_control_list=[])
    assert OTHER not in {each.user_name for each in api.get_permissions(made.id).access_control_list or []}
    with pytest.raises(DatabricksError) as error:
        other.client().serving_endpoints.get(name)
    assert error.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_methods_that_are_not_supported_are_refused_with_a_message(
    workspace: WorkspaceClient, name: str, secret: str
):
    ready(workspace, name, secret)
    api = workspace.serving_endpoints
    pt = PtEndpointCoreConfig(served_entities=[PtServedModel("system.ai.llama", 50)])
    telemetry = serving.TelemetryConfig(telemetry_profile_id="x")
    for refused in (
        lambda: api.create_provisioned_throughput_endpoint(f"{name}-pt", pt),
        lambda: api.create_provisioned_throughput_endpoint_and_wait(f"{name}-pt", pt),
        lambda: api.update_provisioned_throughput_endpoint_config(name, pt),
        lambda: api.update_provisioned_throughput_endpoint_config_and_wait(name, pt),
        lambda: api.patch_telemetry_config(name, telemetry_config=telemetry),
        lambda: api.http_request("connection", ExternalFunctionRequestHttpMethod.GET, "/"),
    ):
        with pytest.raises(DatabricksError) as error:
            refused()
        assert error.value.error_code in {
            "INVALID_PARAMETER_VALUE", "NOT_IMPLEMENTED", "ENDPOINT_NOT_FOUND", "BAD_REQUEST",
        }  # fmt: skip
        assert str(error.value).endswith(".")
    assert wait_until_settled(workspace, name).config is not None
