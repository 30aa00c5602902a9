"""My models: registered by the API, found in an MLflow registry, and registries that misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from serving_ui.catalogue.model_source import ModelSource, SourceKind
from serving_ui.catalogue.own_model import MAX_VERSION_LENGTH
from serving_ui.catalogue.tasks import Task
from serving_ui.lib.refusal import NotFound, Refusal
from serving_ui.registered_models import queries
from tests.api.conftest import Caller
from tests.support.mlflow_registry import Registry, running_registry
from tests.support.waiting import free_port

pytestmark = pytest.mark.django_db(transaction=True)
B = "/registered-models"
SMOLLM = {"name": "smollm2", "kind": "llama_cpp", "location": "/models/smollm2.gguf", "task": "llm/v1/chat"}


@pytest.fixture
def registry(settings: Any) -> Iterator[Registry]:
    with running_registry() as running:
        settings.MLFLOW_TRACKING_URI, settings.MLFLOW_TRACKING_TOKEN = running.url, "a-token"
        running.authorization = "Bearer a-token"
        settings.EGRESS_LOOPBACK = True
        yield running


def test_the_next_number_is_never_longer_than_a_version_may_be(as_admin: Caller):
    longest = "9" * MAX_VERSION_LENGTH
    assert as_admin.request("POST", B, {**SMOLLM, "version": longest}).status == 200
    assert as_admin.request("POST", B, SMOLLM).body["version"] == "1"


def test_an_admin_registers_versions_that_everybody_sees(as_admin: Caller, api: Caller):
    made = as_admin.request("POST", B, SMOLLM).body
    assert (made["version"], made["throughput_chunk_size"]) == ("1", 100)
    again = as_admin.request("POST", B, {**SMOLLM, "engine_arguments": {"n_ctx": 4096}}).body
    assert again["version"] == "2"
    listed = api.get(B)["model_versions"]
    assert [(each["name"], each["version"]) for each in listed] == [("smollm2", "1"), ("smollm2", "2")]
    assert api.get(f"{B}/smollm2/versions/2") == again
    assert queries.source_of("smollm2", "2") == ModelSource(
        SourceKind.LLAMA_CPP, "/models/smollm2.gguf", Task.CHAT, {"n_ctx": 4096}
    )
    info = api.get("/serving-endpoints/get-model-optimization-info/smollm2/2")
    assert info == {"optimizable": True, "model_type": "llm/v1/chat", "throughput_chunk_size": 100}


def test_a_version_never_changes(as_admin: Caller):
    assert as_admin.request("POST", B, {**SMOLLM, "version": "7"}).status == 200
    assert as_admin.request("POST", B, {**SMOLLM, "version": "7"}).error == (409, "RESOURCE_ALREADY_EXISTS")


def test_others_may_neither_register_nor_delete(as_admin: Caller, api: Caller):
    as_admin.request("POST", B, SMOLLM)
    assert api.request("POST", B, SMOLLM).error == (403, "PERMISSION_DENIED")
    assert api.request("DELETE", f"{B}/smollm2/versions/1").error == (403, "PERMISSION_DENIED")


def test_a_deleted_version_is_gone(as_admin: Caller):
    as_admin.request("POST", B, SMOLLM)
    assert as_admin.request("DELETE", f"{B}/smollm2/versions/1").status == 200
    assert as_admin.request("DELETE", f"{B}/smollm2/versions/1").error == (404, "RESOURCE_DOES_NOT_EXIST")
    with pytest.raises(NotFound):
        queries.source_of("smollm2", "1")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "../etc"}, "name"),
        ({"name": None}, "name"),
        ({"kind": "mlflow"}, "kind"),
        ({"task": None}, "task"),
        ({"location": "a\nb"}, "location"),
        ({"kind": "deployment", "location": "os.system('x')"}, "location"),
        ({"packages": ["a"] * 51}, "packages"),
        ({"engine_arguments": {"a": "x" * 20_000}}, "engine_arguments"),
        ({"throughput_chunk_size": 0}, "throughput_chunk_size"),
        ({"version": "a b"}, "version"),
    ],
)
def test_a_field_that_is_wrong_is_named(as_admin: Caller, changes: dict[str, Any], named: str):
    refused = as_admin.request("POST", B, {**SMOLLM, **changes})
    assert (refused.status, named in refused.body["message"]) == (400, True)


def test_models_of_mlflow_are_found_beside_those_registered_here(as_admin: Caller, registry: Registry):
    registry.versions = {"iris": ["1", "2", "10"], "smollm2": ["1"]}
    as_admin.request("POST", B, SMOLLM)
    assert queries.source_of("smollm2", "1").kind is SourceKind.LLAMA_CPP
    source = queries.source_of("iris", "2")
    assert source == ModelSource(SourceKind.MLFLOW, "models:/iris/2", tracking_uri=registry.url)
    info = as_admin.get("/serving-endpoints/get-model-optimization-info/iris/2")
    assert info == {"optimizable": False, "model_type": ""}


def test_a_version_that_mlflow_does_not_have_is_named(registry: Registry):
    registry.versions = {"iris": ["1"]}
    with pytest.raises(NotFound, match="no model iris version 9"):
        queries.source_of("iris", "9")


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}"),
        (401, b"{}"),
        (302, b""),
        (200, b"<html></html>"),
        (200, b"[]"),
        (200, b'{"registered_models": [{"name": "iris"'),
        (200, b"x" * 5_000_000),
        (200, b"[" * 100_000),
    ],
)
def test_a_registry_that_misbehaves_is_told_in_a_sentence(registry: Registry, answer: tuple[int, bytes]):
    registry.answer = answer
    with pytest.raises(Refusal, match="MLflow registry") as refused:
        queries.source_of("iris", "1")
    assert refused.value.status == 503


def test_a_registry_that_is_gone_is_told_in_a_sentence(settings: Any):
    settings.MLFLOW_TRACKING_URI, settings.EGRESS_LOOPBACK = f"http://127.0.0.1:{free_port()}", True
    with pytest.raises(Refusal, match="cannot be reached"):
        queries.source_of("iris", "1")


MLMODEL = b"""
flavors:
  python_function: {loader_module: mlflow.sklearn, env: {conda: conda.yaml}}
  sklearn: {pickled_model: model.pkl, code: null}
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
  params: null
