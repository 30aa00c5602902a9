"""Pages of an endpoint whose secret may not be sent, or whose submitter is deactivated: the note and the take-over button."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from serving_ui.accounts import directory
from serving_ui.accounts.models import User
from serving_ui.catalogue.spec import EndpointSpec
from serving_ui.endpoints import commands
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.lib import clock
from tests.endpoints import secret_scenario
from tests.pages.conftest import HTMX, settle, signed_in
from tests.support.pages import Page

pytestmark = pytest.mark.django_db(transaction=True)
CHAT, TAKE_OVER, EDIT = (f"/ml/endpoints/chat{path}" for path in ("", "/take-over", "/edit"))


@pytest.fixture(autouse=True)
def chat(owner: User, teammate: User) -> Endpoint:
    """An endpoint that the teammate created with a secret of the owner. The owner manages it, too."""
    secret_scenario.make_scope(owner)
    secret_scenario.let_read(owner, teammate)
    spec = EndpointSpec(name="chat", config=secret_scenario.config("http://127.0.0.1:9/v1"))
    made = settle(commands.create_endpoint(spec=spec, actor=teammate, now=clock.now()), "active")
    secret_scenario.let_manage(teammate, owner)
    return made


def note(browser: Client) -> str:
    page = Page(browser.get(CHAT))
    return page.id("secrets-note").text if page.has("secrets-note") else ""


def test_without_a_problem_there_is_no_note(browser: Client):
    assert note(browser) == ""
    assert not Page(browser.get("/ml/secrets")).has("takeovers")


def test_an_endpoint_whose_secret_may_not_be_sent_shows_the_reason_and_whom_to_ask(
    browser: Client, owner: User, teammate: User, stranger: User
):
    secret_scenario.withdraw(owner, teammate)
    assert secret_scenario.state_after_revocations() == ("NOT_READY", "NOT_UPDATING")
    page = Page(browser.get(CHAT))
    assert page.state() == "Not ready"
    assert page.id("endpoint-config").one("span", class_="state").text == "Not ready"
    for word in (secret_scenario.REFERENCE, teammate.email, owner.email):
        assert word in note(browser)
    assert "The endpoint is no longer ready." in page.text
    assert page.has("take-over-button")
    assert "Not ready" in Page(browser.get("/ml/endpoints")).text
    theirs = Page(signed_in(teammate).get(CHAT))
    assert theirs.has("secrets-note") and not theirs.has("take-over-button")
    grant(name="chat", to=stranger.email, level=Level.CAN_VIEW, actor=teammate, now=clock.now())
    assert not Page(signed_in(stranger).get(CHAT)).has("take-over-button")


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_the_take_over_button_makes_the_endpoint_ready(
    browser: Client, owner: User, teammate: User, headers: dict[str, str]
):
    secret_scenario.withdraw(owner, teammate)
    secret_scenario.state_after_revocations()
    answer = browser.post(TAKE_OVER, headers=headers)
    if headers:
        assert answer.status_code == 200
        assert Page(answer).state() == "Ready"
    else:
        assert (answer.status_code, answer["Location"]) == (303, CHAT)
    page = Page(browser.get(CHAT))
    assert (page.state(), note(browser)) == ("Ready", "")
    assert f"{owner.email} took over: {secret_scenario.REFERENCE}" in page.text
    assert secret_scenario.sent_key() == "first"
    again = browser.post(TAKE_OVER, headers=headers)  # a stale button is no error
    assert again.status_code in (200, 303)


def test_a_takeover_without_the_right_to_read_the_secret_names_whom_to_ask(owner: User, teammate: User):
    secret_scenario.withdraw(owner, teammate)
    answer = signed_in(teammate).post(TAKE_OVER, headers=HTMX)
    assert f"Ask {owner.email}." in Page(answer).text
    assert secret_scenario.sent_key() is None


def test_a_takeover_needs_the_right_to_manage(stranger: User, teammate: User):
    assert signed_in(stranger).post(TAKE_OVER).status_code == 404
    grant(name="chat", to=stranger.email, level=Level.CAN_QUERY, actor=teammate, now=clock.now())
    assert signed_in(stranger).post(TAKE_OVER).status_code == 403
    assert signed_in(stranger).get(TAKE_OVER).status_code == 405


def test_an_endpoint_of_somebody_who_is_deactivated_is_listed_for_takeover(
    browser: Client, teammate: User, admin: User
):
    directory.change_principal(user=teammate, active=False, actor=admin)
    page = Page(browser.get(CHAT))
    assert page.state() == "Ready"
    assert f"{teammate.email}, who gave this endpoint the secret" in note(browser)
    for client in (browser, signed_in(admin)):
        listed = Page(client.get("/ml/secrets")).id("takeovers")
        assert [cell.text for cell in listed.all("td")] == ["chat", secret_scenario.REFERENCE, teammate.email]
    browser.post(TAKE_OVER)
    assert note(browser) == ""
    assert not Page(signed_in(admin).get("/ml/secrets")).has("takeovers")


def test_saving_the_form_again_uses_a_secret_that_was_deleted_and_put_again(browser: Client, owner: User):
    secret_scenario.delete_key(owner)
    secret_scenario.rotate(owner, "second")
    secret_scenario.state_after_revocations()
    assert "was deleted" in note(browser)
    assert not Page(browser.get(CHAT)).has("take-over-button")
    assert browser.post(EDIT, Page(browser.get(EDIT)).fields()).status_code == 303
    settle(Endpoint.objects.get(name="chat"), "active")
    assert (note(browser), secret_scenario.sent_key()) == ("", "second")


def test_a_page_without_secret_references_queries_no_secrets(browser: Client, make_endpoint):
    settle(make_endpoint("plain"), "active")
    with CaptureQueriesContext(connection) as queries:
        browser.get("/ml/endpoints/plain")
    assert not [each for each in queries.captured_queries if "secretbinding" in each["sql"]]
    with CaptureQueriesContext(connection) as queries:
        browser.get(CHAT)
    assert len([each for each in queries.captured_queries if "secretbinding" in each["sql"]]) == 1
