"""Anthropic behind a running gateway: the openai client reads its answers, and the messages of its errors are quoted."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
import requests

from tests.gateway.conftest import CANARY, GatewayServer
from tests.support.recordings import RECORDINGS, Recording
from tests.support.vendor import Answer, Vendor

NAMED = {each.path.stem: each for each in RECORDINGS if each.provider.name == "anthropic"}
HELLO: Any = [{"role": "user", "content": "What colour is the sky?"}]
STREAM = {"messages": HELLO, "stream": True}


@pytest.fixture
def client(gateway: GatewayServer, vendor: Vendor) -> openai.OpenAI:
    """A client of a gateway whose endpoint `vendor` is a Claude model; its key must never appear."""
    recorded = NAMED["hello"]
    block = {"anthropic_api_key_plaintext": CANARY}
    gateway.add_endpoint(
        vendor,
        provider="anthropic",
        model=recorded.model,
        config=recorded.provider.config.model_validate(block),
    )
    return openai.OpenAI(base_url=f"{gateway.url}/serving-endpoints", api_key="token-owner", max_retries=0)


def stream_of(name: str) -> Answer:
    return Answer.stream(NAMED[name].stream())


def test_the_openai_client_reads_an_answer_with_tool_calls(client: openai.OpenAI, vendor: Vendor):
    recorded: Recording = NAMED["tool-calls"]
    vendor.set_answers(Answer.json(recorded.reply))
    read = client.chat.completions.create(model="vendor", **recorded.openai_request)
    assert read.to_dict() == {**(recorded.answer or {}), "created": read.created}
    assert vendor.requests[0].headers["x-api-key"] == CANARY


def test_the_openai_client_reads_streamed_tool_calls(client: openai.OpenAI, vendor: Vendor):
    vendor.set_answers(stream_of("stream-tools"))
    tools = NAMED["stream-tools"].openai_request["tools"]
    with client.chat.completions.stream(
        model="vendor", messages=HELLO, tools=tools, stream_options={"include_usage": True}
    ) as stream:
        read = stream.get_final_completion()
    calls = read.choices[0].message.tool_calls or []
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("weather", {"city": "Kyoto"}),
        ("clock", {}),
    ]
    assert read.choices[0].finish_reason == "tool_calls"
    assert read.usage is not None and read.usage.total_tokens == 571


def test_the_openai_client_reads_streamed_reasoning(client: openai.OpenAI, vendor: Vendor):
    content = (
        NAMED["stream-thinking"].stream().replace(b'"stop_reason": "refusal"', b'"stop_reason": "end_turn"')
    )
    vendor.set_answers(Answer.stream(content))
    with client.chat.completions.stream(model="vendor", messages=HELLO) as stream:
        read = stream.get_final_completion().choices[0]
    reply: Any = read.message.to_dict()
    assert (reply["reasoning_content"], reply["content"], read.finish_reason) == (
        "Light scatters.",
        "Blue.",
        "stop",
    )
    vendor.set_answers(Answer.json(NAMED["refusal"].reply))
    client.chat.completions.create(model="vendor", messages=[*HELLO, reply, *HELLO])
    thought, hidden, text = vendor.requests[-1].json["messages"][1]["content"]
    assert thought == {"type": "thinking", "thinking": "Light scatters.", "signature": "EqQBCgIYAhIM"}
    assert hidden == {"type": "redacted_thinking", "data": "ZW5j"}
    assert text == {"type": "text", "text": "Blue."}


def test_the_openai_client_can_send_reasoning_back(client: openai.OpenAI, vendor: Vendor):
    vendor.set_answers(stream_of("stream-thinking"))
    with client.chat.completions.stream(model="vendor", messages=HELLO) as stream:
        stream.until_done()
        reply: Any = stream.current_completion_snapshot.choices[0].message.to_dict()
    vendor.set_answers(Answer.json(NAMED["hello"].reply))
    client.chat.completions.create(model="vendor", messages=[*HELLO, reply, *HELLO])
    thoughts = vendor.requests[-1].json["messages"][1]["content"][:2]
    assert thoughts == [
        {"type": "thinking", "thinking": "Light scatters.", "signature": "EqQBCgIYAhIM"},
        {"type": "redacted_thinking", "data": "ZW5j"},
    ]


def test_the_openai_client_gets_completions(client: openai.OpenAI, vendor: Vendor, gateway: GatewayServer):
    recorded = NAMED["stream-completion"]
    gateway.add_endpoint(
        vendor,
        provider="anthropic",
        model=recorded.model,
        config=recorded.config(),
        task=recorded.task,
        name="old",
    )
    vendor.set_answers(stream_of("stream-completion"), at="/v1/complete")
    pieces = client.completions.create(model="old", prompt="Say hello.", stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == " Hello!"
    assert vendor.requests[0].json["prompt"] == "\n\nHuman: Say hello.\n\nAssistant:"


def failure(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_01"}


@pytest.mark.parametrize(
    ("status", "kind", "seen"),
    [
        (400, "invalid_request_error", 400),
        (401, "authentication_error", 400),
        (404, "not_found_error", 400),
        (413, "request_too_large", 400),
        (500, "api_error", 500),
        (529, "overloaded_error", 503),
    ],
)
@pytest.mark.usefixtures("client")
def test_the_messages_of_its_errors_are_quoted(
    gateway: GatewayServer, vendor: Vendor, status: int, kind: str, seen: int
):
    vendor.set_answers(Answer.json(failure(kind, f"Something about {CANARY}."), status=status))
    answer = gateway.query("vendor", {"messages": HELLO})
    assert answer.status_code == seen
    assert "Something about [secret]." in answer.json()["message"]
    assert CANARY not in answer.text


@pytest.mark.usefixtures("client")
def test_an_error_within_a_stream_ends_it_with_an_error_event(gateway: GatewayServer, vendor: Vendor):
    events = NAMED["stream-hello"].stream().split(b"\n\n")
    broken = failure("overloaded_error", f"Overloaded, {CANARY}")
    last = f"event: error\ndata: {json.dumps(broken)}\n\n".encode()
    vendor.set_answers(Answer.stream(b"\n\n".join(events[:4]) + b"\n\n" + last))
    answer = gateway.query("vendor", STREAM)
    ended = ended_with_an_error(answer)
    assert ended["message"].endswith("The provider said: Overloaded, [secret]")
    assert ended["error_code"] == "TEMPORARILY_UNAVAILABLE"


@pytest.mark.usefixtures("client")
def test_an_error_before_the_first_event_is_an_error_status(gateway: GatewayServer, vendor: Vendor):
    broken = json.dumps(failure("overloaded_error", "Overloaded"))
    vendor.set_answers(Answer.stream(f"event: error\ndata: {broken}\n\n".encode()))
    answer = gateway.query("vendor", STREAM)
    assert answer.status_code == 503
    assert "Overloaded" in answer.json()["message"]


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.usefixtures("client")
def test_a_stream_without_its_last_event_ends_with_an_error(
    gateway: GatewayServer, vendor: Vendor, cut: bool
):
    content = NAMED["stream-hello"].stream().partition(b"event: message_stop")[0]
    vendor.set_answers(Answer.stream(content, cut=cut))
    ended_with_an_error(gateway.query("vendor", STREAM))


@pytest.mark.usefixtures("client")
def test_an_unsupported_parameter_is_refused_before_anything_is_sent(gateway: GatewayServer, vendor: Vendor):
    answer = gateway.query("vendor", {"messages": HELLO, "temperature": 1.5})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "temperature" in answer.json()["message"]
    assert not vendor.requests


def ended_with_an_error(answer: requests.Response) -> dict[str, Any]:
    """The error that ends a stream after its first events."""
    assert answer.status_code == 200
    assert b"[DONE]" not in answer.content
    lines = [line for line in answer.text.split("\n") if line]
    last: dict[str, Any] = json.loads(lines[-1].removeprefix("data: "))
    assert last["error"]["message"] == last["message"]
    assert CANARY not in answer.text
    return last
