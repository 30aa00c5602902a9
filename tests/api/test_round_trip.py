"""Hypothesis: every config that create and update accept reads back equal, and no response contains a pasted secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_ui.catalogue.block_parser import PLAINTEXT_SUFFIX
from serving_ui.catalogue.fields import ConfigField
from serving_ui.endpoints.models import Endpoint
from tests.api.conftest import Caller
from tests.catalogue.samples import CANARY, VARIANTS, Variant, put, sample
from tests.pages.conftest import settle

NUMBERS = count(1)
BOUNDED = settings(
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
LINE = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
NAME = st.text("abcXYZ019_-", min_size=1, max_size=63)
MODEL = st.text("abcz019-_.:/", min_size=1, max_size=40)


@st.composite
def blocks(draw: st.DrawFn, variant: Variant) -> dict[str, Any]:
    """A provider's config with its required fields and some optional ones."""
    required = {field.name for field in variant.required()}
    block: dict[str, Any] = {}
    for field in variant.shown():
        speaks = variant.implies_a_form_only_choice(field)
        if field.path and field.name in variant.answers:
            put(block, field.path, variant.answers[field.name])
        elif field.path and (field.name in required or speaks or draw(st.booleans())):
            put(block, *_value(draw, field))
    return block


def _value(draw: st.DrawFn, field: ConfigField) -> tuple[tuple[str, ...], str]:
    """(field name, value); for a secret its reference or its plaintext field."""
    if field.kind == "secret":
        if draw(st.booleans()):
            return field.path, "{{secrets/team/key}}"
        return (*field.path[:-1], field.path[-1] + PLAINTEXT_SUFFIX), CANARY + draw(
            st.sampled_from(["", "-2"])
        )
    if field.kind == "choice":
        return field.path, draw(st.sampled_from([value for value, _label in field.choices]))
    if field.kind == "url" or field.pattern:
        return field.path, sample(field)
    return field.path, draw(st.just(sample(field)) | LINE)


@st.composite
def entities(draw: st.DrawFn) -> dict[str, Any]:
    variant = draw(st.sampled_from(VARIANTS))
    model = {
        "provider": variant.provider.name,
        "name": draw(MODEL),
        "task": draw(st.sampled_from(variant.provider.tasks)).value,
        variant.provider.config_key: draw(blocks(variant)),
    }
    return {"external_model": model, **draw(st.fixed_dictionaries({}, optional={"name": NAME}))}


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    entity = draw(entities())
    config: dict[str, Any] = {"served_entities": [entity]}
    if "name" in entity and draw(st.booleans()):
        key = draw(st.sampled_from(["served_entity_name", "served_model_name"]))
        config["traffic_config"] = {"routes": [{key: entity["name"], "traffic_percentage": 100}]}
    return config


LIMITS = st.lists(
    st.fixed_dictionaries(
        {"calls": st.integers(0, 10**9), "key": st.sampled_from(["user", "endpoint"])},
        optional={"renewal_period": st.just("minute")},
    ),
    max_size=2,
    unique_by=lambda limit: limit["key"],
)
TAGS = st.lists(
    st.fixed_dictionaries({"key": LINE, "value": LINE}), max_size=4, unique_by=lambda tag: tag["key"]
)
FLAG = st.fixed_dictionaries({"enabled": st.booleans()})
GATEWAY = st.fixed_dictionaries({}, optional={"usage_tracking_config": FLAG, "fallback_config": FLAG})
ENDPOINTS = st.fixed_dictionaries(
    {"config": configs()},
    optional={"description": LINE, "tags": TAGS, "rate_limits": LIMITS, "ai_gateway": GATEWAY},
)


@pytest.fixture(autouse=True)
def scope(api: Caller) -> Iterator[None]:
    """The secret scope that the references name."""
    api.request_json("POST", "/secrets/scopes/create", {"scope": "team"})
    api.request_json("POST", "/secrets/put", {"scope": "team", "key": "key", "string_value": CANARY})
    yield


@BOUNDED
@given(body=ENDPOINTS, changed=configs())
def test_an_accepted_config_reads_back_equal(
    api: Caller, body: dict[str, Any], changed: dict[str, Any]
) -> None:
    name = f"made-{next(NUMBERS)}"
    path = f"/serving-endpoints/{name}"
    made = api.request_json("POST", "/serving-endpoints", {"name": name, **body})
    made.pop("warnings", None)
    assert api.get(path) == made
    assert_contains(made, body)
    assert_contains(made["pending_config"], body["config"])

    settle(Endpoint.objects.get(name=name), "active")
    api.request_json("PUT", f"{path}/config", changed)
    updated = api.get(path)
    assert_contains(updated["config"], body["config"])
    assert_contains(updated["pending_config"], changed)
    listed = next(each for each in api.get("/serving-endpoints")["endpoints"] if each["name"] == name)
    for field in ("id", "description", "tags", "state", "creation_timestamp"):
        assert listed[field] == updated[field]
    versions = api.get(f"{path}/config-versions")["config_versions"]
    assert [version["config_version"] for version in versions] == [2, 1]
    for answer in (made, updated, versions, api.get(f"{path}/events")):
        assert CANARY not in json.dumps(answer)
    api.request_json("DELETE", path)


def assert_contains(answer: Any, sent: Any, at: str = "") -> None:
    """Assert that `answer` contains everything that was `sent`; it may contain more."""
    if isinstance(sent, dict):
        for name, value in sent.items():
            if not name.endswith(PLAINTEXT_SUFFIX):
                assert name in answer or value in ({}, []), f"{at}.{name} is missing"
                assert_contains(answer.get(name, value), value, f"{at}.{name}")
    elif isinstance(sent, list):
        assert len(answer) == len(sent), at
        for one, other in zip(in_order(answer), in_order(sent), strict=True):
            assert_contains(one, other, f"{at}[]")
    else:
        assert answer == sent, at


def in_order(items: list[Any]) -> list[Any]:
    """The items sorted by key, because the API sorts tags."""
    return sorted(items, key=lambda each: str(each.get("key", "")))
