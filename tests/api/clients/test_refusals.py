"""Each reason to refuse a request: status, error code, and the field that the message names."""

from __future__ import annotations

from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import (
    InvalidParameterValue,
    PermissionDenied,
    ResourceAlreadyExists,
    ResourceConflict,
    ResourceDoesNotExist,
    Unauthenticated,
)
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel

from tests.api.clients.bodies import EMBEDDINGS, B, config, core, entity, ready, served, wait_until_settled
from tests.api.clients.conftest import OTHER, Account
from tests.support.sandbox import SandboxServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]

GOOD = "{{secrets/clients/openai}}"
LIMIT = {"calls": 1, "key": "user", "renewal_period": "minute"}


def one(**changes: Any) -> dict[str, Any]:
    """A config with one entity that has these changes."""
    return {"served_entities": [{**entity(GOOD), **changes}]}


def model(**changes: Any) -> dict[str, Any]:
    """A config with one external model that has these changes."""
    return one(external_model={**entity(GOOD)["external_model"], **changes})


def openai(**config: Any) -> dict[str, Any]:
    return model(openai_config=config)


ROUTE = {"served_entity_name": "entity", "traffic_percentage": 90}
WRONG_CONFIGS: dict[str, tuple[Any, str]] = {
    "no entity": ({"served_entities": []}, "served_entities"),
    "two external models": (
        {"served_entities": [entity(GOOD), entity(GOOD, name="second")]},
        "served_entities",
    ),
    "entity with a model of the registry": (one(entity_name="a.b.c", entity_version="1"), "entity_name"),
    "entity with a size": (one(workload_size="Small"), "workload_size"),
    "entity that scales to zero": (one(scale_to_zero_enabled=True), "scale_to_zero_enabled"),
    "entity without a model": ({"served_entities": [{"name": "entity"}]}, "external_model"),
    "name of an entity": (one(name="a b"), "served_entities[0].name"),
    "unknown provider": (model(provider="nobody"), "provider"),
    "unknown task": (model(task="llm/v1/dream"), "task"),
    "no model name": (model(name=""), "external_model.name"),
    "wrong type": (model(name=5), "external_model.name"),
    "no key": (openai(), "openai_api_key"),
    "key in two spellings": (openai(openai_api_key=GOOD, openai_api_key_plaintext="x"), "openai_api_key"),
    "no reference": (openai(openai_api_key="sk-typed-in-the-wrong-place"), "openai_api_key"),
    "unknown scope": (openai(openai_api_key="{{secrets/nowhere/key}}"), "openai_api_key"),
    "unknown key": (openai(openai_api_key="{{secrets/clients/nothing}}"), "openai_api_key"),
    "block of another provider": (model(openai_config=None, anthropic_config={}), "openai_config"),
    "Azure without its fields": (openai(openai_api_key=GOOD, openai_api_type="azure"), "openai_api_base"),
    "no address": (openai(openai_api_key=GOOD, openai_api_base="not an address"), "openai_api_base"),
    "an address that is never reached": (
        openai(openai_api_key=GOOD, openai_api_base="http://169.254.169.254/v1"),
        "openai_api_base",
    ),
    "traffic": ({**one(), "traffic_config": {"routes": [ROUTE]}}, "traffic_config.routes"),
    "traffic to nobody": (
        {**one(), "traffic_config": {"routes": [{"served_entity_name": "x", "traffic_percentage": 100}]}},
        "traffic_config.routes",
    ),
}


@pytest.mark.parametrize("why", WRONG_CONFIGS)
def test_an_invalid_config_is_refused_on_create_and_on_update(
    owner: Account, secret: str, unchanged: str, why: str
):
    body, field = WRONG_CONFIGS[why]
    create = owner.call("POST", B, {"name": "never-made", "config": body})
    update = owner.call("PUT", f"{B}/{unchanged}/config", body)
    for answer in (create, update):
        assert answer.status_code == 400, answer.text
        body = answer.json()
        assert body["error_code"] == "INVALID_PARAMETER_VALUE"
        assert field in body["message"]
        assert any(field in each["field"] for each in body["details"])
        assert "sk-typed" not in answer.text
    assert owner.call("GET", f"{B}/never-made").status_code == 404
    assert owner.call("GET", f"{B}/{unchanged}").json()["state"]["config_update"] == "NOT_UPDATING"


