"""The accepted bodies that take the longest to translate stay within a time limit, for every provider."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import UnsupportedRequest
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.inference_request import InferenceRequest, parse_request, read_body
from serving_ui.lib.json_text import MAX_DEPTH, REQUEST_BOUNDS
from serving_ui.lib.request import QUERY_BODY
from tests.support.recordings import RECORDINGS, Recording

pytestmark = pytest.mark.slow

MAX_SECONDS = 10.0
"""Of processor time, from the bytes to the request for the provider. Measured: 0.8 s at most on a quiet machine."""
ROOM = QUERY_BODY.max_bytes - 1000
HALF, SIXTH = REQUEST_BOUNDS.containers // 2 - 10, REQUEST_BOUNDS.containers // 6 - 10
KEY = {Task.CHAT: "messages", Task.COMPLETIONS: "prompt", Task.EMBEDDINGS: "input"}


def message(content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [message("a"), *messages], **more}


def deep(levels: int) -> Any:
    value: Any = "a"
    for _ in range(levels):
        value = [value]
    return value


def call(number: int, arguments: str = "{}") -> dict[str, Any]:
    return {"id": f"call-{number}", "type": "function", "function": {"name": "f", "arguments": arguments}}


def tool(number: int, schema: Any = None) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": f"f{number}", "parameters": schema or {"type": "object"}},
    }


def called(count: int, arguments: str, result: str) -> list[dict[str, Any]]:
    calls = [call(number, arguments) for number in range(count)]
    results = [{"role": "tool", "tool_call_id": each["id"], "content": result} for each in calls]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *results]


LISTS = json.dumps({"a": [[]] * 4000})
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBO" * (ROOM // 4 - 100)}}
BODIES: dict[str, dict[str, Any]] = {
    "a text": chat(message("word " * (ROOM // 5))),
    "white space": chat(message(" " * ROOM)),
    "line breaks": chat(message("\n" * (ROOM // 2 - 100))),
    "characters beyond ASCII": chat(message("秘" * (ROOM // 6 - 100))),
    "brackets": chat(message("[" * (REQUEST_BOUNDS.brackets - 10))),
    "an image": chat(message([{"type": "text", "text": "a"}, IMAGE])),
    "messages": chat(*([message("a"), message("b", "assistant")] * HALF)),
    "messages of one role": chat(*([message("a")] * (2 * HALF))),
    "system messages": chat(*([message("a", "system")] * (2 * HALF))),
    "parts": chat(message([{"type": "text", "text": "a"}] * (2 * HALF - 10))),
    "tools": chat(tools=[tool(number) for number in range(SIXTH)]),
    "tools of a provider's own": chat(tools=[tool(number) for number in range(SIXTH)] + [{f"own{number}": {}} for number in range(SIXTH)]),
    "a deep tool": chat(tools=[tool(1, {"a": deep(MAX_DEPTH - 10)})]),
    "tool calls": chat(*called(SIXTH, "{}", "a"), tools=[tool(0)]),
    "tool calls with lists": chat(*called(49, LISTS, LISTS), tools=[tool(0)]),
    "one tool call with much": chat(*called(1, json.dumps({"a": "x" * (ROOM // 3)}), "x" * (ROOM // 3)), tools=[tool(0)]),
    "depth": chat(extra_params={"a": deep(MAX_DEPTH - 10)}),
    "deep content": chat(message(deep(MAX_DEPTH - 10))),
    "names": chat(**{f"name-{number}": 1 for number in range(REQUEST_BOUNDS.names - 20)}),
    "stops": chat(stop=["a"] * (REQUEST_BOUNDS.values - 20)),
    "numbers": chat(logit_bias={f"{number}": 1 for number in range(REQUEST_BOUNDS.names - 20)}),
    "a prompt": {"prompt": "word " * (ROOM // 5)},
    "prompts": {"prompt": ["a"] * REQUEST_BOUNDS.values},
    "a prompt of tokens": {"prompt": [1] * REQUEST_BOUNDS.values},
    "an input": {"input": "word " * (ROOM // 5)},
    "inputs": {"input": ["a"] * REQUEST_BOUNDS.values},
    "an input of tokens": {"input": [1] * REQUEST_BOUNDS.values},
    "a deep input": {"input": deep(MAX_DEPTH - 10)},
}  # fmt: skip


def recordings(task: Task) -> Iterator[Recording]:
    """One recording of each provider."""
    yield from {each.provider.name: each for each in RECORDINGS if each.task is task}.values()


@pytest.mark.parametrize("name", BODIES)
def test_every_accepted_body_is_translated_within_the_time_limit(name: str):
    content = json.dumps(BODIES[name], ensure_ascii=name == "characters beyond ASCII").encode()
    assert len(content) <= QUERY_BODY.max_bytes
    began = time.process_time()
    body = read_body(content)
    reading = time.process_time() - began
    task = next(task for task, key in KEY.items() if key in body)
    for recorded in recordings(task):
        began = time.process_time()
        build_request(recorded, parse_request(body, task=task, is_response=False))
        seconds = reading + time.process_time() - began
        assert seconds < MAX_SECONDS, f"{recorded}: {seconds:.1f} s"


def build_request(recorded: Recording, inference_request: InferenceRequest) -> None:
    """Build the upstream request as the gateway does. The body may also be refused."""
    try:
        assert inference_request.expected_tokens >= 0
        recorded.build_request(inference_request.body)
    except (UnsupportedRequest, GatewayError):
        return


@pytest.mark.parametrize(
    "content",
    [
        b'{"input":[' + b"[]," * (ROOM // 3 - 10) + b"[]]}",
        b'{"input":[' + b"1," * (ROOM // 2 - 10) + b"1]}",
        b'{"input":[' + b'"[",' * (ROOM // 4 - 10) + b'""]}',
        b'{"input":[' + b'"\\\\",' * (ROOM // 5 - 10) + b'""]}',
        b"{" + b'"":1,' * (ROOM // 5 - 10) + b'"":1}',
        b'{"input":[' + b"1" * (ROOM - 100) + b"]}",
        b'{"input":[' + (b"1" * 4300 + b",") * (ROOM // 4301 - 10) + b"1]}",
        b'{"input":' + b"[" * (ROOM - 100),
        b'{"input":"' + b"[" * (ROOM - 100) + b'"}',
        b'{"input":"' + b'\\"' * (ROOM // 2 - 100),
    ],
    ids=["lists", "numbers", "texts", "escaped", "names", "digits", "long numbers", "depth", "brackets", "no end"],
)  # fmt: skip
def test_bodies_that_would_take_longer_are_refused_quickly(content: bytes):
    began = time.process_time()
    with pytest.raises(GatewayError, match="cannot be read"):
        read_body(content)
    assert time.process_time() - began < MAX_SECONDS
