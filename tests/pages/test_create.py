"""The page Create serving endpoint: its form, its errors, and the endpoint that it creates."""

from __future__ import annotations

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib import clock
from serving_ui.vault import commands as vault
from tests.pages.conftest import CREATE, HTMX, openai, signed_in
from tests.support.pages import Page

KEY = "openai__openai_api_key"


def refused(browser: Client, **more: str) -> Page:
    response = browser.post(CREATE, openai(**more))
    assert response.status_code == 422
    return Page(response)


def test_a_valid_form_creates_the_endpoint(browser: Client, owner: User):
    response = browser.post(
        CREATE,
        openai(
            description="For search.",
            rate_limit_endpoint="60",
            rate_limit_user=" 5 ",
            **{"tags-0-key": "team", "tags-0-value": "search", "tags-1-key": "", "tags-1-value": ""},
        ),
    )
    assert (response.status_code, response["Location"]) == (303, "/ml/endpoints/my-chat")
    endpoint = Endpoint.objects.get(name="my-chat")
    assert endpoint.creator == owner
    assert endpoint.description == "For search."
    assert endpoint.tags == [{"key": "team", "value": "search"}]
    assert {(limit["key"], limit["calls"]) for limit in endpoint.rate_limits} == {
        ("endpoint", 60),
        ("user", 5),
    }
    page = Page(browser.get("/ml/endpoints/my-chat"))
    assert page.state() == "Not ready (Updating)"
    assert "my-chat is being created." in page.messages()


def test_the_empty_form_shows_no_errors(browser: Client):
    page = Page(browser.get(CREATE))
    assert page.errors() == {}
    assert not page.has("problems")
    timeouts = [f"timeout_{name}_seconds" for name in ("connect", "first_byte", "total")]
    assert page.visible() == ["name", "description", "rate_limit_endpoint", "rate_limit_user", *timeouts]
    assert "http://testserver/serving-endpoints/" in page.text


def test_all_errors_are_shown_beside_their_inputs_and_in_a_summary(browser: Client):
    page = refused(
        browser,
        name="not a name",
        openai__external_model_name="",
        openai__openai_api_base="ftp://example.com",
        rate_limit_endpoint="many",
        **{KEY + "_plaintext": "", "tags-0-key": "", "tags-0-value": "alone"},
    )
    assert set(page.errors()) == {
        "name",
        "openai__external_model_name",
        KEY,
        "openai__openai_api_base",
        "rate_limit_endpoint",
        "tags-0-key",
    }
    assert all(sentence.endswith(".") for sentence in page.errors().values())
    targets = [link.attrs["href"] for link in page.id("problems").all("a")]
    assert len(targets) == 6
    for target in targets:
        place = page.id(target.removeprefix("#"))
        assert place.attrs["aria-invalid"] == "true"
        assert place.attrs["aria-describedby"]
    assert "6 answers need attention." in page.id("problems").text


def test_a_refused_form_keeps_its_values(browser: Client):
    answers = openai(name="no good!", rate_limit_user="x", **{"tags-3-key": "team", "tags-3-value": "search"})
    fields = Page(browser.post(CREATE, answers)).fields()
    for name in ("name", "provider", "task", "openai__external_model_name", "rate_limit_user"):
        assert fields[name] == answers[name]
    assert (fields["tags-0-key"], fields["tags-0-value"]) == ("team", "search")


def test_a_name_that_is_taken_is_shown_with_the_other_errors(browser: Client, ready):
    page = refused(browser, name="chat", openai__external_model_name="")
    assert page.errors()["name"] == "An endpoint named chat exists already. Choose another name."
    assert "openai__external_model_name" in page.errors()
    assert set(refused(browser, name="chat").errors()) == {"name"}


def test_without_an_entity_the_only_error_is_the_missing_entity(browser: Client):
    response = browser.post(CREATE, {"name": "my-chat"})
    page = Page(response)
    assert response.status_code == 422
    assert [each.attrs["href"] for each in page.id("problems").all("a")] == ["#entity-button"]
    assert page.id("entity-problem").text


