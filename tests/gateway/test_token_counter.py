"""The token counter finds the counts in any JSON format, and no reply of a provider raises an error in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.inference_request import InferenceRequest, parse_request
from serving_ui.gateway.token_counter import MAX_TOKENS, TokenCounter, estimate
from tests.catalogue.test_any_body import ANYTHING

COUNT = st.integers(-10, 2 * MAX_TOKENS) | st.floats() | st.none() | st.booleans() | st.text(max_size=3)
TEXT = st.text(max_size=20) | st.just('say "usage": {"prompt_tokens": 999, "completion_tokens": 999}')


def counted(content: bytes) -> tuple[int, int, bool]:
    counter = TokenCounter()
    counter.scan_reply(content)
    return counter.tokens_in, counter.tokens_out, counter.reported


@given(
    counts=st.tuples(st.integers(1, MAX_TOKENS - 1), st.integers(0, MAX_TOKENS - 1)),
    text=TEXT,
    details=st.none() | st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3),
    names=st.sampled_from([("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")]),
    style=st.tuples(st.none() | st.integers(0, 3), st.booleans()),
)
def test_counts_are_found_in_any_json_format(
    counts: tuple[int, int], text: str, details: Any, names: tuple[str, str], style: tuple[int | None, bool]
):
    indent, is_first = style
    usage = {names[0]: counts[0], "details": details, names[1]: counts[1], "total_tokens": sum(counts)}
    rest = {"choices": [{"message": {"content": text}}]}
    content = {"usage": usage, **rest} if is_first else {**rest, "usage": usage}
    assert counted(json.dumps(content, indent=indent).encode()) == (*counts, True)
    del usage["details"]
    assert counted(json.dumps(content, separators=(",", ":")).encode()) == (*counts, True)


@given(tokens_in=COUNT, tokens_out=COUNT)
def test_every_count_is_within_bounds(tokens_in: Any, tokens_out: Any):
    counter = TokenCounter()
    counter.read_usage({"prompt_tokens": tokens_in, "completion_tokens": tokens_out})
    assert 0 <= counter.tokens_in <= MAX_TOKENS
    assert 0 <= counter.tokens_out <= MAX_TOKENS
    assert type(counter.tokens_in) is type(counter.tokens_out) is int


@given(content=st.binary(max_size=80) | ANYTHING.map(lambda value: json.dumps({"usage": value}).encode()))
def test_any_bytes_are_scanned_without_an_error(content: bytes):
    tokens_in, tokens_out, _ = counted(content)
    assert 0 <= tokens_in <= MAX_TOKENS
    assert 0 <= tokens_out <= MAX_TOKENS


def test_reasoning_and_tool_arguments_are_counted():
    call = {"index": 0, "function": {"name": "f", "arguments": '{"city": "Rome"}'}}
    message = {"content": None, "reasoning_content": "Hm, Rome.", "tool_calls": [call]}
    streamed, whole = TokenCounter(), TokenCounter()
    streamed.read_chunk({"choices": [{"delta": message}]})
    whole.read_reply({"choices": [{"message": message}]})
    assert streamed.output_chars == whole.output_chars == len('{"city": "Rome"}') + len("Hm, Rome.")


def test_counts_of_an_event_take_precedence_over_those_of_its_choice():
    counter = TokenCounter()
    within = {"delta": {}, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    counter.read_chunk({"choices": [within], "usage": {"prompt_tokens": 9, "completion_tokens": 8}})
    assert counter.reported_counts()[:2] == (9, 8)


@given(chunk=st.dictionaries(st.sampled_from(["choices", "usage", "error"]), ANYTHING))
def test_any_chunk_is_counted_without_an_error(chunk: dict[str, Any]):
    counter = TokenCounter()
    counter.read_chunk(chunk)
    counter.read_response_event({"delta": chunk.get("choices"), "response": chunk})
    counter.read_reply(chunk)
    assert counter.output_chars >= 0


@given(
    body=st.dictionaries(
        st.sampled_from(["messages", "input", "prompt", "tools", "max_tokens", "n"]), ANYTHING
    )
)
def test_any_request_has_a_length_and_a_maximum_output(body: dict[str, Any]):
    assert InferenceRequest(body).text_length >= 0
    try:
        request = parse_request(body, task=Task.CHAT, is_response=True)
    except GatewayError as refused:
        assert refused.status == 400
    else:
        assert request.expected_tokens >= estimate(request.text_length)


@pytest.mark.parametrize(
    ("body", "length"),
    [
        ({"messages": [{"role": "user", "content": "Say hello."}]}, 10),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Look:"}]}]}, 5),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"image_url": {"url": "data:image/png;base64,AAAA"}}]}
                ]
            },
            0,
        ),
        ({"input": ["one", "three"]}, 8),
        ({"prompt": "Once"}, 4),
        ({"input": [[15339, 1917], [0]]}, 12),
    ],
)
def test_the_length_of_a_request_is_that_of_its_texts(body: dict[str, Any], length: int):
    assert InferenceRequest(body).text_length == length
    for more in ({"max_tokens": 30}, {"extra_params": {"max_tokens": "30"}}):
        request = parse_request({**body, **more, "n": 2}, task=Task.CHAT, is_response=True)
        assert request.expected_tokens == estimate(length) + 60
