"""Every provider builds an upstream request from any body or refuses it with a message; nothing else is raised."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import completion_create_params as of_completions
from openai.types import embedding_create_params as of_embeddings
from openai.types.chat import completion_create_params as of_chats

from serving_ui.catalogue.openai_request import OPENAI_FIELDS
from serving_ui.catalogue.upstream import UnsupportedRequest
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.inference_request import read_body
from tests.catalogue.test_any_body import ANYTHING
from tests.support.recordings import RECORDINGS, Recording, replace_value

NEEDED = frozenset({"messages", "prompt", "input", "stream"})
"""The gateway looks at these before: they are there, of the right type and not empty."""
PROVIDERS_OWN = {
    *(
        "thinking",
        "top_k",
        "system",
        "output_config",
        "stop_sequences",
        "p",
        "documents",
        "strict_tools",
        "texts",
    ),
    *(
        "inferenceConfig",
        "toolConfig",
        "outputConfig",
        "additionalModelRequestFields",
        "inputText",
        "input_type",
    ),
    *(
        "generationConfig",
        "thinkingConfig",
        "contents",
        "parameters",
        "instances",
        "task_type",
        "topP",
        "model",
    ),
}
NAMES = st.sampled_from(sorted(OPENAI_FIELDS - NEEDED | PROVIDERS_OWN | {"extra_params"}))
every_recording = pytest.mark.parametrize("recorded", RECORDINGS, ids=str)


TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
SCHEMA = {"name": "x", "schema": {"type": "object", "properties": {}}}
WITH_OUR_DEFAULT = {"input_type"}
"""What has a default of ours that the caller may replace."""
PARAMETER_VALUES: dict[str, list[Any]] = {
    "n": [2],
    "best_of": [2],
    "echo": [True],
    "suffix": ["x"],
    "max_tokens": [7],
    "max_completion_tokens": [7],
    "temperature": [0, 0.5, 2],
    "top_p": [0, 0.5],
    "stop": ["END", ["A", "B"]],
    "seed": [7],
    "frequency_penalty": [0.5],
    "presence_penalty": [0.5],
    "logit_bias": [{"5": 1}],
    "logprobs": [True, 3, 0],
    "top_logprobs": [2],
    "response_format": [{"type": "json_object"}, {"type": "json_schema", "json_schema": SCHEMA}],
    "tools": [TOOLS],
    "tool_choice": ["none", "required", {"type": "function", "function": {"name": "f"}}],
    "parallel_tool_calls": [False],
    "functions": [[{"name": "f"}]],
    "function_call": ["auto", {"name": "f"}],
    "modalities": [["audio"]],
    "audio": [{"voice": "x", "format": "wav"}],
    "prediction": [{"type": "content", "content": "x"}],
    "reasoning_effort": ["none", "minimal", "low", "high"],
    "service_tier": ["flex", "priority"],
    "store": [True],
    "metadata": [{"team": "a"}],
    "web_search_options": [{}],
    "verbosity": ["low"],
    "moderation": [{"model": "x"}],
    "dimensions": [5],
    "encoding_format": ["int8"],
}
NEEDING_MORE: dict[str, dict[str, Any]] = {
    "tool_choice": {"tools": TOOLS},
    "parallel_tool_calls": {"tools": TOOLS},
    "top_logprobs": {"logprobs": True},
}
ONE_OF_EACH = {
    (each.provider.name, each.task): each
    for each in RECORDINGS
    if each.wire_format.translate_response is not None
}


OF_THE_VENDOR = [
    (each, name)
    for each in RECORDINGS
    for name in (each.request["body"] if each.wire_format.translate_response is not None else ())
    if name
    not in OPENAI_FIELDS
    | WITH_OUR_DEFAULT
    | each.openai_request.keys()
    | each.openai_request.get("extra_params", {}).keys()
]


@pytest.mark.parametrize(("recorded", "name"), OF_THE_VENDOR, ids=str)
def test_a_vendor_parameter_that_repeats_an_openai_parameter_is_refused(recorded: Recording, name: str):
    """A body that repeats an OpenAI parameter under the vendor's name is refused with that name."""
    with pytest.raises(UnsupportedRequest, match=name):
        recorded.build_request({**recorded.openai_request, name: "something else"})


def minimal_request(recorded: Recording) -> dict[str, Any]:
    """A request with the required parameters only."""
    needed = {name: value for name, value in recorded.openai_request.items() if name in NEEDED}
    return needed | ({"messages": [{"role": "user", "content": "x"}]} if "messages" in needed else {})


@pytest.mark.parametrize("name", PARAMETER_VALUES)
@pytest.mark.parametrize("recorded", ONE_OF_EACH.values(), ids=str)
def test_each_openai_parameter_changes_the_request_or_is_refused_by_name(recorded: Recording, name: str):
    """No parameter is dropped silently."""
    openai_request = minimal_request(recorded) | NEEDING_MORE.get(name, {})
    try:
        plain = recorded.build_request(openai_request).body
    except UnsupportedRequest:
        return  # the provider does not support the feature of the parameter
    for value in PARAMETER_VALUES[name]:
        try:
            sent = recorded.build_request({**openai_request, name: value}).body
        except UnsupportedRequest as refusal:
            assert name in str(refusal)
        else:
            assert sent != plain, value


@pytest.mark.parametrize(
    "request_of_openai",
    [
        of_chats.CompletionCreateParamsBase,
        of_completions.CompletionCreateParamsBase,
        of_embeddings.EmbeddingCreateParams,
    ],
    ids=["chat", "completions", "embeddings"],
)
def test_unsupported_openai_parameters_are_not_passed_on(request_of_openai: type):
    """Parameters of OpenAI's client that a provider does not support are refused, not passed on."""
    assert get_type_hints(request_of_openai).keys() <= OPENAI_FIELDS


def build_or_refuse(recorded: Recording, openai_request: dict[str, Any], *, checked: bool = True) -> None:
    """Parse the body as the gateway does, which refuses lone surrogates and infinite numbers, and build the request.

    Vendor parameters in `extra_params` are passed on unchecked.
    """
    try:
        body = read_body(json.dumps(openai_request).encode())
        request = recorded.build_request(body, checked=checked)
    except (UnsupportedRequest, GatewayError) as refusal:
        assert str(refusal)
    else:
        assert isinstance(json.loads(request.body or b""), dict)


@every_recording
@settings(deadline=None, max_examples=30)
@given(at=st.integers(0, 1000), value=ANYTHING)
def test_a_request_with_one_changed_value_is_built_or_refused(recorded: Recording, at: int, value: Any):
    openai_request = replace_value(recorded.openai_request, at, value)
    for name in NEEDED & recorded.openai_request.keys():
        if not openai_request[name] or type(openai_request[name]) is not type(recorded.openai_request[name]):
            openai_request[name] = recorded.openai_request[name]
    in_our_words = all(
        openai_request.get(name) == recorded.openai_request.get(name) for name in PROVIDERS_OWN
    )
    build_or_refuse(recorded, openai_request, checked=in_our_words)


@every_recording
@settings(deadline=None, max_examples=30)
@given(more=st.dictionaries(NAMES, ANYTHING, min_size=1, max_size=3))
def test_a_request_with_random_parameters_is_built_or_refused(recorded: Recording, more: dict[str, Any]):
    in_our_words = not more.keys() & PROVIDERS_OWN
    build_or_refuse(recorded, {**recorded.openai_request, **more}, checked=in_our_words)
