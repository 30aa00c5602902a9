"""The pages of models of one's own: list, register, delete, and the names of an MLflow registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.registered_models.models import RegisteredModel
from tests.pages.conftest import HTMX, signed_in
from tests.support.mlflow_registry import Registry, running_registry
from tests.support.pages import Page

MODELS, REGISTER = "/ml/models", "/ml/models/register"
LLAMA = {"name": "llama", "kind": "llama_cpp", "location": "/models/l.gguf", "task": "llm/v1/chat"}


@pytest.fixture
def of_admin(admin: User) -> Client:
    return signed_in(admin)


@pytest.fixture
def registry(settings: Any) -> Iterator[Registry]:
    """A registry with the model iris, versions 1 and 2."""
    cache.clear()
    settings.RAY_ADDRESS = "http://127.0.0.1:9"
    settings.EGRESS_LOOPBACK = True
    with running_registry() as running:
        running.versions["iris"] = ["1", "2"]
        settings.MLFLOW_TRACKING_URI = running.url
        yield running
    cache.clear()


def register(client: Client, **typed: str) -> Any:
    fields = Page(client.get(REGISTER)).fields()
    return client.post(REGISTER, {**fields, **LLAMA, **typed})


def test_an_admin_registers_versions_and_deletes_one(of_admin: Client):
    assert register(of_admin, engine_arguments='{"n_ctx": 512}', packages="a==1\n\nb").status_code == 303
    assert register(of_admin).status_code == 303
    first, second = RegisteredModel.objects.order_by("pk")
    assert (first.version, first.engine_arguments, first.packages) == ("1", {"n_ctx": 512}, ["a==1", "b"])
    assert (second.version, str(second.creator)) == ("2", "admin@example.com")
    page = Page(of_admin.get(MODELS))
    assert page.text.index("/models/l.gguf") > 0
    delete = f"{MODELS}/llama/versions/1/delete"
    assert delete in [each.attrs["href"] for each in page.root.all("a")]
    assert "Delete llama version 1?" in Page(of_admin.get(delete)).text
    assert of_admin.post(delete).status_code == 303
    assert RegisteredModel.objects.get() == second


@pytest.mark.parametrize(
    ("typed", "name", "words"),
    [
        ({"name": ""}, "name", "letters"),
        ({"location": ""}, "location", "one line"),
        ({"task": ""}, "task", "has a task"),
        ({"kind": "deployment"}, "location", "module:Class"),
        ({"kind": "nonsense"}, "kind", "llama_cpp"),
        ({"engine_arguments": "not json"}, "engine_arguments", ""),
        ({"throughput_chunk_size": "many"}, "throughput_chunk_size", "whole number"),
    ],
)
def test_what_is_wrong_is_shown_beside_its_input(
    of_admin: Client, typed: dict[str, str], name: str, words: str
):
    refused = register(of_admin, **typed)
    assert refused.status_code == 422
    page = Page(refused)
    assert words in page.errors()[name]
    assert page.fields()["name"] == {**LLAMA, **typed}["name"]
    assert not RegisteredModel.objects.exists()


def test_the_character_nul_is_refused_however_it_is_spelled(of_admin: Client):
    refused = register(of_admin, engine_arguments='{"a": ["\\u0000"]}')
    assert (refused.status_code, "the character NUL" in Page(refused).html) == (422, True)
    assert register(of_admin, engine_arguments='{"a": "\\\\u0000"}').status_code == 303


def test_a_version_is_registered_once(of_admin: Client):
    register(of_admin, version="7")
    again = register(of_admin, version="7")
    assert again.status_code == 422
    assert "has a version 7 already" in Page(again).errors()["version"]


def test_only_admins_register_and_delete(browser: Client, of_admin: Client):
    register(of_admin)
    page = Page(browser.get(MODELS))
    assert "llama" in page.text
    assert not [each for each in page.root.all("a") if each.attrs["href"].startswith(f"{MODELS}/")]
    assert browser.get(REGISTER).status_code == 403
    assert browser.post(REGISTER, LLAMA).status_code == 403
    assert browser.post(f"{MODELS}/llama/versions/1/delete").status_code == 403
    assert RegisteredModel.objects.count() == 1


def test_models_of_the_registry_are_listed_and_suggested(browser: Client, registry: Registry):
    page = Page(browser.get(f"{MODELS}?registry"))
    link = next(each for each in page.root.all("a") if each.text == "Serve this model iris")
    form = Page(browser.get(link.attrs["href"]))
    assert form.fields()["own-model__entity_version"] == "2"
    assert [each.attrs["value"] for each in form.id("version-suggestions").all("option")] == ["2", "1"]
    chosen = browser.post(
        "/ml/endpoints/create/fields", {"_confirm": "1", "dialog_provider": "own-model"}, headers=HTMX
    )
    assert "iris" in Page(chosen).suggestions()


def test_a_registry_that_fails_is_told_and_the_form_still_works(browser: Client, registry: Registry):
    registry.answer = (500, b"")
    assert "The MLflow registry answered 500" in Page(browser.get(f"{MODELS}?registry")).text
    form = Page(browser.get("/ml/endpoints/create?model=iris"))
    assert form.fields()["own-model__external_model_name"] == "iris"
    queries = len(registry.paths)
    browser.get("/ml/endpoints/create?model=iris")
    assert len(registry.paths) == queries


def test_the_number_of_queries_does_not_grow_with_the_models(
    browser: Client, of_admin: Client, django_assert_max_num_queries: Any
):
    for number in range(30):
        register(of_admin, name=f"m-{number}")
    browser.get(MODELS)
    with django_assert_max_num_queries(4):
        page = Page(browser.get(MODELS))
    assert len(page.root.all("tr")) == 26
    assert "Next page" in page.text
    with django_assert_max_num_queries(9):
        form = browser.get("/ml/endpoints/create?model=m-1")
    assert form.status_code == 200
