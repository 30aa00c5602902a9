"""Lists in request bodies have a maximum length, so that a huge list does not produce a huge list of problems."""

from __future__ import annotations

from collections.abc import Iterator
from time import process_time
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from serving_ui.api.scim import schemas
from serving_ui.api.urls import OPERATIONS
from serving_ui.api.views import governance, tokens
from serving_ui.catalogue.spec import ConfigSpec, EndpointSpec, RateLimits, Tags
from tests.api.conftest import API, Caller

pytestmark = pytest.mark.django_db
MANY = [1] * 390_000
MODELS: dict[str, Any] = {
    **{each.body.__name__: each.body for each in OPERATIONS if each.body and each.path.startswith(API)},
    **{
        name: model
        for module in (governance, schemas, tokens)
        for name, model in vars(module).items()
        if isinstance(model, type) and issubclass(model, BaseModel)
    },
    "ConfigSpec": ConfigSpec,
    "EndpointSpec": EndpointSpec,
    "RateLimits": RateLimits,
    "Tags": Tags,
}


def unbounded_lists(schema: Any, path: str = "") -> Iterator[str]:
    if isinstance(schema, dict):
        if schema.get("type") == "array" and "maxItems" not in schema:
            yield path
        for name, inner in schema.items():
            yield from unbounded_lists(inner, f"{path}/{name}")
    elif isinstance(schema, list):
        for inner in schema:
            yield from unbounded_lists(inner, path)


@pytest.mark.parametrize("name", MODELS)
def test_every_list_in_a_body_has_a_maximum_length(name: str):
    assert not list(unbounded_lists(TypeAdapter(MODELS[name]).json_schema()))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/serving-endpoints", {"name": "x", "tags": MANY}),
        ("POST", "/serving-endpoints", {"name": "x", "config": {"traffic_config": {"routes": MANY}}}),
        ("POST", "/serving-endpoints", {"name": "x", "config": {"served_entities": MANY}}),
        ("POST", "/serving-endpoints", {"name": ""} | {f"n{number}": 1 for number in range(90_000)}),
        ("POST", "/preview/scim/v2/Users", {"userName": "a@example.com", "schemas": MANY}),
        ("POST", "/preview/scim/v2/Groups", {"displayName": "g", "members": MANY}),
    ],
)
def test_a_list_that_is_too_long_is_refused_quickly(as_admin: Caller, method: str, path: str, body: Any):
    began = process_time()
    assert as_admin.request(method, path, body).status == 400
    assert process_time() - began < 5
