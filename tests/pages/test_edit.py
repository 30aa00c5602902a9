"""The edit form: prefilled values, stored secrets, conflicts between two tabs, and no update without a change."""

from __future__ import annotations

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.catalogue.spec import Tag, parse_endpoint
from serving_ui.endpoints import commands
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.lib import clock
from serving_ui.vault import commands as vault
from tests.pages.conftest import HTMX, settle, signed_in
from tests.support.canary import CANARY
from tests.support.pages import Page

EDIT = "/ml/endpoints/chat/edit"
KEY = "openai__openai_api_key"


def opened(browser: Client) -> dict[str, str]:
    """The fields of the edit form when it is opened."""
    return Page(browser.get(EDIT)).fields()


def current() -> Endpoint:
    return Endpoint.objects.select_related("active", "pending", "latest").get(name="chat")


def test_the_form_is_prefilled_and_shows_that_a_key_is_stored(browser: Client, ready):
    response = browser.get(EDIT)
    page = Page(response)
    fields = page.fields()
    assert (fields["provider"], fields["task"]) == ("openai", "llm/v1/chat")
    assert fields["openai__external_model_name"] == "gpt-4"
    assert fields["served_entity_name"] == "entity"
    assert fields[KEY] == fields[KEY + "_plaintext"] == ""
    assert page.id(f"id_{KEY}_plaintext").attrs["placeholder"] == "Stored. Leave empty to keep."
    assert CANARY not in page.html
    stored = current().active.config.secrets()  # type: ignore[union-attr]
    assert all(str(secret.stored_id) not in page.html for secret in stored.values())
    assert "Update" in page.buttons()
    assert not page.has("id_name")


def test_an_update_makes_a_pending_version_and_keeps_the_key(browser: Client, ready):
    response = browser.post(EDIT, opened(browser) | {"openai__external_model_name": "gpt-4o"})
    assert (response.status_code, response["Location"]) == (303, "/ml/endpoints/chat")
    endpoint = current()
    assert endpoint.pending
    assert endpoint.pending.config.served_entities[0].external.name == "gpt-4o"
    assert endpoint.active
    assert endpoint.pending.config.secrets() == endpoint.active.config.secrets()
    page = Page(browser.get("/ml/endpoints/chat"))
    assert page.state() == "Ready (Updating)"
    assert "The update has begun." in page.messages()


def test_saving_without_changes_updates_nothing(browser: Client, ready):
    generation = current().generation
    assert browser.post(EDIT, opened(browser)).status_code == 303
    assert current().generation == generation
    assert "Nothing was changed" in Page(browser.get("/ml/endpoints/chat")).messages()


def test_tags_and_limits_change_at_once_and_make_no_version(browser: Client, ready):
    fields = opened(browser) | {"tags-0-key": "team", "tags-0-value": "a", "rate_limit_user": "7"}
    assert browser.post(EDIT, fields).status_code == 303
    endpoint = current()
    assert endpoint.tags == [{"key": "team", "value": "a"}]
    assert endpoint.rate_limits == [{"calls": 7, "key": "user", "renewal_period": "minute"}]
    assert not endpoint.is_updating
    assert "in force" in Page(browser.get("/ml/endpoints/chat")).messages()


def test_the_description_changes_at_once_and_makes_no_version(browser: Client, ready):
    assert opened(browser)["description"] == ""
    assert (
        browser.post(EDIT, opened(browser) | {"description": "For the team.\r\nAsk us."}).status_code == 303
    )
    endpoint = current()
    assert endpoint.description.splitlines() == ["For the team.", "Ask us."]
    assert (endpoint.is_updating, endpoint.versions.count()) == (False, 1)
    page = Page(browser.get("/ml/endpoints/chat"))
    assert "in force" in page.messages()
    assert "For the team." in page.text
    assert (
        "Description changed by owner@example.com."
        in browser.get("/ml/endpoints/chat?tab=events").content.decode()
    )
    generation = current().generation
    browser.post(EDIT, opened(browser))
    assert current().generation == generation


