"""Redraws of the form: what each selection changes; typed values are kept, and secrets are not echoed."""

from __future__ import annotations

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.catalogue.registry import PROVIDERS, offered
from serving_ui.endpoints.models import Endpoint
from tests.pages.conftest import CREATE, FIELDS, HTMX, openai, signed_in
from tests.support.pages import Page

ALL = [(provider.name, task) for provider in PROVIDERS.values() for task in provider.tasks]


def redraw(browser: Client, form: dict[str, str]) -> Page:
    response = browser.post(FIELDS, form, headers=HTMX)
    assert response.status_code == 200
    return Page(response)


def confirm(browser: Client, form: dict[str, str], provider: str) -> dict[str, str]:
    """The fields of the form after another provider was chosen in the dialog."""
    page = redraw(browser, {**form, "_confirm": "1", "dialog_provider": provider})
    gone = {name for name in form if "__" in name} | {"provider", "task", "served_entity_name"}
    return {name: value for name, value in form.items() if name not in gone} | page.fields()


@pytest.mark.parametrize(("name", "task"), ALL)
def test_every_provider_and_task_has_its_own_fields_and_suggestions(browser: Client, name, task):
    provider = PROVIDERS[name]
    page = redraw(browser, {"provider": name, "task": task.value})
    shown = provider.config.shown({})
    drawn = [f"{name}__{each.name}" for each in shown]
    whole = Page(browser.post(CREATE, {"provider": name, "task": task.value, "_redraw": "1"}))
    assert [each for each in whole.visible() if each in drawn] == drawn
    assert set(page.suggestions()) == set(provider.suggestions(task, {}))
    assert whole.options("task") == [each.value for each in provider.tasks]
    assert whole.fields()["task"] == task.value
    assert whole.errors() == {}
    secrets = [f"{name}__{each.name}" for each in shown if each.kind == "secret"]
    assert all(whole.id(f"id_{each}_plaintext") for each in secrets)
    assert f"{provider.label} configuration" in whole.text


def test_the_dialog_offers_every_provider_that_is_not_hidden(browser: Client):
    radios = Page(browser.get(CREATE)).id("entity-dialog").all("input", name="dialog_provider")
    assert [radio.attrs["value"] for radio in radios] == [provider.name for provider in offered()]


@pytest.mark.parametrize(
    ("api_type", "fields"),
    [
        ("openai", {"openai_api_key", "openai_api_base", "openai_organization"}),
        (
            "azure",
            {
                "openai_api_key",
                "openai_api_base",
                "openai_deployment_name",
                "openai_api_version",
                "openai_organization",
            },
        ),
        (
            "azuread",
            {
                "microsoft_entra_tenant_id",
                "microsoft_entra_client_id",
                "microsoft_entra_client_secret",
                "openai_api_base",
                "openai_deployment_name",
                "openai_api_version",
            },
        ),
    ],
)
def test_fields_follow_the_api_type(browser: Client, api_type, fields):
    page = redraw(browser, openai(openai__openai_api_type=api_type))
    drawn = {name.removeprefix("openai__").removesuffix("_plaintext") for name in page.visible()}
    assert drawn == fields
    assert not page.root.all("select")  # the controlling choice is not redrawn: focus stays on it
    assert page.id("summary").attrs["hx-swap-oob"] == "true"


def test_a_redraw_is_a_fragment_without_errors_and_changes_nothing(browser: Client):
    response = browser.post(FIELDS, {"provider": "openai", "name": "!!"}, headers=HTMX)
    assert "<html" not in response.content.decode()
    assert Page(response).errors() == {}
    assert not Endpoint.objects.exists()
    assert browser.get(FIELDS).status_code == 405
    assert "no-store" in response["Cache-Control"]


def test_switching_the_provider_five_times_keeps_all_values(browser: Client):
    first = openai(
        task="llm/v1/embeddings",
        openai__external_model_name="text-embedding-3-small",
        openai__openai_api_base="https://models.example.com/v1",
        openai__openai_organization="org-1",
    )
    form = dict(first)
    for provider in ("anthropic", "amazon-bedrock", "openai", "custom", "cohere", "openai"):
        form = confirm(browser, form, provider)
        assert form["provider"] == provider
        if provider == "amazon-bedrock":
            form["amazon-bedrock__aws_region"] = "eu-west-1"
    pasted = "openai__openai_api_key_plaintext"
    assert {name: form[name] for name in first if name != pasted} == {
        n: v for n, v in first.items() if n != pasted
    }
    assert form["amazon-bedrock__aws_region"] == "eu-west-1"
    assert browser.post(CREATE, form).status_code == 303
    assert Endpoint.objects.get().task == "llm/v1/embeddings"