@pytest.fixture(scope="module")
def unchanged(owner: Account, secret: str) -> str:
    """An endpoint that no refused request changes."""
    ready(owner.client(), "standing", secret)
    return "standing"


WRONG_ENDPOINTS: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": None}, "name"),
    "empty name": ({"name": ""}, "name"),
    "long name": ({"name": "a" * 64}, "name"),
    "letters of a name": ({"name": "a b/c"}, "name"),
    "reserved name": ({"name": "databricks-chat"}, "name"),
    "config without entities": ({"config": {"traffic_config": {"routes": []}}}, "config"),
    "route optimized": ({"route_optimized": True}, "route_optimized"),
    "tag without key": ({"tags": [{"value": "x"}]}, "tags"),
    "tag twice": ({"tags": [{"key": "a"}, {"key": "a"}]}, "tags"),
    "limit without calls": ({"rate_limits": [{"key": "user"}]}, "rate_limits"),
    "limit of whom": ({"rate_limits": [{**LIMIT, "key": "planet"}]}, "rate_limits"),
    "limit an hour": ({"rate_limits": [{**LIMIT, "renewal_period": "hour"}]}, "rate_limits"),
    "tags of another type": ({"tags": "team"}, "tags"),
}


@pytest.mark.parametrize("why", WRONG_ENDPOINTS)
def test_an_invalid_endpoint_is_refused(owner: Account, secret: str, why: str):
    changes, field = WRONG_ENDPOINTS[why]
    answer = owner.call("POST", B, {"name": "never-made-either", "config": config(GOOD), **changes})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert field in answer.json()["message"]
    assert owner.call("GET", f"{B}/never-made-either").status_code == 404


def test_the_sdk_raises_the_class_of_each_error_code(
    workspace: WorkspaceClient, provider: SandboxServer, unchanged: str, secret: str
):
    api = workspace.serving_endpoints
    with pytest.raises(ResourceAlreadyExists):
        api.create(unchanged, config=core(secret))
    with pytest.raises(InvalidParameterValue) as refused:
        api.create("a b", config=core(secret))
    assert "name" in str(refused.value)
    provider.hold("models")
    api.update_config(unchanged, served_entities=served(secret, task=EMBEDDINGS))
    with pytest.raises(ResourceConflict) as busy:
        api.update_config(unchanged, served_entities=served(secret))
    assert "version" in str(busy.value)
    provider.release("models")
    wait_until_settled(workspace, unchanged)
    for call in (api.get, api.delete, api.export_metrics, api.get_open_api, api.put, api.patch):
        with pytest.raises(ResourceDoesNotExist):
            call("no-such-endpoint")
    with pytest.raises(Unauthenticated):
        WorkspaceClient(host=workspace.config.host, token="wrong").serving_endpoints.get(unchanged)


def test_a_viewer_can_read_but_not_change(workspace: WorkspaceClient, other: Account, name: str, secret: str):
    endpoint_id = ready(workspace, name, secret).id or ""
    theirs = other.client().serving_endpoints
    with pytest.raises(ResourceDoesNotExist):
        theirs.get(name)
    assert name not in {each.name for each in theirs.list()}
    view = AccessControlRequest(user_name=OTHER, permission_level=PermissionLevel.CAN_VIEW)
    workspace.permissions.update("serving-endpoints", endpoint_id, access_control_list=[view])
    assert theirs.get(name).id == endpoint_id
    for change in (theirs.delete, theirs.put, theirs.patch, theirs.put_ai_gateway):
        with pytest.raises(PermissionDenied):
            change(name)
    with pytest.raises(DatabricksError):
        theirs.query(name, input="x")


