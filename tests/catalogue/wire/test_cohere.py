"""Compares our wire format with Cohere's SDK: the same requests and the same results, except for named differences.

Differences: the SDK sends `"stream": false` where we send nothing, accepts any media type, and identifies itself in headers.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import cohere
import pytest

from serving_ui.catalogue.tasks import Task
from tests.support.recordings import WITH_REPLY, WITH_STREAM, Recording
from tests.support.vendor import Answer, Received, Vendor, running_vendor

CHAT, GENERATE, EMBED = "/v2/chat", "/v1/generate", "/v2/embed"
FINISHED = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}


def recorded_at(path: str, among: list[Recording]) -> pytest.MarkDecorator:
    found = [each for each in among if each.provider.name == "cohere" and each.request["path"] == path]
    assert found
    return pytest.mark.parametrize("recorded", found, ids=str)


every_chat = recorded_at(CHAT, WITH_REPLY)
every_chat_stream = recorded_at(CHAT, WITH_STREAM)
every_generation = recorded_at(GENERATE, WITH_REPLY)
every_generated_stream = recorded_at(GENERATE, WITH_STREAM)
every_vector = recorded_at(EMBED, WITH_REPLY)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as server:
        yield server


@pytest.fixture
def client(vendor: Vendor) -> cohere.ClientV2:
    return cohere.ClientV2(api_key="key-1", base_url=vendor.url)


@pytest.fixture
def older_client(vendor: Vendor) -> cohere.Client:
    return cohere.Client(api_key="key-1", base_url=vendor.url)


def arguments(recorded: Recording) -> dict[str, Any]:
    """The recorded request as arguments of the SDK, where streaming is a method."""
    return {name: value for name, value in recorded.request["body"].items() if name != "stream"}


def assert_same(request: Received, recorded: Recording, **differing: Any) -> None:
    """Compare the request with the one that we build, which is the recorded one."""
    ours = recorded.build_request()
    assert (request.method, request.path) == (ours.method, urlsplit(ours.url).path)
    assert request.json == {**recorded.request["body"], **differing}
    sent = {name.lower(): value for name, value in ours.headers}
    assert {**sent, "accept": "*/*"} == {name: request.headers[name] for name in sent}
    wanted = "application/json" if recorded.chunks is None else recorded.content_type
    assert sent["accept"] == wanted


@every_chat
def test_chat_requests_and_replies_match_the_sdk(
    recorded: Recording, vendor: Vendor, client: cohere.ClientV2
):
    assert recorded.answer is not None
    vendor.set_answers(Answer.json(recorded.reply))
    read: Any = client.chat(**arguments(recorded))
    assert_same(vendor.requests[0], recorded, stream=False)
    (choice,) = recorded.answer["choices"]
    assert (read.id, FINISHED[read.finish_reason]) == (recorded.answer["id"], choice["finish_reason"])
    assert tokens(read.usage) == counted(recorded.answer["usage"])
    message = choice.get("message") or {"content": choice["text"]}
    parts = read.message.content or []
    assert {
        "content": "".join(part.text for part in parts if part.type == "text"),
        "reasoning_content": "".join(part.thinking for part in parts if part.type == "thinking"),
        "tool_plan": read.message.tool_plan or "",
        "tool_calls": [call.model_dump() for call in read.message.tool_calls or ()],
        "citations": [without_unset(each) for each in read.message.citations or ()],
    } == complete_message(message)


@every_chat_stream
def test_chat_streams_match_the_sdk(recorded: Recording, vendor: Vendor, client: cohere.ClientV2):
    assert recorded.chunks is not None
    vendor.set_answers(Answer.stream(recorded.stream()))
    message: dict[str, Any] = complete_message({})
    ended: Any = None
    event: Any
    for event in client.chat_stream(**arguments(recorded)):
        if event.type == "message-end":
            ended = event.delta
        elif event.type in {"content-start", "content-delta"}:
            message["content"] += event.delta.message.content.text or ""
            message["reasoning_content"] += event.delta.message.content.thinking or ""
        elif event.type == "tool-plan-delta":
            message["tool_plan"] += event.delta.message.tool_plan
        elif event.type == "tool-call-start":
            message["tool_calls"].append(event.delta.message.tool_calls.model_dump())
        elif event.type == "tool-call-delta":
            message["tool_calls"][-1]["function"]["arguments"] += (
                event.delta.message.tool_calls.function.arguments
            )
        elif event.type == "citation-start":
            message["citations"].append(without_unset(event.delta.message.citations))
    assert_same(vendor.requests[0], recorded)
    *chunks, last = recorded.chunks
    assert message == joined_message(chunks)
    assert FINISHED[ended.finish_reason] == chunks[-1]["choices"][0]["finish_reason"]
    assert tokens(ended.usage) == counted(last["usage"])


@every_generation
def test_generate_requests_and_replies_match_the_sdk(
    recorded: Recording, vendor: Vendor, older_client: cohere.Client
):
    assert recorded.answer is not None
    vendor.set_answers(Answer.json(recorded.reply))
    read = older_client.generate(**arguments(recorded))
    assert_same(vendor.requests[0], recorded, stream=False)
    assert read.id == recorded.answer["id"]
    assert [each.text for each in read.generations] == [each["text"] for each in recorded.answer["choices"]]
    assert tokens(read.meta) == counted(recorded.answer["usage"])


@every_generated_stream
def test_generate_streams_match_the_sdk(recorded: Recording, vendor: Vendor, older_client: cohere.Client):
    assert recorded.chunks is not None
    vendor.set_answers(Answer.stream(recorded.stream(), kind=recorded.content_type))
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    event: Any
    for event in older_client.generate_stream(**arguments(recorded)):
        if event.event_type == "text-generation":
            texts[event.index or 0] = texts.get(event.index or 0, "") + event.text
        elif event.event_type == "stream-end":
            whole = event.response.generations
            reasons = {each.index or 0: each.finish_reason for each in whole or ()} or {
                0: str(event.finish_reason)
            }
            assert not whole or {each.index or 0: each.text for each in whole} == texts
    assert_same(vendor.requests[0], recorded)
    choices = [each["choices"][0] for each in recorded.chunks if each["choices"]]
    assert texts == {
        index: "".join(each["text"] for each in choices if each["index"] == index) for index in texts
    }
    assert {index: FINISHED[reason] for index, reason in reasons.items()} == {
        each["index"]: each["finish_reason"] for each in choices if each["finish_reason"]
    }


@every_vector
def test_embeddings_match_the_sdk(recorded: Recording, vendor: Vendor, client: cohere.ClientV2):
    assert recorded.answer is not None
    vendor.set_answers(Answer.json(recorded.reply))
    read: Any = client.embed(**arguments(recorded))
    assert_same(vendor.requests[0], recorded)
    assert read.embeddings.float_ == [floats(each["embedding"]) for each in recorded.answer["data"]]
    assert read.meta.billed_units.input_tokens == recorded.answer["usage"]["prompt_tokens"]


def test_every_task_uses_a_path_of_the_sdk():
    cohere_ones = [each for each in (*WITH_REPLY, *WITH_STREAM) if each.provider.name == "cohere"]
    assert {each.request["path"] for each in cohere_ones} == {CHAT, GENERATE, EMBED}
    assert {each.task for each in cohere_ones} == set(Task)


def complete_message(message: dict[str, Any]) -> dict[str, Any]:
    """A message with all fields."""
    texts = {name: message.get(name) or "" for name in ("content", "reasoning_content", "tool_plan")}
    return texts | {name: list(message.get(name) or ()) for name in ("tool_calls", "citations")}


def joined_message(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that the chunks make together."""
    message = complete_message({})
    for chunk in chunks:
        choice = chunk["choices"][0]
        delta = choice.get("delta") or {"content": choice.get("text") or ""}
        for name in ("content", "reasoning_content", "tool_plan"):
            message[name] += delta.get(name) or ""
        for citation in delta.get("citations") or ():
            message["citations"].append({name: value for name, value in citation.items() if name != "index"})
        for call in delta.get("tool_calls") or ():
            if "id" in call:
                message["tool_calls"].append(
                    {"id": call["id"], "type": call["type"], "function": dict(call["function"])}
                )
            else:
                function = message["tool_calls"][call["index"]]["function"]
                function["arguments"] += call["function"]["arguments"]
    return message


def without_unset(citation: Any) -> dict[str, Any]:
    """The received values without the defaults that the SDK adds for missing fields."""
    made: dict[str, Any] = citation.model_dump(exclude_unset=True, exclude_none=True)
    return made


def tokens(usage: Any) -> tuple[float, float]:
    """The counted tokens, or the billed ones if only those are reported."""
    counts = usage.tokens or usage.billed_units
    return counts.input_tokens, counts.output_tokens


def counted(usage: dict[str, Any]) -> tuple[int, int]:
    return usage["prompt_tokens"], usage["completion_tokens"]


def floats(vector: list[float] | str) -> list[float]:
    if isinstance(vector, list):
        return vector
    content = b64decode(vector)
    return list(struct.unpack(f"<{len(content) // 4}f", content))