def test_a_description_that_is_too_long_is_refused_beside_its_input(browser: Client, ready):
    response = browser.post(EDIT, opened(browser) | {"description": "x" * 2001, "rate_limit_user": "7"})
    assert response.status_code == 422
    assert "2000" in Page(response).id("id_description_error").text
    assert not current().rate_limits


def test_limits_can_be_changed_while_an_update_runs(browser: Client, make_endpoint):
    make_endpoint("chat")
    assert browser.post(EDIT, opened(browser) | {"rate_limit_user": "7"}).status_code == 303
    assert current().is_updating
    assert current().rate_limits


def test_a_second_update_is_refused_and_the_form_keeps_its_values(browser: Client, ready):
    first = opened(browser)
    browser.post(EDIT, first | {"openai__external_model_name": "gpt-4o"})
    second = opened(browser) | {"openai__external_model_name": "o1", KEY + "_plaintext": "sk-new"}
    response = browser.post(EDIT, second)
    page = Page(response)
    assert response.status_code == 409
    assert "An update of chat to version 2 is running." in page.id("refusal").text
    assert page.fields()["openai__external_model_name"] == "o1"
    assert "sk-new" not in page.html


def test_saving_a_stale_form_shows_what_changed_and_can_be_repeated(browser: Client, ready, owner: User):
    mine = opened(browser) | {"openai__external_model_name": "o1"}
    commands.edit_endpoint(
        name="chat",
        changes=EndpointChanges(tags=[Tag(key="by", value="other")]),
        actor=owner,
        now=clock.now(),
    )
    response = browser.post(EDIT, mine)
    page = Page(response)
    assert response.status_code == 409
    assert "Tags changed by owner@example.com." in page.id("refusal").text
    assert page.fields()["openai__external_model_name"] == "o1"
    assert browser.post(EDIT, page.fields()).status_code == 303
    assert current().pending


def test_saving_a_stale_form_names_the_fields_of_a_changed_config(browser: Client, ready):
    mine = opened(browser) | {"openai__external_model_name": "o1"}
    browser.post(
        EDIT, opened(browser) | {"openai__external_model_name": "gpt-4o", "served_entity_name": "new"}
    )
    settle(current(), "active")
    text = Page(browser.post(EDIT, mine)).id("refusal").text
    assert "Configuration version 2 submitted by owner@example.com." in text
    assert "Changed since you opened the form: External model name, Served entity name." in text


def test_the_progress_of_an_update_makes_no_form_stale(browser: Client, make_endpoint):
    endpoint = make_endpoint("chat")
    mine = opened(browser)
    settle(endpoint, "active")
    assert browser.post(EDIT, mine | {"openai__external_model_name": "o1"}).status_code == 303


def test_a_changed_address_requires_the_key_again(browser: Client, ready):
    response = browser.post(
        EDIT, opened(browser) | {"openai__openai_api_base": "https://elsewhere.example.com/v1"}
    )
    page = Page(response)
    assert response.status_code == 422
    assert "Enter the secret again." in page.errors()[KEY]
    again = page.fields() | {KEY + "_plaintext": "sk-for-elsewhere"}
    assert browser.post(EDIT, again).status_code == 303


AGAIN = "If you change this, the secret must be given again."


def test_fields_that_decide_where_a_stored_secret_is_sent_have_a_warning(
    browser: Client, ready, owner: User, teammate: User
):
    base, organization = "id_openai__openai_api_base", "id_openai__openai_organization"

    def warns(client: Client, field: str, **typed: str) -> bool:
        fields = Page(client.get(EDIT)).fields() | typed
        line = Page(client.post(EDIT, fields | {"_redraw": "1"})).id(field).parent
        assert line
        return AGAIN in line.text

    assert warns(browser, base)
    assert warns(browser, "id_openai__openai_api_type")
    assert not warns(browser, organization)
    assert not warns(browser, base, **{KEY + "_plaintext": "sk-new"})
    assert AGAIN not in browser.get("/ml/endpoints/create").content.decode()
    vault.create_scope(name="prod", actor=owner, now=clock.now())
    vault.put_secret(scope="prod", key="key", value="v", actor=owner, now=clock.now())
    named = {KEY: "{{secrets/prod/key}}"}
    assert not warns(browser, base, **named)
    grant(name="chat", to=teammate.email, level=Level.CAN_MANAGE, actor=owner, now=clock.now())
    assert warns(signed_in(teammate), base, **named)