def test_the_kind_of_an_endpoint_never_changes(owner: Account, secret: str, unchanged: str):
    registered = {"served_entities": [{"name": "m", "entity_name": "a.b.c", "entity_version": "1"}]}
    answer = owner.call("PUT", f"{B}/{unchanged}/config", registered)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "external_model" in answer.json()["message"]


def test_cancel_without_an_update_is_refused(owner: Account, unchanged: str):
    answer = owner.call("POST", f"{B}/{unchanged}/config:cancel")
    assert (answer.status_code, answer.json()["error_code"]) == (409, "RESOURCE_CONFLICT")


def test_no_response_contains_a_pasted_key(workspace: WorkspaceClient, owner: Account, name: str):
    pasted = {"openai_api_key_plaintext": "sk-pasted-once-5a1f"}
    made = owner.call("POST", B, {"name": name, "config": model(openai_config=pasted)})
    assert made.status_code == 200
    wait_until_settled(workspace, name)
    for path in ("", "/config-versions", "/events", "/openapi"):
        assert "sk-pasted-once" not in owner.call("GET", f"{B}/{name}{path}").text
    assert "sk-pasted-once" not in made.text + owner.call("GET", B).text


def test_unknown_fields_are_accepted_with_a_warning(
    workspace: WorkspaceClient, owner: Account, name: str, secret: str
):
    body = {"name": name, "config": one(colour="red"), "budget": 5}
    answer = owner.call("POST", B, body)
    assert answer.status_code == 200
    warnings = " ".join(answer.json()["warnings"])
    assert "colour" in warnings
    assert "budget" in warnings
    wait_until_settled(workspace, name)
    assert "warnings" not in owner.call("GET", f"{B}/{name}").json()


BODIES = [b"{", b"[]", b'"text"', b"\xff", b'{"name": NaN}', b"[" * 5000, b'{"name": "\\ud800"}']


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_not_an_object_is_refused(owner: Account, body: bytes):
    headers = {"Content-Type": "application/json"}
    assert owner.call("POST", B, data=body, headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", B), ("POST", B), ("GET", f"{B}/"), ("PUT", f"{B}/x/config"), ("GET", "/api/2.0/token/list")],
)
@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic eDp5", "Bearer"])
def test_a_request_without_a_token_is_refused(owner: Account, method: str, path: str, authorization: str):
    answer = owner.call(method, path, headers={"Authorization": authorization})
    assert (answer.status_code, answer.json()["error_code"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/2.0/nothing"), ("PATCH", B), ("POST", f"{B}/x/nothing"), ("GET", "/api/3.0/x")],
)
def test_unknown_paths_and_methods_are_refused_in_json(owner: Account, method: str, path: str):
    answer = owner.call(method, path)
    assert answer.status_code == 404


def test_paths_work_with_and_without_a_trailing_slash(
    workspace: WorkspaceClient, owner: Account, name: str, secret: str
):
    made = owner.call("POST", f"{B}/", {"name": name, "config": config(secret)})
    assert made.json()["name"] == name
    wait_until_settled(workspace, name)
    assert owner.call("GET", f"{B}/{name}/").json() == owner.call("GET", f"{B}/{name}").json()
    tags = {"add_tags": [{"key": "a", "value": "b"}]}
    assert owner.call("PATCH", f"{B}/{name}/tags/", tags).json() == {"tags": tags["add_tags"]}
    assert owner.call("DELETE", f"{B}/{name}/").json() == {}


def test_a_429_says_when_to_retry(workspace: WorkspaceClient, owner: Account, name: str, secret: str):
    ready(workspace, name, secret)
    assert owner.call("PUT", f"{B}/{name}/rate-limits", {"rate_limits": [LIMIT]}).status_code == 200
    chat_request = {"messages": [{"role": "user", "content": "Hello"}]}
    answers = [owner.call("POST", f"/serving-endpoints/{name}/invocations", chat_request) for _ in range(3)]
    assert answers[-1].status_code == 429
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
