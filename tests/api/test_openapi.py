"""The OpenAPI document and the reference page agree with the routes, the models and each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from django.test import Client
from django.urls import get_resolver

from serving_ui.accounts.models import User
from serving_ui.api.openapi.document import document
from serving_ui.api.operation import Operation
from serving_ui.api.reference import fields
from serving_ui.api.reference.code_samples import code_samples_for
from serving_ui.api.urls import OPERATIONS
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.spec import parse_config, parse_endpoint
from serving_ui.endpoints.models import Endpoint
from serving_ui.gateway import paths
from tests.api.conftest import Caller
from tests.architecture.test_policies import routes
from tests.conftest import openai_body
from tests.pages.conftest import settle, signed_in
from tests.support.canary import CANARY
from tests.support.pages import Page

Make = Callable[..., Endpoint]
NAMED = {each.name: each for each in OPERATIONS}


def without_parameter_names(path: str) -> str:
    """The path without the names of its parameters."""
    return re.sub(r"<\w+:\w+>|{\w+}", "{}", path)


def test_the_document_describes_exactly_the_routes_of_the_api():
    served = {
        (method, "/" + without_parameter_names(address))
        for address, view in routes(get_resolver())
        for method in getattr(view, "operations", {})
        if not address.endswith("/")
    }
    described = {
        (each.method, without_parameter_names(each.path))
        for each in OPERATIONS
        if each.path.startswith("/api/")
    }
    assert described == served


def test_the_other_paths_of_the_document_are_the_gateways():
    others = [each for each in OPERATIONS if not each.path.startswith(("/api/", "/.well-known/"))]
    assert others
    assert [each.path for each in others if not each.path.startswith(paths.PREFIXES)] == []


def test_operation_ids_are_unique():
    assert len(NAMED) == len(OPERATIONS)


def test_the_document_is_valid_openapi():
    schemathesis.openapi.from_dict(document(base="http://127.0.0.1:8080")).validate()


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.example], ids=lambda each: each.name
)
def test_every_example_body_is_valid_for_its_operation(operation: Operation):
    assert operation.body is not None
    operation.body.model_validate(operation.example)


def test_the_examples_of_endpoints_are_accepted():
    assert not parse_endpoint(NAMED["create_endpoint"].example).unknown
    assert not parse_config(NAMED["update_config"].example).unknown


def test_the_document_describes_every_field_of_every_provider():
    models = document(base="")["components"]["schemas"]["ExternalModel"]["oneOf"]
    described = {each["properties"]["provider"]["const"]: each["properties"] for each in models}
    assert set(described) == set(PROVIDERS)
    for name, provider in PROVIDERS.items():
        block = described[name][provider.config_key]
        assert set(block["properties"]) == set(provider.config.accepted_fields())


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.body], ids=lambda each: each.name)
def test_every_field_of_an_endpoint_body_has_a_description(operation: Operation):
    assert operation.body is not None
    if operation.group == "Serving endpoints":
        rows = fields.rows({"$ref": f"/{operation.body.__name__}"})
        first = [row.path for row in rows if row.path.count(".") == 0 and not row.has_description]
        assert first == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_no_operation_refers_to_itself_for_fields(operation: Operation):
    for kind in (operation.body, operation.answer):
        rows = fields.rows({"$ref": f"/{kind.__name__}"}) if kind else []
        assert operation.name not in {row.fields_of for row in rows}


# Serving the document


def test_the_document_is_served_for_a_token_and_for_a_session(api: Caller, owner: User):
    described = api.get("/openapi.json")
    assert described["openapi"] == "3.1.0"
    assert described["servers"] == [{"url": "http://testserver"}]
    assert signed_in(owner).get("/api/2.0/openapi.json").json() == described


def test_the_document_needs_a_token_or_a_session(anonymous: Caller):
    assert anonymous.request("GET", "/openapi.json").error == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("task", "needed"),
    [("llm/v1/chat", "messages"), ("llm/v1/completions", "prompt"), ("llm/v1/embeddings", "input")],
)
def test_each_endpoint_has_its_own_document(api: Caller, task: str, needed: str):
    body: dict[str, Any] = openai_body("one")
    body["config"]["served_entities"][0]["external_model"]["task"] = task
    api.request_json("POST", "/serving-endpoints", body)
    described = api.get("/serving-endpoints/one/openapi")
    schemathesis.openapi.from_dict(described).validate()
    assert described["servers"] == [{"url": "http://testserver/serving-endpoints/one"}]
    assert set(described["paths"]) == {"/invocations", "/served-models/entity/invocations"}
    schema = described["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert schema["required"] == [needed]
    assert set(schema["properties"]) == {needed, "stream"}


def test_the_document_of_an_invisible_endpoint_is_not_found(as_stranger: Caller, make_endpoint: Make):
    make_endpoint("hidden")
    assert as_stranger.request("GET", "/serving-endpoints/hidden/openapi").error == (
        404,
        "RESOURCE_DOES_NOT_EXIST",
    )


# The reference page


@pytest.fixture
def browser(owner: User) -> Client:
    return signed_in(owner)


def shown(client: Client, address: str) -> Page:
    answer = client.get(address)
    assert answer.status_code == 200
    assert len(answer.content) < 100_000
    return Page(answer)


def test_the_page_lists_every_operation_and_provider(browser: Client):
    page = shown(browser, "/docs/api").root
    links = {link.attrs["href"] for link in page.all("a")}
    assert {f"/docs/api/{each.name}" for each in OPERATIONS} <= links
    assert len(page.all("details", class_="fold")) == len([p for p in PROVIDERS.values() if not p.hidden])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_every_operation_has_a_page(browser: Client, operation: Operation):
    page = shown(browser, f"/docs/api/{operation.name}").root
    assert page.one("h1").text == operation.summary
    assert [each.text for each in page.all("pre")] == [
        " ".join(sample.code.split()) for sample in code_samples_for(operation)
    ]


def test_the_navigation_links_to_the_reference_and_marks_it(browser: Client):
    link = shown(browser, "/ml/endpoints").root.one("a", href="/docs/api")
    assert link.text == "API"
    for address in ("/docs/api", "/docs/api/get_endpoint"):
        current = shown(browser, address).root.one("a", aria_current="page")
        assert current.attrs["href"] == "/docs/api"


def test_the_page_of_an_endpoint_links_to_its_code_samples(browser: Client, make_endpoint: Make):
    settle(make_endpoint("mine", model="gpt-4o-mini"), "active")
    address = shown(browser, "/ml/endpoints/mine").root.one("a", id="api-link").attrs["href"]
    page = shown(browser, address)
    samples = [each.text for each in page.root.all("pre") if each.attrs["id"].startswith("code-")]
    assert len(samples) == 6
    assert all("mine" in sample for sample in samples)
    assert "gpt-4o-mini" in samples[3]
    assert "{{secrets/my_scope/my_key}}" in samples[3]
    assert CANARY not in page.html
    assert page.html.count("Put it into a secret first") == 1
    entry = shown(browser, "/docs/api/get_permissions?endpoint=mine").root
    assert Endpoint.objects.get(name="mine").pk in entry.all("pre")[0].text


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("llm/v1/chat", "query_chat"),
        ("llm/v1/completions", "query_completions"),
        ("llm/v1/embeddings", "query_embeddings"),
    ],
)
def test_the_openai_path_of_the_endpoints_task_is_shown_with_its_name(
    browser: Client, api: Caller, task: str, name: str
):
    body: dict[str, Any] = openai_body("mine")
    body["config"]["served_entities"][0]["external_model"]["task"] = task
    api.request_json("POST", "/serving-endpoints", body)
    for each in ("query_chat", "query_completions", "query_embeddings"):
        code = shown(browser, f"/docs/api/{each}?endpoint=mine").root.all("pre")[0].text
        assert ('"model": "mine"' in code) is (each == name)


def test_a_built_in_endpoint_has_only_code_samples_of_queries(browser: Client, make_endpoint: Make):
    made = make_endpoint("given")
    Endpoint.objects.filter(pk=made.pk).update(is_ready_made=True)
    page = shown(browser, "/docs/api?endpoint=given").root
    samples = [each.text for each in page.all("pre") if each.attrs["id"].startswith("code-")]
    assert len(samples) == 3
    assert all("invocations" in each or "query" in each or "predict" in each for each in samples)


def test_the_idempotency_key_header_is_documented(browser: Client):
    described = document(base="")["paths"]
    for operation in OPERATIONS:
        parameters = described[operation.path][operation.method.lower()]["parameters"]
        headers = [each["name"] for each in parameters if each["in"] == "header"]
        assert headers == (["Idempotency-Key"] if operation.is_idempotent_by_key else [])
    assert NAMED["create_endpoint"].is_idempotent_by_key
    page = shown(browser, "/docs/api/create_endpoint").root
    assert "Idempotency-Key" in page.one("section", aria_labelledby="headers").text


def test_the_response_of_a_query_is_documented(browser: Client):
    for each in ("query", "query_chat", "query_mlflow_endpoint"):
        page = shown(browser, f"/docs/api/{each}").root
        assert "OpenAI API" in page.one("section", aria_labelledby="answer").text


def test_the_reference_shows_no_invisible_endpoint(stranger: User, make_endpoint: Make):
    make_endpoint("hidden")
    client = signed_in(stranger)
    assert client.get("/docs/api?endpoint=hidden").status_code == 404
    assert client.get("/docs/api/get_endpoint?endpoint=hidden").status_code == 404
    assert "hidden" not in [option.text for option in shown(client, "/docs/api").root.all("option")]


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/docs/api", "/docs/api/get_endpoint"])
def test_the_reference_requires_sign_in(address: str):
    answer = Client().get(address)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/sign-in?")


def test_an_unknown_operation_has_no_page(browser: Client):
    assert browser.get("/docs/api/nothing").status_code == 404
