"""The actions of an endpoint's page: cancel, retry, delete, permissions; with htmx and without."""

from __future__ import annotations

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.endpoints.models import Endpoint
from tests.pages.conftest import HTMX, settle, signed_in
from tests.support.pages import Page

PAGE = "/ml/endpoints/chat"


def test_cancel_stops_the_update_and_redirects_to_the_page(browser: Client, make_endpoint):
    make_endpoint()
    response = browser.post(PAGE + "/cancel")
    assert (response.status_code, response["Location"]) == (303, PAGE)
    page = Page(browser.get(PAGE))
    assert page.state() == "Not ready (Update canceled)"
    assert "The update was canceled." in page.messages()


def test_cancel_by_htmx_answers_with_the_state_and_a_message(browser: Client, make_endpoint):
    make_endpoint()
    page = Page(browser.post(PAGE + "/cancel", headers=HTMX))
    assert page.state() == "Not ready (Update canceled)"
    assert not page.is_polling()
    assert page.id("messages").attrs["hx-swap-oob"] == "innerHTML"
    assert "The update was canceled." in page.messages()


def test_a_stale_cancel_button_shows_the_current_state(browser: Client, ready):
    response = browser.post(PAGE + "/cancel", headers=HTMX)
    assert response.status_code == 200
    assert Page(response).state() == "Ready"
    assert "nothing to cancel" in Page(response).messages()


def test_retry_makes_the_failed_config_pending_again(browser: Client, make_endpoint):
    settle(make_endpoint(), "failed")
    page = Page(browser.post(PAGE + "/retry", headers=HTMX))
    assert page.state() == "Not ready (Updating)"
    assert page.is_polling()
    assert "Cancel update" in page.buttons()


def test_an_earlier_version_can_be_made_pending_again(browser: Client, ready):
    assert browser.post(PAGE + "/retry", {"number": "1"}).status_code == 303
    assert Endpoint.objects.get().is_updating
    assert browser.post(PAGE + "/retry", {"number": "1"}).status_code == 303
    assert "is running" in Page(browser.get(PAGE)).messages()


@pytest.mark.parametrize("number", ["99", "x", "-1"])
def test_retrying_a_version_that_does_not_exist_is_no_server_error(browser: Client, ready, number):
    assert browser.post(PAGE + "/retry", {"number": number}).status_code == 303


def test_deleting_needs_the_name_of_the_endpoint(browser: Client, ready):
    page = Page(browser.get(PAGE + "/delete"))
    assert "Delete chat?" in page.text
    wrong = browser.post(PAGE + "/delete", {"typed_name": "Chat"})
    assert wrong.status_code == 422
    assert "Type chat to delete it." in Page(wrong).text
    assert Endpoint.objects.exists()
    right = browser.post(PAGE + "/delete", {"typed_name": "chat"})
    assert (right.status_code, right["Location"]) == (303, "/ml/endpoints")
    assert not Endpoint.objects.exists()
    assert "chat was deleted." in Page(browser.get("/ml/endpoints")).messages()


def test_the_page_has_the_delete_confirmation_in_a_dialog(browser: Client, ready):
    page = Page(browser.get(PAGE))
    assert page.id("delete-dialog").one("form").attrs["action"] == PAGE + "/delete"
    assert page.id("delete-link").attrs["href"] == PAGE + "/delete"


@pytest.mark.parametrize("action", ["cancel", "retry", "permissions", "edit/fields"])
def test_actions_do_not_accept_get(browser: Client, ready, action):
    assert browser.get(f"{PAGE}/{action}").status_code == 405


def test_a_permission_is_granted_shown_and_removed(browser: Client, ready, teammate: User):
    give = browser.post(PAGE + "/permissions", {"principal": teammate.email, "level": "CAN_QUERY"})
    assert give["Location"] == PAGE + "?tab=permissions"
    panel = Page(browser.get(PAGE + "?tab=permissions")).id("tab-panel")
    assert "teammate@example.com Can query" in panel.text
    theirs = Page(signed_in(teammate).get(PAGE + "?tab=permissions"))
    assert not theirs.id("tab-panel").all("form")
    browser.post(PAGE + "/permissions", {"principal": teammate.email, "level": "NONE"})
    assert signed_in(teammate).get(PAGE).status_code == 404


def test_a_permission_is_granted_to_all_users(browser: Client, ready, stranger: User):
    browser.post(PAGE + "/permissions", {"principal": "Users", "level": "CAN_VIEW"})
    panel = Page(browser.get(PAGE + "?tab=permissions")).id("tab-panel")
    assert "users Can view" in panel.text
    assert signed_in(stranger).get(PAGE).status_code == 200
    browser.post(PAGE + "/permissions", {"principal": "users", "level": "NONE"})
    assert signed_in(stranger).get(PAGE).status_code == 404


def test_the_permission_of_the_creator_cannot_be_changed(browser: Client, ready, owner: User):
    response = browser.post(PAGE + "/permissions", {"principal": owner.email, "level": "CAN_VIEW"})
    assert response.status_code == 422
    assert "always has the permission" in Page(response).id("grant-problem").text


def test_a_permission_for_an_unknown_person_is_refused_beside_the_field(browser: Client, ready):
    response = browser.post(PAGE + "/permissions", {"principal": "nobody@example.com", "level": "CAN_VIEW"})
    page = Page(response)
    assert response.status_code == 422
    assert "nobody@example.com" in page.id("grant-problem").text
    assert page.id("grant-to").attrs["aria-describedby"] == "grant-problem"


def test_a_level_that_does_not_exist_is_a_bad_request(browser: Client, ready, teammate: User):
    assert (
        browser.post(PAGE + "/permissions", {"principal": teammate.email, "level": "OWNER"}).status_code
        == 400
    )
