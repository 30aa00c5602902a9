"""Compares our wire format with Anthropic's SDK: the same requests and the same results, except for named differences."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import anthropic
import pytest
from anthropic.types import ContentBlockParam
from anthropic.types.message_create_params import (
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from pydantic import TypeAdapter

from serving_ui.catalogue.tasks import Task
from tests.support.recordings import WITH_REPLY, WITH_STREAM, Recording
from tests.support.vendor import Answer, Vendor, running_vendor

REFUSED_BY_SDK = frozenset({"temperature", "top_p", "top_k"})
"""The SDK speaks API version 2026-10-21, which no model takes these with. We speak 2023-06-01, where the older models do."""
BETA = "task_budget"
"""A field of `output_config` that only the SDK's beta half knows."""
TYPES = {False: MessageCreateParamsNonStreaming, True: MessageCreateParamsStreaming}
CHATS = [each for each in WITH_REPLY if each.provider.name == "anthropic" and each.task is Task.CHAT]
STREAMS = [each for each in WITH_STREAM if each.provider.name == "anthropic" and each.task is Task.CHAT]
every_chat = pytest.mark.parametrize("recorded", CHATS, ids=str)
every_stream = pytest.mark.parametrize("recorded", STREAMS, ids=str)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as server:
        yield server


@pytest.fixture
def client(vendor: Vendor) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=vendor.url, api_key="key-1", max_retries=0) as made:
        yield made


@pytest.fixture(autouse=True)
def ignore_deprecation_warnings() -> Iterator[None]:
    """Ignore the SDK's warnings about models that will be retired."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def body(recorded: Recording) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(recorded.build_request().body or b"")
    return content


def arguments(recorded: Recording) -> dict[str, Any]:
    """The recorded request as arguments of the SDK. Streaming is a method, and retired parameters go into `extra_body`."""
    sent = dict(recorded.request["body"])
    sent.pop("stream", None)
    extra_body = {name: sent.pop(name) for name in REFUSED_BY_SDK & sent.keys()}
    return {**sent, "extra_body": extra_body}


@pytest.mark.parametrize("recorded", [*CHATS, *STREAMS], ids=str)
def test_the_sdks_types_know_every_field_that_we_send(recorded: Recording):
    """Fields that a type of the SDK does not know are lost in a round trip through it."""
    sent = {name: value for name, value in body(recorded).items() if name not in REFUSED_BY_SDK}
    sent.get("output_config", {}).pop(BETA, None)
    for message in sent["messages"]:
        if isinstance(message["content"], list):
            assert [round_trip(ContentBlockParam, block) for block in message["content"]] == message[
                "content"
            ]
            message["content"] = "its blocks are known"  # lists within unions can be read only once
    assert round_trip(TYPES["stream" in sent], sent) == sent


def round_trip(kind: Any, value: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return json.loads(adapter.dump_json(adapter.validate_python(value)))


@every_chat
def test_the_sdk_sends_the_recorded_request(recorded: Recording, vendor: Vendor, client: anthropic.Anthropic):
    vendor.set_answers(Answer.json(recorded.reply))
    client.messages.create(**arguments(recorded))
    request, ours = vendor.requests[0], recorded.build_request()
    assert (request.method, request.path) == (ours.method, urlsplit(ours.url).path)
    assert request.json == body(recorded)
    sent = {name.lower(): value for name, value in ours.headers}
    named = {"x-api-key", "anthropic-version"}  # the SDK sends the key as a bearer token, and a newer version
    assert {name: request.headers[name] for name in sent.keys() - named} == {
        name: sent[name] for name in sent.keys() - named
    }
    assert request.headers["authorization"] == "Bearer " + sent["x-api-key"]


@every_chat
def test_the_sdk_reads_the_reply_as_we_do(recorded: Recording, vendor: Vendor, client: anthropic.Anthropic):
    assert recorded.answer is not None
    vendor.set_answers(Answer.json(recorded.reply))
    read = client.messages.create(**arguments(recorded))
    message = recorded.answer["choices"][0]["message"]
    assert read_by_sdk(read) == read_here(message, recorded.answer["usage"])


@every_stream
def test_the_sdk_reads_the_stream_as_we_do(recorded: Recording, vendor: Vendor, client: anthropic.Anthropic):
    assert recorded.chunks is not None
    vendor.set_answers(Answer.stream(recorded.stream()))
    with client.messages.stream(**arguments(recorded)) as stream:
        read = stream.get_final_message()
    message, usage = joined_message(recorded.chunks)
    assert read_by_sdk(read) == read_here(message, usage)


def read_by_sdk(message: anthropic.types.Message) -> dict[str, Any]:
    """The message that the SDK has read."""
    usage = message.usage
    cached = usage.cache_read_input_tokens or 0
    return {
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "thought": "".join(block.thinking for block in message.content if block.type == "thinking"),
        "calls": [
            (block.id, block.name, block.input) for block in message.content if block.type == "tool_use"
        ],
        "signed": [block.signature for block in message.content if block.type == "thinking"],
        "tokens": (
            usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0),
            cached,
            usage.output_tokens,
        ),
    }


def read_here(message: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    """The message that our caller gets."""
    calls = [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]
    thoughts = [block for block in message.get("thinking_blocks") or () if block["type"] == "thinking"]
    return {
        "text": message["content"] or "",
        "thought": message.get("reasoning_content") or "",
        "calls": [(call_id, call["name"], json.loads(call["arguments"])) for call_id, call in calls],
        "signed": [block["signature"] for block in thoughts],
        "tokens": (
            usage["prompt_tokens"],
            usage["prompt_tokens_details"]["cached_tokens"],
            usage["completion_tokens"],
        ),
    }


def joined_message(chunks: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The message that the chunks make together, and its usage."""
    message: dict[str, Any] = {
        "content": "",
        "reasoning_content": "",
        "thinking_blocks": [],
        "tool_calls": [],
    }
    for chunk in chunks[:-1]:
        delta = chunk["choices"][0]["delta"]
        for name in ("content", "reasoning_content"):
            message[name] += delta.get(name, "")
        message["thinking_blocks"] += delta.get("thinking_blocks", [])
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                message["tool_calls"].append(json.loads(json.dumps(call)))
            else:
                function = message["tool_calls"][call["index"]]["function"]
                function["arguments"] += call["function"]["arguments"]
    return message, chunks[-1]["usage"]
