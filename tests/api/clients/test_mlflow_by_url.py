"""MLflow's client for its own AI gateway, with this server's address as the target."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from databricks.sdk import WorkspaceClient

from tests.api.clients.bodies import EMBEDDINGS, MESSAGES, B, ready
from tests.api.clients.conftest import Account

pytestmark = [
    pytest.mark.clients,
    pytest.mark.slow,
    pytest.mark.xdist_group("clients"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture
def client(owner: Account, monkeypatch: pytest.MonkeyPatch) -> Any:
    from mlflow.deployments import get_deploy_client

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", owner.token)
    return get_deploy_client(owner.url)


def test_endpoints_are_read(client: Any, workspace: WorkspaceClient, owner: Account, name: str, secret: str):
    ready(workspace, name, secret)
    limits = [{"calls": 9, "key": "user", "renewal_period": "minute"}]
    owner.call("PUT", f"{B}/{name}/rate-limits", {"rate_limits": limits})
    read = client.get_endpoint(name)
    assert (read.name, read.endpoint_type) == (name, "llm/v1/chat")
    assert (read.model.name, read.model.provider) == ("gpt-4", "openai")
    assert read.endpoint_url == f"{owner.url}/endpoints/{name}/invocations"
    assert read.limit.calls == 9
    assert {each.name: each for each in client.list_endpoints()}[name] == read


def test_endpoints_are_queried(client: Any, workspace: WorkspaceClient, name: str, secret: str):
    ready(workspace, name, secret)
    answer = client.predict(endpoint=name, inputs={"messages": MESSAGES})
    assert "Hello" in answer["choices"][0]["message"]["content"]
    ready(workspace, f"{name}-vectors", secret, task=EMBEDDINGS)
    assert len(client.predict(endpoint=f"{name}-vectors", inputs={"input": ["a", "b"]})["data"]) == 2


def test_a_refusal_raises_with_its_message(client: Any):
    for refused in (
        lambda: client.get_endpoint("no-such-endpoint"),
        lambda: client.predict(endpoint="no-such-endpoint", inputs={"messages": MESSAGES}),
    ):
        with pytest.raises(requests.HTTPError) as error:
            refused()
        assert "RESOURCE_DOES_NOT_EXIST" in str(error.value)
