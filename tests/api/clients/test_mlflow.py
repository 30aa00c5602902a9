"""Every method of `mlflow.deployments.get_deploy_client("databricks")`."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from databricks.sdk import WorkspaceClient

from tests.api.clients.bodies import EMBEDDINGS, MESSAGES, config, ready, wait_until_settled
from tests.api.clients.conftest import Account

pytestmark = [
    pytest.mark.clients,
    pytest.mark.slow,
    pytest.mark.xdist_group("clients"),
    pytest.mark.filterwarnings("ignore"),
]


def refusal(method: Any, **arguments: Any) -> requests.HTTPError:
    """The exception that a method raises. MLflow derives the HTTP status from our error_code."""
    with pytest.raises(requests.HTTPError) as error:
        method(**arguments)
    return error.value


def status(error: requests.HTTPError) -> int:
    assert error.response is not None
    return error.response.status_code


@pytest.mark.smoke
def test_an_endpoint_is_created_read_listed_and_deleted(
    deployments: Any, workspace: WorkspaceClient, name: str, secret: str
):
    body = {"name": name, "config": config(secret), "tags": [{"key": "team", "value": "gen-ai"}]}
    made = deployments.create_endpoint(config=body)
    assert (made.name, made.state.ready) == (name, "NOT_READY")
    assert made.tags == [{"key": "team", "value": "gen-ai"}]
    wait_until_settled(workspace, name)
    read = deployments.get_endpoint(name)
    assert read.state == {"ready": "READY", "config_update": "NOT_UPDATING"}
    listed = {each["name"]: each for each in deployments.list_endpoints()}
    assert listed[name]["id"] == read["id"] == made["id"]
    assert listed[name]["state"] == read["state"]
    deployments.delete_endpoint(name)
    assert status(refusal(deployments.get_endpoint, endpoint=name)) == 404
    assert name not in {each["name"] for each in deployments.list_endpoints()}


def test_the_older_form_of_create_hoists_tags_and_limits(
    deployments: Any, workspace: WorkspaceClient, name: str, secret: str
):
    limits = [{"calls": 5, "key": "user", "renewal_period": "minute"}]
    extras = {"tags": [{"key": "a", "value": "b"}], "rate_limits": limits}
    made = deployments.create_endpoint(name=name, config={**config(secret), **extras})
    assert (made["tags"], made["rate_limits"]) == (extras["tags"], limits)
    wait_until_settled(workspace, name)


def test_a_config_is_updated(deployments: Any, workspace: WorkspaceClient, name: str, secret: str):
    ready(workspace, name, secret)
    answer = deployments.update_endpoint_config(endpoint=name, config=config(secret, model="gpt-4o"))
    assert answer.state.config_update == "IN_PROGRESS"
    models = [entity["external_model"]["name"] for entity in answer.pending_config["served_entities"]]
    assert models == ["gpt-4o"]
    wait_until_settled(workspace, name)
    assert deployments.get_endpoint(name).config["config_version"] == 2


def test_tags_are_added_and_deleted(deployments: Any, workspace: WorkspaceClient, name: str, secret: str):
    ready(workspace, name, secret)
    added = deployments.update_endpoint_tags(
        endpoint=name, config={"add_tags": [{"key": "team", "value": "gen-ai"}, {"key": "a", "value": "1"}]}
    )
    assert added == {"tags": [{"key": "a", "value": "1"}, {"key": "team", "value": "gen-ai"}]}
    left = deployments.update_endpoint_tags(endpoint=name, config={"delete_tags": ["team", "unknown"]})
    assert left == {"tags": [{"key": "a", "value": "1"}]}
    assert deployments.get_endpoint(name)["tags"] == left["tags"]


def test_rate_limits_alone_leave_the_config_untouched(
    deployments: Any, workspace: WorkspaceClient, name: str, secret: str
):
    ready(workspace, name, secret)
    before = deployments.get_endpoint(name)
    limits = {"rate_limits": [{"key": "user", "renewal_period": "minute", "calls": 10}]}
    assert deployments.update_endpoint(endpoint=name, config=limits) == limits
    after = deployments.get_endpoint(name)
    assert after["rate_limits"] == limits["rate_limits"]
    unchanged = ("config", "state", "id", "tags", "creator", "creation_timestamp", "permission_level")
    assert {key: after[key] for key in unchanged} == {key: before[key] for key in unchanged}
    assert "pending_config" not in after
    assert deployments.update_endpoint_rate_limits(endpoint=name, config={"rate_limits": []}) == {
        "rate_limits": []
    }
    assert deployments.get_endpoint(name)["config"] == before["config"]


def test_rate_limits_sent_with_a_config_are_applied_or_refused(
    deployments: Any, workspace: WorkspaceClient, environment: Account, name: str, secret: str
):
    """MLflow sends both to /config, where Databricks accepts no rate limits."""
    ready(workspace, name, secret)
    both = {
        **config(secret, model="gpt-4o"),
        "rate_limits": [{"calls": 1, "key": "user", "renewal_period": "minute"}],
    }
    try:
        answer = deployments.update_endpoint(endpoint=name, config=both)
    except requests.HTTPError as refused:
        assert status(refused) == 400
        assert "rate_limits" in str(refused)
        assert deployments.get_endpoint(name)["config"]["config_version"] == 1
    else:
        assert any("rate_limits" in warning for warning in answer["warnings"])
        wait_until_settled(workspace, name)


def test_the_ai_gateway_is_set(deployments: Any, workspace: WorkspaceClient, name: str, secret: str):
    ready(workspace, name, secret)
    config = {
        "usage_tracking_config": {"enabled": True},
        "rate_limits": [{"calls": 7, "key": "user", "renewal_period": "minute"}],
    }
    answer = deployments.update_endpoint_ai_gateway(endpoint=name, config=config)
    assert answer["usage_tracking_config"] == config["usage_tracking_config"]
    assert answer["rate_limits"][0]["calls"] == 7
    assert deployments.get_endpoint(name)["ai_gateway"]["usage_tracking_config"] == {"enabled": True}


def test_a_chat_endpoint_is_queried(deployments: Any, workspace: WorkspaceClient, name: str, secret: str):
    ready(workspace, name, secret)
    chat_request = {"messages": MESSAGES}
    whole = deployments.predict(endpoint=name, inputs=chat_request)
    text = whole["choices"][0]["message"]["content"]
    assert "Hello" in text
    chunks = list(deployments.predict_stream(endpoint=name, inputs=chat_request))
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text


def test_an_embeddings_endpoint_is_queried(
    deployments: Any, workspace: WorkspaceClient, name: str, secret: str
):
    ready(workspace, name, secret, task=EMBEDDINGS, model="text-embedding-ada-002")
    answer = deployments.predict(endpoint=name, inputs={"input": ["a", "b"]})
    assert len(answer["data"]) == 2


def test_it_works_without_the_databricks_sdk(
    deployments: Any,
    workspace: WorkspaceClient,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    secret: str,
):
    monkeypatch.setenv("MLFLOW_ENABLE_DB_SDK", "false")
    made = deployments.create_endpoint(name=name, config=config(secret))
    wait_until_settled(workspace, name)
    assert deployments.get_endpoint(name)["id"] == made["id"]
    assert name in {each["name"] for each in deployments.list_endpoints()}
    again = refusal(deployments.create_endpoint, name=name, config=config(secret))
    assert status(again) == 409
    deployments.delete_endpoint(name)


def test_a_refusal_has_status_and_message(
    deployments: Any, workspace: WorkspaceClient, provider: Any, name: str, secret: str
):
    ready(workspace, name, secret)
    again = refusal(deployments.create_endpoint, name=name, config=config(secret))
    assert status(again) == 400  # MLflow's status for RESOURCE_ALREADY_EXISTS
    assert "RESOURCE_ALREADY_EXISTS" in str(again)
    unknown = config("{{secrets/nowhere/key}}")
    assert "nowhere" in str(refusal(deployments.update_endpoint_config, endpoint=name, config=unknown))
    provider.hold("models")
    deployments.update_endpoint_config(endpoint=name, config=config(secret, model="gpt-4o"))
    busy = refusal(deployments.update_endpoint_config, endpoint=name, config=config(secret))
    assert status(busy) == 409
    assert "RESOURCE_CONFLICT" in str(busy)
    provider.release("models")
    wait_until_settled(workspace, name)
    for method in (deployments.delete_endpoint, deployments.get_endpoint):
        assert status(refusal(method, endpoint="no-such-endpoint")) == 404


def test_methods_of_other_targets_are_not_implemented(deployments: Any):
    for method in ("create_deployment", "update_deployment", "delete_deployment", "get_deployment"):
        arguments = ("x", "models:/x/1") if method == "create_deployment" else ("x",)
        with pytest.raises(NotImplementedError):
            getattr(deployments, method)(*arguments)
    with pytest.raises(NotImplementedError):
        deployments.list_deployments()