@pytest.mark.parametrize(
    ("reference", "pasted", "sentence"),
    [
        ("", "", "is missing"),
        ("{{secrets/a/b}}", "sk-typed", "not both"),
        ("sk-in-the-wrong-place", "", "must be a secret reference"),
        ("{{secrets/no/such}}", "", "no secret scope no"),
        ("", "{{secrets/a/b}}", "Give the reference as"),
    ],
)
def test_a_secret_must_be_either_a_reference_or_a_pasted_key(browser: Client, reference, pasted, sentence):
    page = refused(browser, **{KEY: reference, KEY + "_plaintext": pasted})
    assert list(page.errors()) == [KEY]
    assert sentence in page.errors()[KEY]


def test_a_secret_reference_is_suggested_and_accepted(browser: Client, owner: User):
    vault.create_scope(name="keys", actor=owner, now=clock.now())
    vault.put_secret(scope="keys", key="openai", value="sk-in-the-vault", actor=owner, now=clock.now())
    options = Page(browser.get(CREATE)).id("secret-references").all("option")
    assert [option.attrs["value"] for option in options] == ["{{secrets/keys/openai}}"]
    response = browser.post(CREATE, openai(**{KEY: "{{secrets/keys/openai}}", KEY + "_plaintext": ""}))
    assert response.status_code == 303


def test_a_pasted_key_is_kept_through_a_refusal_without_being_echoed(browser: Client):
    page = refused(browser, name="no good!")
    assert "sk-typed-by-hand" not in page.html
    assert page.id(f"id_{KEY}_plaintext").attrs["placeholder"] == "Pasted. Leave empty to keep."
    again = page.fields() | {"name": "my-chat"}
    assert again[KEY + "_plaintext"] == ""
    assert browser.post(CREATE, again).status_code == 303


def test_a_sealed_key_is_refused_for_another_person_or_field(browser: Client, teammate: User):
    sealed = refused(browser, name="no good!").fields()[KEY + "__kept"]
    stolen = openai(**{KEY + "_plaintext": "", KEY + "__kept": sealed})
    response = signed_in(teammate).post(CREATE, stolen)
    assert response.status_code == 422
    assert "Paste it again." in Page(response).errors()[KEY]
    moved = {
        "name": "c",
        "provider": "cohere",
        "task": "llm/v1/chat",
        "cohere__external_model_name": "command-r",
    }
    response = browser.post(CREATE, {**moved, "cohere__cohere_api_key__kept": sealed})
    assert "Paste it again." in Page(response).errors()["cohere__cohere_api_key"]


def test_the_name_is_checked_when_the_field_loses_focus(browser: Client, ready):
    field = Page(browser.get(CREATE)).id("id_name")
    assert (field.attrs["hx-trigger"], field.attrs["hx-target"]) == ("change", "#name-problem")
    address = field.attrs["hx-get"]
    taken = browser.get(address, {"name": "chat"}, headers=HTMX)
    assert "exists already" in Page(taken).errors()["name"]
    assert "<html" not in taken.content.decode()
    assert Page(browser.get(address, {"name": "databricks-x"})).errors()
    assert not Page(browser.get(address, {"name": "free"})).errors()
    assert not Page(browser.get(address, {"name": ""})).errors()


@pytest.mark.parametrize(
    "answers",
    [
        {"provider": "no-such-provider"},
        {"task": "no/such/task"},
        {"openai__openai_api_type": "no-such-type"},
        {"rate_limit_endpoint": "9" * 400},
        {"rate_limit_endpoint": "²"},
        {"tags-9999-key": "k", "tags-0001-key": "k", "tags-x-key": "k"},
        {"name": "\x00"},
        {"description": "\ud83d"},
        {"name": "<script>alert(1)</script>"},
        {"_remove_tag": "99"},
        {"_remove_tag": "x"},
        {"_confirm": "1", "dialog_provider": "nonsense"},
        {"_forget": "nonsense"},
        {"openai__openai_api_key__kept": "nonsense", "openai__openai_api_key_plaintext": ""},
    ],
)
def test_invalid_input_is_never_a_server_error(browser: Client, answers):
    sent = {name: value.encode("utf-8", "surrogatepass") for name, value in openai(**answers).items()}
    response = browser.post(CREATE, sent)
    assert response.status_code in (200, 303, 422)
    assert "<script>alert" not in response.content.decode()
    assert browser.post(CREATE + "/fields", sent, headers=HTMX).status_code == 200
