"""Token counts: the last ones that the provider reported are recorded, however its answer ends; cached and reasoning tokens separately."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from serving_ui.gateway.record import Record
from serving_ui.gateway.snapshot import Limit
from serving_ui.gateway.token_counter import TokenCounter, estimate
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.gateway.test_records import DONE, END, chunk
from tests.gateway.test_reported_failures import event
from tests.gateway.test_responses import BEGIN, DELTA, RESPONSE, named_event
from tests.support import event_stream_frames as frames
from tests.support.recordings import RECORDINGS, Recording
from tests.support.vendor import Answer, Vendor, running_vendor
from tests.support.waiting import wait_until

STREAM = {**CHAT, "stream": True}
REPLY = "Four hundred characters, or so. " * 12

NAMED = {str(each): each for each in RECORDINGS}


def start(**usage: int) -> bytes:
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": usage,
    }  # fmt: skip
    return event({"type": "message_start", "message": message}, "message_start")


TEXT = event(
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": REPLY}},
    "content_block_start",
)


def add_endpoint(gateway: GatewayServer, vendor: Vendor, recorded: Recording, **changes: Any) -> None:
    """Add the endpoint `vendor` with the model of a recording."""
    config = recorded.config(vendor.url)
    gateway.add_endpoint(vendor, provider=recorded.provider.name, model=recorded.model, config=config)
    made = gateway.holder.current.endpoints["vendor"]
    gateway.add(replace(made, **changes))
    token = Answer.json({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
    vendor.set_answers(token, at="/token")


def record_of_disconnect(gateway: GatewayServer, name: str = "vendor") -> Record:
    """The record of a streamed query whose caller disconnects after the first event."""
    with gateway.query(name, STREAM, stream=True) as answer:
        next(answer.iter_lines())
    wait_until(lambda: gateway.usage.records)
    return gateway.usage.last


def test_after_a_disconnect_the_counts_of_anthropics_first_event_are_recorded(
    gateway: GatewayServer, vendor: Vendor
):
    add_endpoint(gateway, vendor, NAMED["anthropic-hello"])
    begin = start(
        input_tokens=5_000, cache_read_input_tokens=12_000, cache_creation_input_tokens=8_000, output_tokens=1
    )
    vendor.set_answers(Answer.stream(begin, threading.Event()))
    record = record_of_disconnect(gateway)
    assert (record.status, record.completeness) == (499, "client_left")
    assert (record.tokens_in, record.tokens_out, record.tokens_source) == (25_000, 0, "reported")
    assert (record.tokens_cached, record.tokens_cache_written) == (12_000, 8_000)


@pytest.mark.parametrize("cut", [True, False])
def test_the_output_of_a_stream_that_ends_early_is_estimated_beside_the_reported_input(
    gateway: GatewayServer, vendor: Vendor, cut: bool
):
    add_endpoint(gateway, vendor, NAMED["anthropic-hello"])
    vendor.set_answers(Answer.stream(start(input_tokens=25_000, output_tokens=1), TEXT, cut=cut))
    gateway.query("vendor", STREAM)
    record = gateway.usage.last
    assert (record.completeness, record.tokens_source) == ("truncated", "mixed")
    assert (record.tokens_in, record.tokens_out) == (25_000, estimate(len(REPLY)))


def test_reported_counts_remain_when_a_stream_fails_afterwards(gateway: GatewayServer, vendor: Vendor):
    add_endpoint(gateway, vendor, NAMED["anthropic-hello"])
    usage_event = event(
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 77}}, "message_delta"
    )
    failed = event({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, "error")
    vendor.set_answers(Answer.stream(start(input_tokens=25_000, output_tokens=1), TEXT, usage_event, failed))
    gateway.query("vendor", STREAM)
    record = gateway.usage.last
    assert (record.completeness, record.tokens_source) == ("truncated", "reported")
    assert (record.tokens_in, record.tokens_out) == (25_000, 77)


def test_after_a_disconnect_a_token_limit_is_settled_with_the_reported_counts(
    gateway: GatewayServer, vendor: Vendor
):
    """The limit is 26,000 tokens; the call reserves 100, and has used 25,000 when its caller disconnects."""
    add_endpoint(gateway, vendor, NAMED["anthropic-hello"], limits=(Limit("endpoint", 26_000, "tokens"),))
    vendor.set_answers(Answer.stream(start(input_tokens=25_000, output_tokens=1), threading.Event()))
    with gateway.query("vendor", {**STREAM, "max_tokens": 100}, stream=True) as answer:
        next(answer.iter_lines())
    wait_until(lambda: gateway.usage.records)
    assert gateway.query("vendor", {**CHAT, "max_tokens": 2_000}).status_code == 429


def google(text: str, **usage: int) -> bytes:
    content = {"candidates": [{"content": {"parts": [{"text": text}]}}], "usageMetadata": usage}
    return event(content)


UNFINISHED: list[tuple[str, bytes, tuple[int, int, int, int, int, str]]] = [
    (
        "google-cloud-vertex-ai-stream-hello",
        google(
            "a",
            promptTokenCount=900,
            candidatesTokenCount=3,
            thoughtsTokenCount=40,
            cachedContentTokenCount=600,
            totalTokenCount=943,
        ),
        (900, 43, 600, 0, 40, "reported"),
    ),
    (
        "google-cloud-vertex-ai-stream-hello",
        google(REPLY, promptTokenCount=900, totalTokenCount=900),
        (900, estimate(len(REPLY)), 0, 0, 0, "mixed"),
    ),
    (
        "ai21labs-stream-hello",
        event(
            {
                "id": "x",
                "choices": [{"index": 0, "delta": {"content": "a"}}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
            }
        ),
        (9, 4, 0, 0, 0, "reported"),
    ),
    (
        "custom-stream-hello",
        chunk(
            "a",
            usage={
                "prompt_tokens": 900,
                "completion_tokens": 12,
                "total_tokens": 912,
                "prompt_tokens_details": {"cached_tokens": 512, "cache_write_tokens": 256},
                "completion_tokens_details": {"reasoning_tokens": 11},
            },
        ),
        (900, 12, 512, 256, 11, "reported"),
    ),
]


@pytest.mark.parametrize(("name", "usage_event", "expected"), UNFINISHED)
def test_counts_of_an_unfinished_stream_are_recorded(
    gateway: GatewayServer, vendor: Vendor, name: str, usage_event: bytes, expected: tuple[Any, ...]
):
    add_endpoint(gateway, vendor, NAMED[name])
    vendor.set_answers(Answer.stream(usage_event, threading.Event()))
    assert token_counts(record_of_disconnect(gateway)) == expected


def token_counts(record: Record) -> tuple[int, int, int, int, int, str]:
    return (
        record.tokens_in,
        record.tokens_out,
        record.tokens_cached,
        record.tokens_cache_written,
        record.tokens_reasoning,
        record.tokens_source,
    )


def test_counts_of_bedrock_are_recorded_when_its_stream_fails_afterwards(
    gateway: GatewayServer, vendor: Vendor
):
    add_endpoint(gateway, vendor, NAMED["amazon-bedrock-stream-hello"])
    usage = {"inputTokens": 10, "outputTokens": 20, "cacheReadInputTokens": 300, "cacheWriteInputTokens": 50}
    content = frames.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": REPLY}})
    usage_event = frames.event("metadata", {"usage": {**usage, "totalTokens": 380}})
    failed = frames.event("modelStreamErrorException", {"message": "x"})
    vendor.set_answers(Answer.stream(content, usage_event, failed, kind=frames.CONTENT_TYPE))
    gateway.query("vendor", STREAM)
    assert gateway.usage.last.completeness == "truncated"
    assert token_counts(gateway.usage.last) == (360, 20, 300, 50, 0, "reported")


def test_counts_of_a_failed_model_are_recorded(gateway: GatewayServer, vendor: Vendor):
    add_endpoint(gateway, vendor, NAMED["cohere-stream-hello"])
    usage = {"tokens": {"input_tokens": 70, "output_tokens": 9}, "cached_tokens": 64}
    end = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "x", "usage": usage}}
    vendor.set_answers(Answer.stream(event(end)))
    assert gateway.query("vendor", STREAM).status_code == 500
    assert gateway.usage.last.completeness == "failed"
    assert token_counts(gateway.usage.last) == (70, 9, 64, 0, 0, "reported")


def test_token_details_of_an_incomplete_response_are_recorded(gateway: GatewayServer, vendor: Vendor):
    gateway.add(endpoint("model", entity(base=vendor.url)))
    usage = {
        "input_tokens": 90,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 16},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 25},
        "total_tokens": 120,
    }
    response = {**RESPONSE, "status": "incomplete", "usage": usage}
    vendor.set_answers(Answer.stream(BEGIN, DELTA, named_event("response.incomplete", response=response)))
    assert gateway.post("responses", {"model": "model", "input": "x", "stream": True}).status_code == 200
    assert token_counts(gateway.usage.last) == (90, 30, 64, 16, 25, "reported")


def test_tokens_of_a_failed_attempt_before_a_fallback_are_added(gateway: GatewayServer, vendor: Vendor):
    """The first model gives an unusable answer, the second a good one."""
    recorded = NAMED["amazon-bedrock-hello"]
    add_endpoint(gateway, vendor, recorded)
    failing = replace(gateway.holder.current.endpoints["vendor"].entities[0], name="failing")
    with running_vendor() as other:
        served = (failing, entity(base=other.url, name="working"))
        gateway.add(
            endpoint("both", failing, entities=served, fallback=True, routes=(("failing", 100), ("working", 0)))
        )  # fmt: skip
        vendor.set_answers(Answer.json({**recorded.reply, "stopReason": "malformed_model_output"}))
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        other.set_answers(Answer.json({"choices": [{"message": {"content": "Hi."}}], "usage": usage}))
        assert gateway.query("both").headers["served-model-name"] == "working"
    record = gateway.usage.last
    counts = recorded.answer["usage"] if recorded.answer else {}
    assert token_counts(record) == (
        counts["prompt_tokens"] + 3,
        counts["completion_tokens"] + 2,
        40,
        100,
        0,
        "reported",
    )


USAGE_FORMATS: list[tuple[str, dict[str, Any], tuple[int, int, int, int, int]]] = [
    ("nothing apart", {"prompt_tokens": 9, "completion_tokens": 4}, (9, 4, 0, 0, 0)),
    (
        "null",
        {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "prompt_tokens_details": None},
        (9, 4, 0, 0, 0),
    ),
    (
        "OpenAI",
        {
            "prompt_tokens": 900,
            "completion_tokens": 40,
            "total_tokens": 940,
            "prompt_tokens_details": {"cached_tokens": 512, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0},
        },
        (900, 40, 512, 0, 30),
    ),
    (
        "OpenAI's zeros",
        {
            "prompt_tokens": 900,
            "completion_tokens": 40,
            "total_tokens": 940,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        (900, 40, 0, 0, 0),
    ),
    (
        "Responses",
        {
            "input_tokens": 900,
            "output_tokens": 40,
            "input_tokens_details": {"cached_tokens": 512, "cache_write_tokens": 128},
            "output_tokens_details": {"reasoning_tokens": 30},
            "total_tokens": 940,
        },
        (900, 40, 512, 128, 30),
    ),
    (
        "LiteLLM",
        {
            "prompt_tokens": 900,
            "completion_tokens": 40,
            "total_tokens": 940,
            "prompt_tokens_details": {"cached_tokens": 512, "cache_creation_tokens": 128},
            "cache_read_input_tokens": 512,
            "cache_creation_input_tokens": 128,
        },
        (900, 40, 512, 128, 0),
    ),
    (
        "Anthropic, beside the input",
        {
            "input_tokens": 5,
            "cache_read_input_tokens": 2,
            "cache_creation_input_tokens": 1,
            "output_tokens": 4,
        },
        (8, 4, 2, 1, 0),
    ),
    (
        "a cache beside the prompt",
        {"prompt_tokens": 100, "completion_tokens": 4, "cache_read_input_tokens": 800, "total_tokens": 904},
        (900, 4, 800, 0, 0),
    ),
    (
        "xAI, reasoning beside the completion",
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "completion_tokens_details": {"reasoning_tokens": 94},
        },
        (32, 103, 0, 0, 94),
    ),
    (
        "DeepSeek",
        {
            "prompt_tokens": 90,
            "completion_tokens": 4,
            "total_tokens": 94,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 26,
        },
        (90, 4, 64, 0, 0),
    ),
    (
        "Moonshot",
        {"prompt_tokens": 90, "completion_tokens": 4, "total_tokens": 94, "cached_tokens": 64},
        (90, 4, 64, 0, 0),
    ),
]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    ("usage", "expected"), [each[1:] for each in USAGE_FORMATS], ids=[each[0] for each in USAGE_FORMATS]
)
def test_token_details_are_normalised_for_every_vendor(
    usage: dict[str, Any], expected: tuple[int, ...], is_first: bool, indent: int | None
):
    """In a whole reply, which is searched without parsing it, and in a chunk of a stream."""
    choices = {"choices": [{"message": {"content": "x"}}]}
    content = {"usage": usage, **choices} if is_first else {**choices, "usage": usage}
    whole, streamed = TokenCounter(), TokenCounter()
    assert whole.scan_reply(json.dumps(content, indent=indent).encode())
    streamed.read_chunk({"choices": [], "usage": usage})
    for counter in (whole, streamed):
        tokens_in, tokens_out, _source, *apart = counter.reported_counts()
        assert (tokens_in, tokens_out, *apart) == expected


def test_later_counts_replace_earlier_ones_unless_they_are_zero():
    counter = TokenCounter()
    for usage in (
        {"prompt_tokens": 900, "completion_tokens": 1},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": None, "completion_tokens": 40},
        {"prompt_tokens": 890, "completion_tokens": 38},
    ):
        counter.read_usage(usage)
    assert counter.reported_counts()[:2] == (890, 38)


def test_groqs_counts_are_read_from_x_groq(gateway: GatewayServer, vendor: Vendor):
    gateway.add(endpoint("model", entity(base=vendor.url)))
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    vendor.set_answers(Answer.stream(chunk("a"), END, chunk("", x_groq={"id": "r", "usage": usage}), DONE))
    gateway.query("model", STREAM)
    assert token_counts(gateway.usage.last)[:2] == (9, 4)


MOONSHOT = {"index": 0, "finish_reason": "stop", "usage": {"prompt_tokens": 9, "completion_tokens": 8}}
WITHIN = {
    "stream": Answer.stream(chunk("a"), event({"choices": [{**MOONSHOT, "delta": {}}]}), DONE),
    "whole": Answer.json({"choices": [{**MOONSHOT, "message": {"content": "x"}}], "usage": None}),
}


@pytest.mark.parametrize(("kind", "answer"), WITHIN.items(), ids=WITHIN)
def test_moonshots_counts_are_read_from_the_choice(
    gateway: GatewayServer, vendor: Vendor, kind: str, answer: Answer
):
    gateway.add(endpoint("model", entity(base=vendor.url)))
    vendor.set_answers(answer)
    gateway.query("model", {**CHAT, "stream": kind == "stream"})
    assert token_counts(gateway.usage.last) == (9, 8, 0, 0, 0, "reported")
