"""The clients of OpenAI and MLflow, unchanged, against a running gateway."""

from __future__ import annotations

from typing import Any

import openai
import pytest
import requests

from tests.gateway.conftest import CANARY, CHAT, GatewayServer
from tests.support.sandbox import SandboxServer

MESSAGES: Any = CHAT["messages"]


@pytest.fixture
def client(gateway: GatewayServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/serving-endpoints", api_key="token-owner", max_retries=0)


def test_the_openai_client_gets_chats_completions_embeddings_and_models(client: openai.OpenAI):
    reply = client.chat.completions.create(model="chat", messages=MESSAGES)
    assert "Say hello." in (reply.choices[0].message.content or "")
    assert client.completions.create(model="text", prompt="Once").choices[0].text
    embedded = client.embeddings.create(model="vectors", input=["a", "b"], dimensions=16)
    assert [len(each.embedding) for each in embedded.data] == [16, 16]
    assert {model.id for model in client.models.list()} == {"chat", "text", "vectors"}
    assert client.models.retrieve("chat").id == "chat"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_the_openai_client_reads_streams(client: openai.OpenAI):
    whole = client.chat.completions.create(model="chat", messages=MESSAGES).choices[0].message.content
    chunks = client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    pieces = client.completions.create(model="text", prompt="Once", stream=True)
    assert "".join(piece.choices[0].text for piece in pieces).startswith("This is a canned reply")


@pytest.mark.parametrize("fault", ["cut_after", "malformed_after", "failed_after"])
def test_the_openai_client_raises_when_a_stream_breaks(
    client: openai.OpenAI, sandbox: SandboxServer, fault: str
):
    sandbox.set_faults(**{fault: 3})
    got: list[Any] = []
    with pytest.raises(openai.APIError) as error:
        got.extend(client.chat.completions.create(model="chat", messages=MESSAGES, stream=True))
    assert "provider" in str(error.value)


def test_the_openai_client_raises_the_exception_of_each_status(client: openai.OpenAI, sandbox: SandboxServer):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nothing", messages=MESSAGES)
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").chat.completions.create(model="chat", messages=MESSAGES)
    sandbox.set_faults(status=401, message=f"Bad key {CANARY}")
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="chat", messages=MESSAGES)
    assert CANARY not in str(refused.value)
    sandbox.set_faults(status=429)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="chat", messages=MESSAGES)


@pytest.fixture
def deployments(gateway: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DATABRICKS_HOST", gateway.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "token-owner")
    monkeypatch.setenv("MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT", "60")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    from mlflow.deployments import get_deploy_client

    return get_deploy_client("databricks")


@pytest.mark.filterwarnings("ignore")
def test_the_mlflow_client_predicts_and_reads_streams(deployments: Any):
    whole = deployments.predict(endpoint="chat", inputs=CHAT)
    assert whole["choices"][0]["message"]["content"].startswith("This is a canned reply")
    chunks = list(deployments.predict_stream(endpoint="chat", inputs=CHAT))
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == whole["choices"][0]["message"]["content"]
    assert deployments.predict(endpoint="vectors", inputs={"input": "a"})["data"][0]["embedding"]


@pytest.mark.filterwarnings("ignore")
def test_the_mlflow_client_gets_the_error_of_a_broken_stream(deployments: Any, sandbox: SandboxServer):
    sandbox.set_faults(cut_after=3)
    chunks = list(deployments.predict_stream(endpoint="chat", inputs=CHAT))
    assert chunks[-1]["error"]["message"].startswith("The provider")


@pytest.mark.filterwarnings("ignore")
def test_the_mlflow_client_raises_with_the_status_and_message(deployments: Any):
    with pytest.raises(requests.HTTPError) as error:
        deployments.predict(endpoint="nothing", inputs=CHAT)
    assert error.value.response is not None
    assert error.value.response.status_code == 404
    with pytest.raises(requests.HTTPError) as refused:
        deployments.predict(endpoint="chat", inputs={"prompt": "x"})
    assert refused.value.response is not None
    assert refused.value.response.status_code == 400
    assert "messages" in str(refused.value)