def test_errors_are_shown_beside_their_inputs(browser: Client, ready):
    response = browser.post(
        EDIT, opened(browser) | {"openai__external_model_name": "", "rate_limit_user": "-1"}
    )
    assert response.status_code == 422
    assert set(Page(response).errors()) == {"openai__external_model_name", "rate_limit_user"}


def test_the_form_starts_from_a_failed_config_and_saving_retries_it(browser: Client, ready):
    browser.post(EDIT, opened(browser) | {"openai__external_model_name": "gpt-wrong"})
    settle(current(), "failed", "no such model")
    fields = opened(browser)
    assert fields["openai__external_model_name"] == "gpt-wrong"
    assert browser.post(EDIT, fields).status_code == 303
    assert current().pending


def test_saving_the_active_config_after_a_failure_starts_no_update(browser: Client, ready):
    browser.post(EDIT, opened(browser) | {"openai__external_model_name": "gpt-wrong"})
    settle(current(), "failed")
    assert browser.post(EDIT, opened(browser) | {"openai__external_model_name": "gpt-4"}).status_code == 303
    assert not current().is_updating


def test_a_redraw_keeps_the_stored_key_for_its_provider_only(browser: Client, ready):
    fields = opened(browser)
    page = Page(browser.post(EDIT + "/fields", fields, headers=HTMX))
    assert page.id(f"id_{KEY}_plaintext").attrs["placeholder"] == "Stored. Leave empty to keep."
    other = Page(browser.post(EDIT, fields | {"_confirm": "1", "dialog_provider": "cohere"}))
    assert other.id("id_cohere__cohere_api_key_plaintext").attrs["placeholder"] == ""
    back = Page(browser.post(EDIT, other.fields() | {"_confirm": "1", "dialog_provider": "openai"}))
    assert back.id(f"id_{KEY}_plaintext").attrs["placeholder"] == "Stored. Leave empty to keep."


def test_a_stored_key_can_be_replaced_by_a_new_one(browser: Client, ready):
    browser.post(EDIT, opened(browser) | {KEY + "_plaintext": "sk-new"})
    endpoint = current()
    assert endpoint.pending
    assert endpoint.active
    assert endpoint.pending.config.secrets() != endpoint.active.config.secrets()


@pytest.mark.parametrize("broken", [{"generation": "x"}, {"based_on": "99"}, {"based_on": ""}])
def test_an_invalid_hidden_field_is_400(browser: Client, ready, broken):
    assert browser.post(EDIT, opened(browser) | broken).status_code == 400


def test_an_endpoint_without_a_config_is_edited_and_gets_its_first(browser: Client, owner: User):
    commands.create_endpoint(spec=parse_endpoint({"name": "chat"}), actor=owner, now=clock.now())
    page = Page(browser.get("/ml/endpoints/chat"))
    assert page.state() == "Not ready"
    assert "No configuration yet" in page.html
    fields = opened(browser)
    assert browser.post(EDIT, fields | {"description": "For later"}).status_code == 303
    assert (current().description, current().latest) == ("For later", None)
    first = {"provider": "openai", "task": "llm/v1/chat", "openai__external_model_name": "gpt-4o"}
    response = browser.post(EDIT, opened(browser) | first | {KEY + "_plaintext": CANARY})
    assert response.status_code == 303
    assert current().pending
    assert Page(browser.get("/ml/endpoints/chat")).state() == "Not ready (Updating)"
