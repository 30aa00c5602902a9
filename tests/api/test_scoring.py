"""Endpoints without a task: the document of their queries, and the code samples, from the signature of the model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from serving_ui.accounts.models import User
from serving_ui.catalogue import model_signature, scoring_schema
from serving_ui.endpoints import own_models
from serving_ui.endpoints.models import Endpoint
from serving_ui.pages.presenters import samples
from tests.api.conftest import Caller
from tests.pages.conftest import signed_in
from tests.support.mlflow_registry import Registry, running_registry
from tests.support.pages import Page

pytestmark = pytest.mark.django_db(transaction=True)
COLUMNS = [
    {"name": "length", "type": "double", "required": True},
    {"name": "count", "type": "long", "required": False},
    {"name": "at", "type": "datetime", "required": True},
    {"name": "tags", "type": "array", "items": {"type": "string"}, "required": True},
    {"name": "place", "type": "object", "properties": {"city": {"type": "string"}}, "required": True},
    {"name": "weights", "type": "map", "values": {"type": "float"}, "required": True},
    {"name": "odd", "type": "of tomorrow", "required": True},
]
TENSOR = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2, 3]}}]
NAMED_TENSORS = [{"name": "x", **TENSOR[0]}, {"name": "y", **TENSOR[0]}]
TEXTS = [{"type": "string", "required": True}]
SIGNATURE = {"inputs": COLUMNS, "outputs": [{"name": "kind", "type": "string"}], "params": []}


@pytest.fixture
def registry(settings: Any) -> Iterator[Registry]:
    with running_registry() as running:
        settings.MLFLOW_TRACKING_URI, settings.EGRESS_LOOPBACK = running.url, True
        settings.RAY_ADDRESS = "http://127.0.0.1:9"
        running.versions = {"iris": ["1"]}
        yield running


def create(api: Caller, registry: Registry, signature: dict[str, Any] | None) -> None:
    texts = {name: json.dumps(each) for name, each in (signature or {}).items()}
    registry.mlmodel = json.dumps({"flavors": {"python_function": {}}, "signature": texts}).encode()
    entity = {"entity_name": "iris", "entity_version": "1", "workload_size": "Small"}
    api.request_json("POST", "/serving-endpoints", {"name": "iris", "config": {"served_entities": [entity]}})


def schema_of(document: dict[str, Any], path: str = "/invocations") -> tuple[dict[str, Any], Any]:
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    return content["schema"], content["example"]


def is_valid(schema: dict[str, Any], body: Any) -> bool:
    return bool(jsonschema_rs.Draft202012Validator(schema).is_valid(body))


def test_the_document_of_a_model_with_columns_describes_all_forms(api: Caller, registry: Registry):
    create(api, registry, SIGNATURE)
    document = api.get("/serving-endpoints/iris/openapi")
    schemathesis.openapi.from_dict(document).validate()
    schema, example = schema_of(document)
    assert [form["title"] for form in schema["oneOf"]] == [
        "dataframe_split",
        "dataframe_records",
        "inputs",
        "instances",
    ]
    split, records = schema["oneOf"][0]["properties"], schema["oneOf"][1]["properties"]
    assert split["dataframe_split"]["properties"]["columns"]["items"]["enum"][:2] == ["length", "count"]
    row = records["dataframe_records"]["items"]
    assert row["properties"]["length"] == {"type": "number", "format": "double"}
    assert row["required"] == ["length", "at", "tags", "place", "weights", "odd"]
    assert schema_of(document, "/served-models/iris-1/invocations")[0] == schema
    assert is_valid(schema, example)
    values = example["dataframe_split"]["data"][0]
    named = dict(zip((each["name"] for each in COLUMNS), values, strict=True))
    for good in (
        {"dataframe_records": [named, {**named, "count": None}]},
        {"inputs": {name: [value] for name, value in named.items()}},
        {"instances": [named]},
    ):
        assert is_valid(schema, good), good
    for wrong in (
        {},
        {"dataframe_records": [{**named, "length": "long"}]},
        {"dataframe_records": [{"length": 1.0}]},
        {"dataframe_split": {"columns": ["of others"], "data": [[1.0]]}},
        {"inputs": named, "instances": [named]},
    ):
        assert not is_valid(schema, wrong), wrong
    answer = document["paths"]["/invocations"]["post"]["responses"]["200"]["content"]["application/json"]
    assert is_valid(answer["schema"], {"predictions": [{"kind": "setosa"}]})
    assert not is_valid(answer["schema"], {"predictions": [{"kind": 7}]})


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        (TENSOR, {"inputs": [[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]]}),
        (NAMED_TENSORS, {"inputs": {"x": [[[1.0] * 3] * 2], "y": [[[1.0] * 3] * 2]}}),
        (TEXTS, {"inputs": ["text"]}),
    ],
)
def test_the_document_of_a_model_without_columns_describes_its_inputs(inputs: Any, body: dict[str, Any]):
    signature = {
        "inputs": inputs,
        "outputs": TENSOR,
        "params": [{"name": "top", "type": "long", "default": 3}],
    }
    schema = scoring_schema.query_schema(signature)
    assert [form["title"] for form in schema["oneOf"]] == ["inputs", "instances"]
    assert model_signature.example_body(signature) == body
    assert is_valid(schema, {**body, "params": {"top": 5}})
    assert not is_valid(schema, {**body, "params": {"top": "five"}})
    assert not is_valid(schema, {"inputs": 7})
    assert is_valid(scoring_schema.answer_schema(signature), {"predictions": body["inputs"]}) is (
        inputs is TENSOR
    )


def test_named_tensors_have_a_dimension_less_in_each_instance():
    signature: dict[str, Any] = {"inputs": NAMED_TENSORS}
    schema = scoring_schema.query_schema(signature)
    row = [[1.0] * 3] * 2
    assert is_valid(schema, {"instances": [{"x": row, "y": row}]})
    assert not is_valid(schema, {"instances": [{"x": [row], "y": [row]}]})


@pytest.mark.parametrize(
    "odd",
    [
        [{"type": "tensor"}],
        [{"type": "tensor", "tensor-spec": {"dtype": 7, "shape": [-1] * 50}}],
        [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [True, "x", -7, 3]}}],
        [{"type": {"a": "b"}, "name": "a"}, {"type": ["array"], "name": "b"}],
        [{"name": "a", "type": "array"}, {"name": "a", "type": "object", "properties": [1]}],
        [{}],
    ],
)
def test_an_odd_signature_is_anything(odd: Any):
    odd = model_signature.parts(odd)
    schema = scoring_schema.query_schema({"inputs": odd, "outputs": odd})
    jsonschema_rs.meta.validate(schema)
    scoring_schema.answer_schema({"outputs": odd})
    assert is_valid(schema, model_signature.example_body({"inputs": odd}))


def test_a_model_without_a_signature_takes_all_forms(api: Caller, registry: Registry):
    create(api, registry, None)
    document = api.get("/serving-endpoints/iris/openapi")
    schemathesis.openapi.from_dict(document).validate()
    schema, example = schema_of(document)
    assert is_valid(schema, example)
    for body in ({"inputs": 7}, {"instances": [1]}, {"dataframe_records": [{"a": "b"}]}):
        assert is_valid(schema, body)


def test_a_class_of_a_team_takes_any_object(as_admin: Caller, api: Caller, registry: Registry):
    body = {"name": "own", "kind": "deployment", "location": "team.models:Own"}
    as_admin.request_json("POST", "/registered-models", body)
    entity = {"entity_name": "own", "entity_version": "1", "workload_size": "Small"}
    api.request_json("POST", "/serving-endpoints", {"name": "own", "config": {"served_entities": [entity]}})
    document = api.get("/serving-endpoints/own/openapi")
    schemathesis.openapi.from_dict(document).validate()
    assert schema_of(document)[0] == {"type": "object"}


def test_the_pages_show_queries_of_the_signature(api: Caller, registry: Registry, owner: User):
    create(api, registry, {"inputs": COLUMNS[:2]})
    browser = signed_in(owner)
    page = Page(browser.get("/ml/endpoints/iris/query"))
    assert json.loads(page.fields()["request"]) == {
        "dataframe_split": {"columns": ["length", "count"], "data": [[1.0, 1]]}
    }
    code = {
        tab: page.id(f"sample-{tab}").all("pre")[0].text
        for tab in ("curl", "requests", "mlflow", "databricks")
    }
    for each in code.values():
        assert each.count("<token>") == 1
    source = own_models.source_of(Endpoint.objects.get(name="iris").shown_version)
    for sample in samples.code_samples(name="iris", task=None, base="http://testserver", source=source)[1:]:
        compile(sample.code, sample.key, "exec")
    assert 'dataframe_records=[{"length": 1.0, "count": 1}]' in code["databricks"]
    for operation in ("query", "query_chat", "query_entity"):
        assert browser.get(f"/docs/api/{operation}?endpoint=iris").status_code == 200


def test_the_query_page_of_an_endpoint_without_a_config_opens(api: Caller, owner: User):
    api.request_json("POST", "/serving-endpoints", {"name": "empty"})
    page = Page(signed_in(owner).get("/ml/endpoints/empty/query"))
    assert "no active configuration yet" in page.html
