"""Models of Bedrock behind a running gateway, used with the openai client. Errors of Bedrock are tested in tests/gateway/test_aws.py."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.gateway.conftest import GatewayServer
from tests.support import event_stream_frames
from tests.support.recordings import RECORDINGS
from tests.support.vendor import Answer, Vendor

NAMED = {each.path.stem: each for each in RECORDINGS if each.provider.name == "amazon-bedrock"}
HELLO: Any = [{"role": "user", "content": "The weather in Kyoto and the time?"}]


@pytest.fixture
def client(gateway: GatewayServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/serving-endpoints", api_key="token-owner", max_retries=0)


def add_endpoint(gateway: GatewayServer, vendor: Vendor, name: str) -> None:
    """Add the endpoint `vendor` with a recorded model, which answers as recorded."""
    recorded = NAMED[name]
    gateway.add_endpoint(
        vendor,
        provider=recorded.provider.name,
        model=recorded.model,
        config=recorded.config(),
        task=recorded.task,
    )
    streamed = recorded.chunks is not None
    vendor.set_answers(
        Answer.stream(recorded.stream(), kind=event_stream_frames.CONTENT_TYPE)
        if streamed
        else Answer.json(recorded.reply)
    )


def test_the_openai_client_sends_reasoning_and_tool_calls_back(
    client: openai.OpenAI, gateway: GatewayServer, vendor: Vendor
):
    add_endpoint(gateway, vendor, "stream-tools")
    tools = NAMED["stream-tools"].openai_request["tools"]
    with client.chat.completions.stream(
        model="vendor", messages=HELLO, tools=tools, stream_options={"include_usage": True}
    ) as stream:
        read = stream.get_final_completion()
    message = read.choices[0].message
    calls = message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Kyoto"}, {}]
    assert read.choices[0].finish_reason == "tool_calls"
    assert read.usage is not None and read.usage.total_tokens == 157

    add_endpoint(gateway, vendor, "hello")
    results: Any = [{"role": "tool", "tool_call_id": call.id, "content": "Rain"} for call in calls]
    reply: Any = message.to_dict()
    client.chat.completions.create(model="vendor", messages=[*HELLO, reply, *results], tools=tools)
    _user, assistant, user = vendor.requests[-1].json["messages"]
    assert assistant["content"][:2] == [
        {"reasoningContent": {"reasoningText": {"text": "Both tools.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "eA=="}},
    ]
    assert [block["toolUse"]["name"] for block in assistant["content"][2:]] == ["weather", "now"]
    assert [block["toolResult"]["toolUseId"] for block in user["content"]] == ["tooluse_1", "tooluse_2"]


@pytest.mark.parametrize("stream", [True, False])
def test_an_unusable_tool_call_is_an_error(gateway: GatewayServer, vendor: Vendor, stream: bool):
    add_endpoint(gateway, vendor, "stream-hello" if stream else "hello")
    ended = {"stopReason": "malformed_tool_use"}
    if stream:
        vendor.set_answers(
            Answer.stream(
                event_stream_frames.event("messageStop", ended), kind=event_stream_frames.CONTENT_TYPE
            )
        )
    else:
        vendor.set_answers(Answer.json({**NAMED["hello"].reply, **ended}))
    answer = gateway.query("vendor", {"messages": HELLO, "stream": stream})
    assert answer.status_code == 500
    assert "cannot be used (malformed_tool_use)" in answer.json()["message"]


def test_the_openai_client_gets_completions(client: openai.OpenAI, gateway: GatewayServer, vendor: Vendor):
    add_endpoint(gateway, vendor, "stream-completion")
    chunks = list(client.completions.create(model="vendor", prompt="Once upon a time", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == " there was"
    assert chunks[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("name", "vectors"),
    [("embeddings-titan", [[0.25, -1, 0.5]]), ("embeddings-cohere", [[0.25, -1], [0.5, 2]])],
)
def test_the_openai_client_reads_embeddings(
    client: openai.OpenAI, gateway: GatewayServer, vendor: Vendor, name: str, vectors: list[list[float]]
):
    add_endpoint(gateway, vendor, name)
    read = client.embeddings.create(
        model="vendor", input=["sky", "sea"][: len(vectors)]
    )  # the client requests base64
    assert [each.embedding for each in read.data] == vectors
