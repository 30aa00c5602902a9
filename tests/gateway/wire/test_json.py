"""The gateway sends no NaN or Infinity, which are no JSON, to providers or callers; everything else is unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.conftest import GatewayServer, endpoint, entity
from tests.gateway.wire.test_recordings import add_endpoint
from tests.support.recordings import RECORDINGS, Recording
from tests.support.vendor import Answer, Vendor

NAMED = {(each.provider.name, each.path.stem): each for each in RECORDINGS}
PASSED_ON = [NAMED["openai", "hello"], NAMED["custom", "hello"], NAMED["databricks-model-serving", "hello"]]
LOGPROBS = rb'{"id":"a","choices":[{"index":0,"message":{"content":"NaN, \"Infinity\" \ud83d"},"logprobs":%b,"finish_reason":"stop"}]}'
WITH_NAN = LOGPROBS % b'{"content":[{"token":"x","logprob": -Infinity,"top_logprobs":[NaN , Infinity]}]}'
WITH_NULL = LOGPROBS % b'{"content":[{"token":"x","logprob": null,"top_logprobs":[null , null]}]}'


def parse_strictly(content: bytes) -> Any:
    """Parse like JavaScript and Go, which refuse NaN and Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(content, parse_constant=refuse)


@pytest.mark.parametrize("recorded", PASSED_ON, ids=str)
@pytest.mark.parametrize(
    ("came", "goes"), [(WITH_NAN, WITH_NULL), (WITH_NULL, WITH_NULL)], ids=["nan", "proper"]
)
def test_an_answer_that_is_passed_on_has_null_instead_of_nan(
    gateway: GatewayServer, vendor: Vendor, recorded: Recording, came: bytes, goes: bytes
):
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(
        Answer(200, {"Content-Type": "application/json"}, (came,)), at=recorded.request["path"]
    )
    answer = gateway.query("vendor", recorded.openai_request)
    assert (answer.status_code, answer.content) == (200, goes)


def test_a_stream_that_is_passed_on_has_null_instead_of_nan(gateway: GatewayServer, vendor: Vendor):
    add_endpoint(gateway, vendor, NAMED["custom", "stream-hello"])
    chunk = b'{"id":"a","choices":[{"index":0,"delta":{"content":"NaN"},"logprobs":{"content":[{"logprob":%b}]},"finish_reason":"stop"}]}'
    vendor.set_answers(Answer.stream(b"data: " + chunk % b"-Infinity" + b"\n\ndata: [DONE]\n\n"))
    answer = gateway.query("vendor", NAMED["custom", "stream-hello"].openai_request)
    assert answer.content == b"data: " + chunk % b"null" + b"\n\ndata: [DONE]\n\n"


def test_events_of_the_responses_api_have_null_instead_of_nan(gateway: GatewayServer, vendor: Vendor):
    gateway.add(endpoint("thinker", entity(base=vendor.url)))
    event = (
        b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r","score":%b}}\n\n'
    )
    vendor.set_answers(Answer.stream(event % b"NaN"))
    answer = gateway.post("responses", {"model": "thinker", "input": "Hi", "stream": True})
    assert answer.content == event % b"null"


def test_translated_answers_and_streams_have_null_instead_of_nan(gateway: GatewayServer, vendor: Vendor):
    recorded = NAMED["google-cloud-vertex-ai", "hello"]
    add_endpoint(gateway, vendor, recorded)
    candidate = b'{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":NaN}}}]},"finishReason":"STOP","logprobsResult":{"chosenCandidates":[{"token":"x","logProbability":-Infinity}]}}'
    reply = b'{"candidates":[%b],"usageMetadata":{"promptTokenCount":NaN,"totalTokenCount":3}}' % candidate
    vendor.set_answers(Answer(200, {"Content-Type": "application/json"}, (reply,)), at="/models/")
    (choice,) = parse_strictly(gateway.query("vendor", recorded.openai_request).content)["choices"]
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":null}'
    assert choice["logprobs"]["content"][0]["logprob"] is None
    vendor.set_answers(Answer.stream(b"data: " + reply.replace(b"\n", b"") + b"\n\n"), at="/models/")
    answer = gateway.query("vendor", {**recorded.openai_request, "stream": True})
    lines = [line.removeprefix(b"data: ") for line in answer.content.split(b"\n") if line]
    assert lines.pop() == b"[DONE]"
    assert b"null" in b"".join(lines)
    assert all(parse_strictly(line) for line in lines)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e400", b"1" + b"0" * 400 + b".0"])
@pytest.mark.parametrize("provider", ["openai", "anthropic", "custom"])
def test_a_request_with_nan_or_infinity_is_refused(
    gateway: GatewayServer, vendor: Vendor, provider: str, number: bytes
):
    add_endpoint(gateway, vendor, NAMED[provider, "hello"])
    answer = gateway.query("vendor", b'{"messages":[{"role":"user","content":"Hi"}],"own":[%b]}' % number)
    assert answer.status_code == 400
    assert "cannot be read" in answer.json()["message"]
    assert vendor.requests == []


@pytest.mark.parametrize(
    "provider", ["anthropic", "amazon-bedrock", "google-cloud-vertex-ai", "cohere", "ai21labs"]
)
def test_nan_in_tool_results_and_arguments_is_replaced(gateway: GatewayServer, vendor: Vendor, provider: str):
    recorded = NAMED[provider, "hello"]
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(Answer.json(recorded.reply), at=recorded.request["path"])
    function = {"name": "f", "arguments": '{"a": [NaN, Infinity, 1e400]}'}
    messages = [
        {"role": "user", "content": "NaN"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "functions.get:0", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "functions.get:0", "content": '{"x": NaN, "y": 1e400}'},
    ]
    answer = gateway.query(
        "vendor", {"messages": messages, "tools": [{"type": "function", "function": {"name": "f"}}]}
    )
    assert answer.status_code == 200, answer.text
    sent = vendor.requests[-1].body
    assert parse_strictly(sent)
    assert b"null" in sent
    assert b"[NaN" not in sent and b"1e400]" not in sent


def test_a_request_that_is_passed_on_is_not_translated(gateway: GatewayServer, vendor: Vendor):
    """Ids, names, white space and arguments stay as the caller sent them."""
    add_endpoint(gateway, vendor, NAMED["custom", "hello"])
    vendor.set_answers(Answer.json(NAMED["custom", "hello"].reply))
    function = {"name": "mcp.files/read:now", "arguments": '{"a": NaN}'}
    body = {
        "messages": [
            {
                "role": "assistant",
                "content": " \n",
                "tool_calls": [{"id": "functions.get:0", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "functions.get:0", "content": '{"x": NaN}'},
            {"role": "assistant", "content": "Once "},
        ],
        "stop": ["", "\n"],
    }
    assert gateway.query("vendor", body).status_code == 200
    sent = vendor.requests[-1].json
    assert {name: sent[name] for name in body} == body