"""
SIGNATURE = {
    "inputs": [{"type": "double", "name": "a", "required": True}],
    "outputs": [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}],
}


def test_flavours_and_signature_of_a_model_of_mlflow_are_shown(api: Caller, registry: Registry):
    registry.versions, registry.mlmodel = {"iris": ["2"]}, MLMODEL
    shown = api.get(f"{B}/iris/versions/2")
    assert shown == {
        "name": "iris",
        "version": "2",
        "kind": "mlflow",
        "location": "models:/iris/2",
        "description": "",
        "creation_timestamp": 1_700_000_000_000,
        "flavors": ["python_function", "sklearn"],
        "signature": SIGNATURE,
    }
    assert queries.source_of("iris", "2").signature == SIGNATURE
    assert api.request("GET", f"{B}/iris/versions/9").error == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    "mlmodel",
    [
        None,
        b"",
        b"[1, 2]",
        b"a: [",
        b"\xff\xfe",
        b"[" * 100_000,
        b"flavors: " + b"x" * 300_000,
        b'signature: {inputs: 7, outputs: "[7]", params: "{"}',
        b"a: &a [x, x]\nb: &b [*a, *a]\nsignature: &c {inputs: *b, outputs: *c}",
    ],
)
def test_a_model_whose_description_cannot_be_read_is_served_without(
    api: Caller, registry: Registry, mlmodel: bytes | None
):
    registry.versions, registry.mlmodel = {"iris": ["2"]}, mlmodel
    shown = api.get(f"{B}/iris/versions/2")
    assert (shown["flavors"], "signature" in shown) == ([], False)


def test_a_user_and_a_password_are_sent(settings: Any, registry: Registry):
    registry.versions, registry.mlmodel = {"iris": ["2"]}, MLMODEL
    registry.authorization = "Basic bWU6b3BlbiBzw6lzYW1l"  # me:open sésame
    with pytest.raises(Refusal, match="refuses the token, or the user and password"):
        queries.source_of("iris", "2")
    settings.MLFLOW_TRACKING_TOKEN = ""
    settings.MLFLOW_TRACKING_USERNAME, settings.MLFLOW_TRACKING_PASSWORD = "me", "open sésame"
    assert queries.source_of("iris", "2").signature == SIGNATURE