def test_a_task_that_the_new_provider_lacks_is_replaced_by_its_first_one(browser: Client):
    form = confirm(browser, openai(task="llm/v1/embeddings"), "anthropic")
    assert form["task"] == "llm/v1/chat"


def test_values_of_hidden_fields_are_kept(browser: Client):
    form = openai(openai__openai_api_type="azure", openai__openai_deployment_name="mine")
    hidden = redraw(browser, form | {"openai__openai_api_type": "openai"})
    assert "openai__openai_deployment_name" not in hidden.visible()
    back = redraw(browser, hidden.fields() | {"provider": "openai", "openai__openai_api_type": "azure"})
    assert back.id("id_openai__openai_deployment_name").attrs["value"] == "mine"


@pytest.mark.parametrize("step", ["_redraw", "_select", "_confirm", "_add_tag", "_remove_tag"])
def test_no_redraw_echoes_a_pasted_key(browser: Client, step):
    form = openai(dialog_provider="cohere", **{step: "0"})
    for address, headers in ((CREATE, {}), (FIELDS, HTMX)):
        response = browser.post(address, form, headers=headers)
        assert response.status_code == 200
        assert "sk-typed-by-hand" not in response.content.decode()


def test_a_pasted_key_can_be_cleared(browser: Client):
    page = redraw(browser, openai())
    kept_field = "openai__openai_api_key__kept"
    assert page.fields()[kept_field]
    form = openai() | page.fields()
    after = redraw(browser, form | {"_forget": "openai__openai_api_key"})
    assert kept_field not in after.fields()


def test_a_hidden_provider_is_offered_only_where_it_is_chosen(browser: Client):
    page = Page(browser.post(CREATE, {"provider": "palm", "_redraw": "1"}))
    radios = page.id("entity-dialog").all("input", name="dialog_provider")
    assert radios[-1].attrs["value"] == "palm"


# Without JavaScript


def test_without_javascript_the_entity_button_opens_the_dialog_in_the_page(browser: Client):
    assert "open" not in Page(browser.get(CREATE)).id("entity-dialog").attrs
    response = browser.post(CREATE, {"name": "typed", "_select": "1"})
    page = Page(response)
    assert response.status_code == 200
    assert "open" in page.id("entity-dialog").attrs
    assert page.fields()["name"] == "typed"
    chosen = Page(browser.post(CREATE, {"name": "typed", "_confirm": "1", "dialog_provider": "cohere"}))
    assert "open" not in chosen.id("entity-dialog").attrs
    assert chosen.fields()["provider"] == "cohere"
    assert chosen.errors() == {}


def test_without_javascript_every_redraw_has_a_button(browser: Client):
    page = Page(browser.post(CREATE, {"provider": "openai", "_redraw": "1"}))
    selects = [each for each in page.root.all("select") if "hx-post" in each.attrs]
    buttons = [each for script in page.root.all("noscript") for each in script.all("button", name="_redraw")]
    assert len(selects) == len(buttons) == 2


def test_tags_are_added_and_removed_by_submit_buttons(browser: Client):
    tags = {"tags-0-key": "a", "tags-0-value": "1", "tags-1-key": "b", "tags-1-value": "2"}
    added = Page(browser.post(FIELDS, openai(_add_tag="1", **tags), headers=HTMX)).fields()
    assert added == {**tags, "tags-2-key": "", "tags-2-value": ""}
    removed = Page(browser.post(FIELDS, openai(_remove_tag="0", **tags), headers=HTMX)).fields()
    assert removed == {"tags-0-key": "b", "tags-0-value": "2"}
    assert Page(browser.post(CREATE, openai(_add_tag="1"))).has("id_tags-0-key")


def test_a_redraw_needs_only_a_session(stranger: User):
    assert signed_in(stranger).post(FIELDS, openai(), headers=HTMX).status_code == 200
