"""The Responses API: named events are passed on up to the provider's last one, and the openai client reads them."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.snapshot import Entity
from tests.gateway.conftest import CANARY, GatewayServer, endpoint, entity
from tests.support.vendor import Answer, Vendor

RESPONSES_REQUEST = {"model": "thinker", "input": "Say hello."}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1700000000,
    "model": "gpt-4o",
    "status": "completed",
    "output": [MESSAGE],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 14,
    },
}


def named_event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


BEGIN = named_event(
    "response.created", sequence_number=0, response={**RESPONSE, "status": "in_progress", "usage": None}
)
DELTA = named_event(
    "response.output_text.delta",
    sequence_number=1,
    item_id="msg_1",
    output_index=0,
    content_index=0,
    delta="Hello.",
    logprobs=[],
)
END = named_event("response.completed", sequence_number=2, response=RESPONSE)


@pytest.fixture
def thinker(gateway: GatewayServer, vendor: Vendor) -> Vendor:
    """A vendor behind the endpoint `thinker`."""
    gateway.add(endpoint("thinker", entity(base=vendor.url)))
    return vendor


@pytest.fixture
def client(gateway: GatewayServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/serving-endpoints", api_key="token-owner", max_retries=0)


def test_the_openai_client_gets_an_answer(gateway: GatewayServer, thinker: Vendor, client: openai.OpenAI):
    thinker.set_answers(Answer.json(RESPONSE), at="/responses")
    answer = client.responses.create(
        model="thinker", input="Say hello.", extra_body={"usage_context": {"team": "a"}}
    )
    assert answer.output_text == "Hello."
    (request,) = thinker.requests
    assert request.path == "/responses"
    assert request.json == {"model": "gpt-4o", "input": "Say hello."}
    assert request.headers["authorization"] == f"Bearer {CANARY}"
    record = gateway.usage.last
    assert (record.tokens_in, record.tokens_out, record.tokens_source) == (11, 3, "reported")
    assert record.usage_context == {"team": "a"}


def test_the_openai_client_gets_every_named_event(
    gateway: GatewayServer, thinker: Vendor, client: openai.OpenAI
):
    thinker.set_answers(Answer.stream(BEGIN, DELTA, END))
    events = list(client.responses.create(model="thinker", input="Say hello.", stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.output_text.delta",
        "response.completed",
    ]
    assert gateway.usage.last.tokens_out == 3


@pytest.mark.parametrize("last", ["response.completed", "response.incomplete"])
def test_the_stream_ends_with_the_providers_last_event(gateway: GatewayServer, thinker: Vendor, last: str):
    end = named_event(last, response=RESPONSE)
    thinker.set_answers(Answer.stream(BEGIN, DELTA, end, b"data: [DONE]\n\n"))
    answer = gateway.post("responses", {**RESPONSES_REQUEST, "stream": True})
    assert answer.content == BEGIN + DELTA + end
    assert gateway.usage.last.completeness == "complete"


def test_a_stream_that_ends_early_makes_the_client_raise(
    gateway: GatewayServer, thinker: Vendor, client: openai.OpenAI
):
    thinker.set_answers(Answer.stream(BEGIN, DELTA))
    stream = client.responses.create(model="thinker", input="Say hello.", stream=True)
    with pytest.raises(openai.APIError, match="before the answer was complete"):
        list(stream)
    record = gateway.usage.last
    assert (record.completeness, record.tokens_source, record.tokens_out) == ("truncated", "estimated", 1)


def test_an_error_event_is_passed_on_without_secrets(gateway: GatewayServer, thinker: Vendor):
    error = named_event("error", code="server_error", message=f"No capacity for {CANARY}.")
    thinker.set_answers(Answer.stream(BEGIN, error))
    answer = gateway.post("responses", {**RESPONSES_REQUEST, "stream": True})
    assert "No capacity for [secret]." in answer.text
    assert CANARY not in answer.text


def test_azure_gets_a_response_at_its_v1_path_with_the_deployment_as_model(
    gateway: GatewayServer, vendor: Vendor
):
    azure = entity(
        base=vendor.url,
        openai_api_type="azure",
        openai_deployment_name="our-gpt",
        openai_api_version="2024-10-21",
    )
    gateway.add(endpoint("thinker", azure))
    vendor.set_answers(Answer.json(RESPONSE))
    assert gateway.post("responses", RESPONSES_REQUEST).status_code == 200
    (request,) = vendor.requests
    assert (request.path, request.json["model"]) == ("/openai/v1/responses", "our-gpt")
    assert request.headers["api-key"] == CANARY


@pytest.mark.parametrize(
    "name", [each.name for each in PROVIDERS.values() if each.build_responses_request is None]
)
def test_a_provider_without_a_responses_api_is_400(gateway: GatewayServer, name: str):
    provider = PROVIDERS[name]
    served = Entity("other", name, "a-model", Task.CHAT, provider.config.model_construct())
    gateway.add(endpoint("other", served))
    answer = gateway.post("responses", {**RESPONSES_REQUEST, "model": "other"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer.json()["message"] == (
        f"{provider.label} has no Responses API. Use the path chat/completions with endpoint other."
    )


PROVIDERS_WITH_RESPONSES = {
    "custom": ({"custom_provider_url": "{vendor}/v1"}, "/v1/responses"),
    "databricks-model-serving": (
        {"databricks_workspace_url": "{vendor}", "databricks_api_token_plaintext": CANARY},
        "/serving-endpoints/responses",
    ),
    "openai": ({"openai_api_key_plaintext": CANARY}, "/v1/responses"),
}


def test_the_providers_with_a_responses_api_are_tested():
    assert {
        each.name for each in PROVIDERS.values() if each.build_responses_request is not None
    } == PROVIDERS_WITH_RESPONSES.keys()


@pytest.mark.parametrize("name", PROVIDERS_WITH_RESPONSES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_is_requested_at_the_path_of_the_provider(
    gateway: GatewayServer, vendor: Vendor, client: openai.OpenAI, name: str, stream: bool
):
    block, path = PROVIDERS_WITH_RESPONSES[name]
    filled = {field: value.replace("{vendor}", vendor.url) for field, value in block.items()}
    config = PROVIDERS[name].config.model_validate(filled)
    gateway.add_endpoint(vendor, provider=name, model="their-model", config=config, name="thinker")
    vendor.set_answers(Answer.stream(BEGIN, DELTA, END) if stream else Answer.json(RESPONSE), at=path)
    read: Any = client.responses.create(model="thinker", input="Say hello.", store=False, stream=stream)
    if stream:
        *_, last = read
        read = last.response
    assert read.output_text == "Hello."
    (request,) = vendor.requests
    assert request.path == path
    body = {"model": "their-model", "input": "Say hello.", "store": False, "stream": stream}
    assert request.json == body
    record = gateway.usage.last
    assert (record.tokens_in, record.tokens_out, record.tokens_source) == (11, 3, "reported")


def test_an_endpoint_of_another_task_than_chat_has_no_responses(gateway: GatewayServer):
    answer = gateway.post("responses", {**RESPONSES_REQUEST, "model": "vectors"})
    assert (answer.status_code, "has the task" in answer.json()["message"]) == (400, True)
