"""The form of an endpoint with a model of one's own: what changes with a choice, what is sent, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.catalogue.registered_model import NewModelVersion
from serving_ui.catalogue.spec import parse_endpoint
from serving_ui.endpoints import commands
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib import clock
from serving_ui.registered_models.choices import MAX_VERSIONS
from serving_ui.registered_models.commands import delete, register
from tests.pages.conftest import HTMX
from tests.support.pages import Page

CREATE, FIELDS, EDIT = "/ml/endpoints/create", "/ml/endpoints/create/fields", "/ml/endpoints/iris/edit"
OWN = "own-model__"
IRIS = {
    "name": "iris",
    "provider": "own-model",
    OWN + "external_model_name": "iris",
    OWN + "entity_version": "1",
}


@pytest.fixture(autouse=True)
def cluster(settings: Any, admin: User) -> None:
    """A server with a Ray cluster, which nobody asks here, and two models."""
    settings.RAY_ADDRESS = "http://127.0.0.1:9"
    models: list[dict[str, Any]] = [
        {"name": "iris", "kind": "deployment", "location": "team.models:Iris"},
        {"name": "llama", "kind": "llama_cpp", "location": "/l.gguf", "task": "llm/v1/chat"},
    ]
    for model in models:
        register(new=NewModelVersion.model_validate(model), actor=admin, now=clock.now())


def made() -> Any:
    """The served entity of the pending config."""
    version = Endpoint.objects.select_related("pending").get(name="iris").pending
    assert version
    return version.config.public()["served_entities"][0]


def offered(page: Page) -> list[str]:
    return [each.attrs["value"] for each in page.id("entity-dialog").all("input", name="dialog_provider")]


def test_the_dialog_offers_models_of_ones_own_only_with_a_cluster(browser: Client, settings: Any):
    assert offered(Page(browser.get(CREATE)))[:3] == ["own-model:iris", "own-model:llama", "own-model"]
    settings.RAY_ADDRESS = ""
    page = Page(browser.get(CREATE))
    assert not [value for value in offered(page) if value.startswith("own-model")]
    assert "This server has no Ray cluster" in page.html


def test_a_chosen_model_has_its_newest_version_and_usual_size(browser: Client, admin: User):
    newer = {"name": "llama", "kind": "vllm", "location": "meta/llama", "task": "llm/v1/chat"}
    register(
        new=NewModelVersion.model_validate({**newer, "throughput_chunk_size": 70}),
        actor=admin,
        now=clock.now(),
    )
    page = Page(browser.post(FIELDS, {"_confirm": "1", "dialog_provider": "own-model:llama"}, headers=HTMX))
    fields = page.fields()
    assert fields[OWN + "entity_version"] == "2"
    assert fields[OWN + "sized_by"] == "throughput"
    most = page.id(f"id_{OWN}max_provisioned_throughput").attrs
    assert (most["value"], most["step"]) == ("70", "70")
    assert [each.attrs["value"] for each in page.id("version-suggestions").all("option")] == ["2", "1"]
    typed = {**IRIS, OWN + "entity_version": "9"}
    renamed = browser.post(FIELDS, typed, headers={**HTMX, "HX-Target": "entity"})
    assert Page(renamed).fields()[OWN + "entity_version"] == "1"


def test_a_version_that_was_deleted_stays_in_the_form(browser: Client, admin: User):
    browser.post(CREATE, IRIS)
    delete(name="iris", version="1", actor=admin)
    register(
        new=NewModelVersion(name="iris", version="2", kind="deployment", location="team.models:Iris"),
        actor=admin,
        now=clock.now(),
    )
    opened = Page(browser.get(EDIT)).fields()
    redrawn = Page(browser.post(EDIT, {**opened, "_redraw": "1"})).fields()
    assert redrawn[OWN + "entity_version"] == "1"


def test_serve_this_model_opens_the_form_of_that_version(browser: Client):
    page = Page(browser.get("/ml/models"))
    link = next(each for each in page.root.all("a") if each.text == "Serve this model iris version 1")
    assert link.attrs["href"] == f"{CREATE}?model=iris&version=1"
    fields = Page(browser.get(link.attrs["href"])).fields()
    assert (fields["provider"], fields[OWN + "entity_version"]) == ("own-model", "1")
    assert browser.post(CREATE, {**fields, "name": "iris"}).status_code == 303


def test_the_kind_of_an_endpoint_decides_what_its_dialog_offers(browser: Client):
    browser.post(CREATE, IRIS)
    page = Page(browser.get(EDIT))
    assert all(value.startswith("own-model") for value in offered(page))
    assert "an endpoint never changes between the two" in page.html


def test_two_versions_share_the_traffic(browser: Client, admin: User):
    again = {"name": "iris", "kind": "deployment", "location": "team.models:Iris2"}
    register(new=NewModelVersion.model_validate(again), actor=admin, now=clock.now())
    first = Page(browser.post(CREATE, {**IRIS, "_add_entity": "0"})).fields()
    second = Page(
        browser.post(CREATE, {**first, "_confirm": "1", "dialog_provider": "own-model:iris"})
    ).fields()
    assert second[OWN + "entity_version"] == "2"
    assert browser.post(CREATE, {**second, "traffic-0": "90", "traffic-1": "10"}).status_code == 303
    version = Endpoint.objects.select_related("pending").get(name="iris").pending
    assert version
    assert [route["traffic_percentage"] for route in version.config.public()["traffic_config"]["routes"]] == [
        90,
        10,
    ]


def test_the_form_changes_with_the_choices(browser: Client):
    chosen = browser.post(FIELDS, {"_confirm": "1", "dialog_provider": "own-model"}, headers=HTMX)
    page = Page(chosen)
    assert page.has(f"id_{OWN}entity_version")
    assert page.has(f"id_{OWN}workload_size")
    assert not page.has("id_task")
    assert '<option value="iris">' in page.html
    redrawn = Page(browser.post(FIELDS, {**IRIS, OWN + "sized_by": "throughput"}, headers=HTMX))
    assert redrawn.has(f"id_{OWN}max_provisioned_throughput")
    assert not redrawn.has(f"id_{OWN}workload_size")


def test_the_smallest_own_model_is_created(browser: Client):
    assert browser.post(CREATE, IRIS).status_code == 303
    assert made() == {
        "name": "iris-1",
        "entity_name": "iris",
        "entity_version": "1",
        "workload_type": "CPU",
        "workload_size": "Small",
        "scale_to_zero_enabled": True,
    }
    page = Page(browser.get("/ml/endpoints/iris"))
    assert page.state() == "Not ready (Updating)"


def test_compute_and_variables_are_sent_and_shown_again(browser: Client):
    typed = {
        **IRIS,
        OWN + "sized_by": "concurrency",
        OWN + "max_provisioned_concurrency": "8",
        OWN + "workload_type": "CPU_MEDIUM",
        OWN + "scale_to_zero_enabled": "no",
        OWN + "environment_vars": "MODE=fast\nLEVEL=3",
    }
    assert browser.post(CREATE, typed).status_code == 303
    assert made() == {
        "name": "iris-1",
        "entity_name": "iris",
        "entity_version": "1",
        "workload_type": "CPU_MEDIUM",
        "max_provisioned_concurrency": 8,
        "scale_to_zero_enabled": False,
        "environment_vars": {"MODE": "fast", "LEVEL": "3"},
    }
    fields = Page(browser.get(EDIT)).fields()
    assert {name: fields[name] for name in typed if name.startswith(OWN)} == {
        name: value for name, value in typed.items() if name.startswith(OWN)
    }


def test_variables_that_a_line_cannot_express_are_edited_without_loss(browser: Client, owner: User):
    variables = {
        "KEY": "first\nSECOND=2\r\n",
        "SPACED": " a ",
        "QUOTED": '"x"',
        "SEPARATED": "a\u2028b",
        "EMPTY": "",
    }
    entity = {"entity_name": "iris", "entity_version": "1", "environment_vars": variables}
    spec = parse_endpoint({"name": "iris", "config": {"served_entities": [entity]}})
    made = commands.create_endpoint(spec=spec, actor=owner, now=clock.now())
    fields = Page(browser.get(EDIT)).fields()
    assert browser.post(EDIT, {**fields, "description": "new"}).status_code == 303
    assert made.versions.count() == 1
    quoted = {**IRIS, "name": "typed", OWN + "environment_vars": 'A="two\\nlines"\nB="not JSON\nC='}
    assert browser.post(CREATE, quoted).status_code == 303
    version = Endpoint.objects.select_related("pending").get(name="typed").pending
    assert version
    typed = version.config.public()["served_entities"][0]["environment_vars"]
    assert typed == {"A": "two\nlines", "B": '"not JSON', "C": ""}


def test_a_version_is_served_that_is_older_than_those_of_the_suggestions(browser: Client, admin: User):
    model = {"name": "iris", "kind": "deployment", "location": "team.models:Iris"}
    for _number in range(MAX_VERSIONS):
        register(new=NewModelVersion.model_validate(model), actor=admin, now=clock.now())
    opened = Page(browser.get(CREATE, {"model": "iris", "version": "1"})).fields()
    assert opened[OWN + "entity_version"] == "1"


def test_tokens_per_second_are_multiples_of_the_chunk(browser: Client):
    llama = {**IRIS, OWN + "external_model_name": "llama", OWN + "sized_by": "throughput"}
    refused = browser.post(CREATE, {**llama, OWN + "max_provisioned_throughput": "150"})
    assert refused.status_code == 422
    assert "multiple of 100" in Page(refused).html
    assert browser.post(CREATE, {**llama, OWN + "max_provisioned_throughput": "200"}).status_code == 303
    assert made()["max_provisioned_throughput"] == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({OWN + "entity_version": ""}, "Version is missing"),
        ({OWN + "external_model_name": ""}, "Give the name of a model"),
        ({OWN + "external_model_name": "unknown"}, "There is no model unknown version 1"),
        ({OWN + "environment_vars": "just words"}, "environment variable"),
        ({OWN + "environment_vars": "HTTP_PROXY=http://x"}, "Only an admin can set HTTP_PROXY"),
        ({OWN + "sized_by": "concurrency", OWN + "max_provisioned_concurrency": "many"}, "whole number"),
        ({OWN + "sized_by": "concurrency", OWN + "max_provisioned_concurrency": "6"}, "multiple of 4"),
    ],
)
def test_what_is_wrong_is_told_beside_its_input(browser: Client, changes: dict[str, str], words: str):
    refused = browser.post(CREATE, {**IRIS, **changes})
    assert (refused.status_code, words in Page(refused).html) == (422, True)


def test_saving_without_a_change_makes_no_version(browser: Client):
    browser.post(CREATE, IRIS)
    endpoint = Endpoint.objects.get(name="iris")
    fields = Page(browser.get(EDIT)).fields()
    assert browser.post(EDIT, fields).status_code == 303
    assert endpoint.versions.count() == 1
    assert browser.post(EDIT, {**fields, OWN + "workload_size": "Large"}).status_code == 409


def test_the_page_of_the_endpoint_shows_version_and_compute(browser: Client):
    browser.post(CREATE, IRIS)
    row = Page(browser.get("/ml/endpoints/iris")).id("config-rows").text
    assert "Version 1 CPU (1 core), Small (4 requests at a time), scales to zero" in row


def test_logs_that_cannot_be_read_are_told_and_are_read_again(browser: Client):
    browser.post(CREATE, IRIS)
    page = Page(browser.get("/ml/endpoints/iris?tab=logs"))
    panel = page.id("tab-panel")
    assert "The logs cannot be read." in panel.text
    assert "every 2s" in panel.attrs["hx-trigger"]
    part = Page(browser.get(panel.attrs["hx-get"], headers=HTMX))
    assert "The logs cannot be read." in part.id("tab-panel").text
    assert not part.has("endpoint-state")


def test_an_endpoint_of_external_models_has_no_logs(browser: Client, make_endpoint: Any):
    make_endpoint()
    page = Page(browser.get("/ml/endpoints/chat?tab=logs"))
    assert not page.has("tab-logs")
    assert page.id("tab-events").attrs["aria-current"] == "page"
    assert browser.get("/ml/endpoints/chat/logs").status_code == 404
