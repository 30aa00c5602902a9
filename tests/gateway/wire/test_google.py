"""Gemini behind a running gateway: the openai client reads its answers, its error messages are quoted, retired models are refused."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
import requests

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from tests.gateway.conftest import GatewayServer
from tests.support.recordings import RECORDINGS
from tests.support.vendor import Answer, Vendor

NAMED = {each.path.stem: each for each in RECORDINGS if each.provider.name == "google-cloud-vertex-ai"}
HELLO: Any = [{"role": "user", "content": "Say hello."}]
STREAM = {"messages": HELLO, "stream": True}
TOKEN = "ya29.canary-3f2a"
CLOCK: Any = [{"type": "function", "function": {"name": "clock"}}]


def add_endpoint(gateway: GatewayServer, vendor: Vendor, **changes: Any) -> None:
    recorded = NAMED["hello"]
    options = {"provider": recorded.provider.name, "model": recorded.model, "config": recorded.config()}
    gateway.add_endpoint(vendor, **{**options, **changes})


@pytest.fixture
def client(gateway: GatewayServer, vendor: Vendor) -> openai.OpenAI:
    """A client of a gateway whose endpoint `vendor` is a Gemini model; its access token must never appear."""
    add_endpoint(gateway, vendor)
    vendor.set_answers(Answer.json({"access_token": TOKEN, "expires_in": 3600}), at="/token")
    return openai.OpenAI(base_url=f"{gateway.url}/serving-endpoints", api_key="token-owner", max_retries=0)


def set_answers(vendor: Vendor, *answers: Answer) -> None:
    vendor.set_answers(*answers, at="enerateContent")


def test_the_openai_client_sends_the_signature_of_a_tool_call_back(client: openai.OpenAI, vendor: Vendor):
    set_answers(vendor, Answer.json(NAMED["tool-calls"].reply))
    first = client.chat.completions.create(model="vendor", messages=HELLO, tools=CLOCK)
    message = first.choices[0].message
    assert message.tool_calls is not None
    results: Any = [{"role": "tool", "tool_call_id": call.id, "content": "{}"} for call in message.tool_calls]
    reply: Any = message.to_dict()
    client.chat.completions.create(model="vendor", messages=[*HELLO, reply, *results], tools=CLOCK)
    _user, calls, answers = vendor.requests[-1].json["contents"]
    assert [part.get("thoughtSignature") for part in calls["parts"]] == ["c2lnbmVk", None, None]
    assert [part["functionResponse"]["name"] for part in answers["parts"]] == ["weather", "weather", "clock"]


def test_the_openai_client_reads_streamed_tool_calls(client: openai.OpenAI, vendor: Vendor):
    set_answers(vendor, Answer.stream(NAMED["stream-tools"].stream()))
    with client.chat.completions.stream(
        model="vendor", messages=HELLO, tools=CLOCK, stream_options={"include_usage": True}
    ) as stream:
        read = stream.get_final_completion()
    calls = read.choices[0].message.tool_calls or []
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("clock", {"zone": "CET"}),
        ("clock", {}),
    ]
    assert read.choices[0].finish_reason == "tool_calls"
    assert read.usage is not None and read.usage.total_tokens == 13


def test_a_choice_that_ends_before_another_begins_does_not_end_the_stream(
    client: openai.OpenAI, vendor: Vendor
):
    def portion(index: int, tokens: int) -> bytes:
        reply = {"content": {"parts": [{"text": "Hello."}]}, "finishReason": "STOP", "index": index}
        return data(
            {"candidates": [reply], "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": tokens}}
        )

    set_answers(vendor, Answer.stream(portion(0, 5), portion(1, 7)))
    chunks = client.chat.completions.create(model="vendor", messages=HELLO, n=2, stream=True)
    ended = [choice.index for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert ended == [0, 1]


def test_the_openai_client_reads_two_choices(client: openai.OpenAI, vendor: Vendor):
    set_answers(vendor, Answer.stream(NAMED["stream-two-choices"].stream()))
    texts, reasons = ["", ""], ["", ""]
    for chunk in client.chat.completions.create(model="vendor", messages=HELLO, n=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] += choice.finish_reason or ""
    assert texts == ["Hello.", "Hi!"]
    assert reasons == ["stop", "length"]


def test_the_openai_client_reads_embeddings(client: openai.OpenAI, gateway: GatewayServer, vendor: Vendor):
    recorded = NAMED["embeddings"]
    add_endpoint(gateway, vendor, task=Task.EMBEDDINGS, model=recorded.model)
    vendor.set_answers(Answer.json(recorded.reply), at=":predict")
    read = client.embeddings.create(model="vendor", input=["Hello.", "Bye."])  # the client requests base64
    assert [each.embedding for each in read.data] == [[0.5, -1], [0.25, 0]]


@pytest.mark.parametrize(
    ("status", "kind", "seen"),
    [
        (400, "INVALID_ARGUMENT", 400),
        (403, "PERMISSION_DENIED", 400),
        (404, "NOT_FOUND", 400),
        (429, "RESOURCE_EXHAUSTED", 429),
        (500, "INTERNAL", 500),
        (503, "UNAVAILABLE", 503),
    ],
)
@pytest.mark.usefixtures("client")
def test_the_messages_of_its_errors_are_quoted(
    gateway: GatewayServer, vendor: Vendor, status: int, kind: str, seen: int
):
    error = {"code": status, "message": f"Something about {TOKEN}.", "status": kind}
    set_answers(vendor, Answer.json({"error": error}, status=status))
    answer = gateway.query("vendor", {"messages": HELLO})
    assert answer.status_code == seen
    assert "Something about [secret]." in answer.json()["message"]
    assert TOKEN not in answer.text


def ended_with_an_error(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 200
    assert "[DONE]" not in answer.text
    events = [line.removeprefix("data: ") for line in answer.text.split("\n") if line]
    error: dict[str, Any] = json.loads(events[-1])["error"]
    return error


def data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"


@pytest.mark.usefixtures("client")
def test_an_error_within_a_stream_ends_it_with_an_error_event(gateway: GatewayServer, vendor: Vendor):
    first = NAMED["stream-hello"].stream().partition(b"\n\n")[0] + b"\n\n"
    set_answers(
        vendor, Answer.stream(first, data({"error": {"code": 503, "message": f"Overloaded, {TOKEN}"}}))
    )
    assert "Overloaded, [secret]" in ended_with_an_error(gateway.query("vendor", STREAM))["message"]


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.usefixtures("client")
def test_a_stream_without_its_last_event_ends_with_an_error(
    gateway: GatewayServer, vendor: Vendor, cut: bool
):
    events = NAMED["stream-hello"].stream().split(b"\n\n")
    set_answers(vendor, Answer.stream(b"\n\n".join(events[:2]) + b"\n\n", cut=cut))
    ended_with_an_error(gateway.query("vendor", STREAM))


MALFORMED = {
    "candidates": [
        {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "Malformed function call: clock("}
    ]
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.usefixtures("client")
def test_an_unusable_tool_call_is_an_error(gateway: GatewayServer, vendor: Vendor, stream: bool):
    set_answers(vendor, Answer.stream(data(MALFORMED)) if stream else Answer.json(MALFORMED))
    answer = gateway.query("vendor", {"messages": HELLO, "stream": stream})
    assert answer.status_code in {500, 503}
    assert "Malformed function call: clock(" in answer.json()["message"]


@pytest.mark.parametrize("model", ["text-bison", "chat-bison-32k@002", "publishers/google/models/code-bison"])
@pytest.mark.usefixtures("client")
def test_a_retired_model_is_refused_with_a_model_that_is_served(
    gateway: GatewayServer, vendor: Vendor, model: str
):
    add_endpoint(gateway, vendor, model=model)
    answer = gateway.query("vendor", {"messages": HELLO})
    assert answer.status_code == 400
    assert f"retired the model {model} on 9 April 2025" in answer.json()["message"]
    assert "gemini-3.5-flash" in answer.json()["message"]
    assert vendor.requests == []


@pytest.mark.parametrize(
    ("task", "body"),
    [
        (Task.CHAT, {"messages": HELLO}),
        (Task.CHAT, STREAM),
        (Task.COMPLETIONS, {"prompt": "Once"}),
        (Task.EMBEDDINGS, {"input": "Hello."}),
    ],
)
def test_palm_is_refused_with_what_to_use_instead(
    gateway: GatewayServer, vendor: Vendor, task: Task, body: dict[str, Any]
):
    provider = PROVIDERS["palm"]
    config = provider.config.model_validate({"palm_api_key": Secret.from_plaintext("key-1")})
    gateway.add_endpoint(vendor, provider="palm", model="chat-bison-001", config=config, task=task)
    answer = gateway.query("vendor", body)
    assert answer.status_code == 400
    assert "switched off the PaLM API on 15 August 2024" in answer.json()["message"]
    assert "Google Cloud Vertex AI" in answer.json()["message"]
    assert vendor.requests == []
