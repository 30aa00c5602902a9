"""The largest possible output of a call, which a token limit reserves: whole numbers only, under any name and at any place of the body."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.inference_request import parse_request
from serving_ui.gateway.snapshot import Limit
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.gateway.test_retries import GOOD
from tests.support.recordings import RECORDINGS
from tests.support.vendor import Vendor

_names = count()


def limited(gateway: GatewayServer, vendor: Vendor, most: int = 100, task: Task = Task.CHAT) -> str:
    """The name of a new endpoint with a limit of `most` tokens a minute."""
    vendor.set_answers(GOOD)
    name = f"limited-{next(_names)}"
    gateway.add(
        endpoint(name, entity(base=vendor.url, task=task), limits=(Limit("endpoint", most, "tokens"),))
    )
    return name


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("max_tokens", {"max_tokens": 5000.0}),
    ("max_tokens", {"max_tokens": "5000"}),
    ("max_tokens", {"max_tokens": 50.5}),
    ("max_tokens", {"max_tokens": True}),
    ("max_tokens", {"max_tokens": [5000]}),
    ("max_tokens", {"max_tokens": {"n": 5000}}),
    ("max_tokens", {"max_tokens": 0}),
    ("max_tokens", {"max_tokens": -5}),
    ("max_tokens", {"max_tokens": 10**30}),
    ("max_completion_tokens", {"max_completion_tokens": "50"}),
    ("n", {"max_tokens": 50, "n": 100.0}),
    ("n", {"max_tokens": 50, "n": "100"}),
    ("n", {"max_tokens": 50, "n": 0}),
    ("best_of", {"max_tokens": 50, "best_of": "100"}),
    ("max_tokens", {"extra_params": {"max_tokens": "5000.0"}}),
    ("max_tokens", {"extra_params": {"max_tokens": '"5000"'}}),
    ("max_tokens", {"extra_params": {"max_tokens": "many"}}),
    ("max_tokens", {"extra_params": {"max_tokens": "1e400"}}),
    ("max_tokens", {"extra_params": {"max_tokens": "NaN"}}),
    ("max_tokens", {"extra_params": {"max_tokens": "true"}}),
    ("generationConfig.maxOutputTokens", {"generationConfig": {"maxOutputTokens": "5000"}}),
    ("generationConfig.maxOutputTokens", {"extra_params": {"generationConfig": '{"maxOutputTokens": 5e3}'}}),
    ("inferenceConfig.maxTokens", {"inferenceConfig": {"maxTokens": 5000.0}}),
    ("thinking.budget_tokens", {"thinking": {"type": "enabled", "budget_tokens": "5000"}}),
]


@pytest.mark.parametrize(("name", "fields"), WRONG, ids=[f"{name} {fields}" for name, fields in WRONG])
def test_an_output_size_that_is_no_whole_number_is_refused_by_name(
    gateway: GatewayServer, vendor: Vendor, name: str, fields: dict[str, Any]
):
    for endpoint_name in (limited(gateway, vendor), limited(gateway, vendor, most=10**12)):
        answer = gateway.query(endpoint_name, {**CHAT, **fields})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert f"The field {name} must be a whole number" in answer.json()["message"]
    assert not vendor.requests
    assert {each.completeness for each in gateway.usage.records} == {"failed"}


def test_a_refused_output_size_reserves_no_tokens(gateway: GatewayServer, vendor: Vendor):
    name = limited(gateway, vendor)
    for _ in range(3):
        assert gateway.query(name, {**CHAT, "max_tokens": 90.0}).status_code == 400
    assert gateway.query(name, {**CHAT, "max_tokens": 90}).status_code == 200


COUNTED: list[dict[str, Any]] = [
    {"max_tokens": 5000},
    {"max_completion_tokens": 5000},
    {"max_tokens": 50, "n": 100},
    {"max_tokens": 50, "best_of": 100},
    {"max_tokens": 1, "max_completion_tokens": 5000},
    {"max_tokens": 1, "extra_params": {"max_completion_tokens": "5000"}},
    {"extra_params": {"max_tokens": "5000"}},
    {"extra_params": {"max_tokens": " 5000 "}},
    {"extra_params": {"max_tokens": "50", "n": "100"}},
    {"extra_params": {"max_tokens": 5000}},
    {"max_output_tokens": 5000},
    {"maxOutputTokens": 5000},
    {"maxOutput_tokens": 5000},
    {"max__output_tokens": 5000},
    {"maxTokens": 5000},
    {"max_tokens_to_sample": 5000},
    {"max_new_tokens": 5000},
    {"max_gen_len": 5000},
    {"n_predict": 5000},
    {"max_tokens": 50, "numResults": 100},
    {"max_tokens": 50, "num_generations": 100},
    {"max_tokens": 50, "candidateCount": 100},
    {"generationConfig": {"maxOutputTokens": 5000}},
    {"generation_config": {"max_output_tokens": 50, "candidate_count": 100}},
    {"extra_params": {"generationConfig": '{"maxOutputTokens": 5000}'}},
    {"inferenceConfig": {"maxTokens": 5000}},
    {"additionalModelRequestFields": {"max_gen_len": 5000}},
    {"parameters": {"max_new_tokens": 5000}},
    {"options": {"num_predict": 5000}},
    {"thinking": {"type": "enabled", "budget_tokens": 5000}},
    {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 5000}}},
    {"extra_params": {"thinking": '{"type": "enabled", "budget_tokens": 5000}'}},
    {"generationConfig": {"thinkingConfig": {"thinkingBudget": 5000}}},
    {"reasoning": {"max_tokens": 5000}},
]


@pytest.mark.parametrize("fields", COUNTED, ids=str)
def test_every_parameter_of_the_output_size_is_reserved(
    gateway: GatewayServer, vendor: Vendor, fields: dict[str, Any]
):
    answer = gateway.query(limited(gateway, vendor), {**CHAT, **fields})
    assert answer.status_code == 400
    assert "up to 5002 tokens" in answer.json()["message"]
    assert not vendor.requests


TEXT = "x" * 4000
TOOL = [{"type": "function", "function": {"name": "f", "description": TEXT}}]
NAMED = {"type": "object", "properties": {TEXT: {"type": "string"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": TEXT}}}
READ: list[dict[str, Any]] = [
    {"tools": TOOL},
    {"functions": [{"name": "f", "description": TEXT}]},
    {"response_format": SCHEMA},
    {"system": TEXT},
    {"system": [{"type": "text", "text": TEXT}]},
    {"systemInstruction": {"parts": [{"text": TEXT}]}},
    {"documents": [{"data": {"text": TEXT}}]},
    {"prediction": {"type": "content", "content": TEXT}},
    {"guided_json": {"description": TEXT}},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": NAMED}}]},
    {
        "tools": [
            {"function": {"parameters": {"properties": {"id": {"type": "string", "description": TEXT}}}}}
        ]
    },
]


@pytest.mark.parametrize("place", ["body", "extra", "text"])
@pytest.mark.parametrize("fields", READ, ids=lambda fields: str(fields).replace(TEXT, "…"))
def test_every_text_that_the_model_reads_is_counted(
    gateway: GatewayServer, vendor: Vendor, fields: dict[str, Any], place: str
):
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
    more = {"body": fields, "extra": {"extra_params": fields}, "text": {"extra_params": texts}}[place]
    answer = gateway.query(limited(gateway, vendor), {**CHAT, "max_tokens": 1, **more})
    assert answer.status_code == 400
    assert "so it can never be admitted" in answer.json()["message"]
    assert not vendor.requests


@pytest.mark.parametrize(
    "more",
    [
        {"instructions": TEXT},
        {"input": TEXT},
        {"input": TEXT, "messages": CHAT["messages"]},
        {"input": f"data:{TEXT}"},
        {"input": [{"role": "user", "content": f"data:{TEXT}"}]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": TEXT}]}]},
        {"tools": [{"type": "function", "name": "f", "description": TEXT}]},
        {"text": {"format": {"type": "json_schema", "name": "s", "schema": NAMED}}},
        {"prompt": {"id": "pmpt_1", "variables": {"city": TEXT}}},
        {"extra_params": {"instructions": TEXT}},
    ],
    ids=lambda more: str(more).replace(TEXT, "…"),
)
def test_every_text_of_a_responses_request_is_counted(
    gateway: GatewayServer, vendor: Vendor, more: dict[str, Any]
):
    body = {"model": limited(gateway, vendor), "input": "x", "max_output_tokens": 1, **more}
    answer = gateway.post("responses", body)
    assert answer.status_code == 400
    assert "so it can never be admitted" in answer.json()["message"]
    assert not vendor.requests


def test_metadata_and_image_data_are_not_counted(gateway: GatewayServer, vendor: Vendor):
    url = {"url": f"data:image/png;base64,{TEXT}"}
    fields = {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}],
        "metadata": {"note": TEXT},
        "user": TEXT,
        "usage_context": {"team": TEXT},
        "extra_params": {"prompt_cache_key": TEXT, "images": [url["url"]]},
    }
    assert gateway.query(limited(gateway, vendor), {**fields, "max_tokens": 90}).status_code == 200


def expected_output(body: dict[str, Any], task: Task = Task.CHAT) -> tuple[int, bool]:
    request = parse_request({**CHAT, **body}, task=task, is_response=False)
    return request.max_output_tokens, request.is_unbounded


def test_the_output_of_each_prompt_is_counted():
    body = {"max_tokens": 30, "n": 2}
    assert expected_output({**body, "prompt": ["one", "two", "three"]}, Task.COMPLETIONS) == (180, False)
    assert expected_output({**body, "prompt": [[15339, 1917], [0]]}, Task.COMPLETIONS) == (120, False)
    assert expected_output({**body, "prompt": [15339, 1917, 0]}, Task.COMPLETIONS) == (60, False)
    assert expected_output({**body, "prompt": "one"}, Task.COMPLETIONS) == (60, False)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_tokens": None, "n": None, "best_of": None},
        {"extra_params": None},
        {"extra_params": {"max_tokens": "null"}},
        {"max_tokens": None, "extra_params": {"max_tokens": "5000"}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"n": 1.5}}}}]},
        {"metadata": {"max_tokens": "5000"}},
        {"reasoning": {"effort": "high"}},
    ],
    ids=str,
)  # fmt: skip
def test_null_and_values_that_are_no_parameters_leave_the_output_unbounded(fields: dict[str, Any]):
    assert expected_output(fields) == (0, True)


def test_only_a_completion_may_have_max_tokens_of_0():
    assert expected_output({"prompt": "x", "max_tokens": 0, "echo": True}, Task.COMPLETIONS) == (0, True)
    with pytest.raises(GatewayError, match="from 1 to"):
        expected_output({"max_tokens": 0})


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("5000", 5000),
        ("0.5", 0.5),
        ("-1", -1),
        ("true", True),
        ("null", None),
        ('["a", "b"]', ["a", "b"]),
        ('{"type": "enabled"}', {"type": "enabled"}),
        ('"5000"', "5000"),
        ("auto", "auto"),
        ("true enough", "true enough"),
        ("007", "007"),
        ("2026-11-27", "2026-11-27"),
        ("{not json", "{not json"),
        ("NaN", "NaN"),
        ("1e400", "1e400"),
        ("", ""),
        (7, 7),
        ({"a": "5"}, {"a": "5"}),
    ],
)
def test_a_string_in_extra_params_is_sent_as_the_json_value_it_contains(
    gateway: GatewayServer, vendor: Vendor, text: Any, sent: Any
):
    name = limited(gateway, vendor, most=10**6)
    assert gateway.query(name, {**CHAT, "extra_params": {"own": text}}).status_code == 200
    assert vendor.requests[0].json["own"] == sent


def test_a_string_parameter_of_openai_that_looks_like_a_number_stays_a_string(
    gateway: GatewayServer, vendor: Vendor
):
    name = limited(gateway, vendor, most=10**6)
    gateway.query(name, {**CHAT, "extra_params": {"user": "12345", "stop": '["5", "END"]', "seed": "7"}})
    body = vendor.requests[0].json
    assert (body["user"], body["stop"], body["seed"]) == ("12345", ["5", "END"], 7)


@pytest.mark.parametrize(
    ("extra", "most"),
    [({"max_tokens": "77", "temperature": "0.5"}, 77), ({"generationConfig": '{"maxOutputTokens": 78}'}, 78)],
)
def test_the_counted_output_size_is_the_one_sent_to_google(extra: dict[str, str], most: int):
    recorded = next(each for each in RECORDINGS if str(each) == "google-cloud-vertex-ai-hello")
    request = parse_request({**CHAT, "extra_params": extra}, task=Task.CHAT, is_response=False)
    assert request.max_output_tokens == most
    assert (
        json.loads(recorded.build_request(request.body).body or b"")["generationConfig"]["maxOutputTokens"]
        == most
    )
