"""An endpoint's page: the content of each state, polling, and the buttons by permission level."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.endpoints import built_in, commands
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.gateway.spool import Spool
from serving_ui.lib import clock
from serving_ui.usage.ingest import ingest
from tests.conftest import spec
from tests.pages.conftest import HTMX, settle, signed_in
from tests.support.canary import CANARY
from tests.support.pages import Page
from tests.usage.conftest import record

PAGE, STATE = "/ml/endpoints/chat", "/ml/endpoints/chat/state"
STATES = [
    ([], "Not ready (Updating)", True, "Cancel update"),
    (["failed"], "Not ready (Update failed)", False, "Retry"),
    (["canceled"], "Not ready (Update canceled)", False, "Retry"),
    (["active"], "Ready", False, None),
    (["active", "update"], "Ready (Updating)", True, "Cancel update"),
    (["active", "update", "failed"], "Ready (Update failed)", False, "Retry"),
    (["active", "update", "canceled"], "Ready (Update canceled)", False, "Retry"),
    (["active", "update", "active"], "Ready", False, None),
]


def apply_steps(endpoint: Endpoint, owner: User, steps: list[str]) -> Endpoint:
    """Starts and ends updates of an endpoint, in order: `update`, or an outcome of the running one."""
    for step in steps:
        if step == "update":
            config = spec(model="gpt-4o").config
            commands.edit_endpoint(
                name=endpoint.name, changes=EndpointChanges(config=config), actor=owner, now=clock.now()
            )
        else:
            settle(endpoint, step, "Incorrect API key provided.")
    return endpoint


@pytest.mark.parametrize("case", STATES)
def test_every_state_has_its_label_polling_and_button(browser: Client, owner: User, make_endpoint, case):
    steps, label, polls, button = case
    apply_steps(make_endpoint(), owner, steps)
    page = Page(browser.get(PAGE))
    assert page.state() == label
    assert page.is_polling() is polls
    offered = {"Cancel update", "Retry"} & set(page.buttons())
    assert offered == ({button} if button else set())
    assert page.id("endpoint-state").all("svg", class_="icon")  # the state is never colour alone


@pytest.mark.parametrize("case", STATES)
def test_the_polled_fragment_shows_the_same_state_as_the_page(
    browser: Client, owner: User, make_endpoint, case
):
    steps, label, polls, _button = case
    apply_steps(make_endpoint(), owner, steps)
    response = browser.get(STATE, headers=HTMX)
    page = Page(response)
    assert (page.state(), page.is_polling()) == (label, polls)
    assert "<html" not in page.html
    assert page.id("endpoint-config").attrs["hx-swap-oob"] == "true"
    assert "endpoint-changed" in response["HX-Trigger"]
    assert "Serving endpoint state:" in page.messages() if not polls else not page.has("messages")


def test_a_poll_is_204_until_something_changes_and_polling_ends_with_the_update(
    browser: Client, make_endpoint
):
    endpoint = make_endpoint()
    section = Page(browser.get(PAGE)).id("endpoint-state")
    assert section.attrs["hx-trigger"] == "every 1s"
    address = section.attrs["hx-get"]
    assert browser.get(address, headers=HTMX).status_code == 204
    ConfigVersion.objects.update(message="The provider answered 503; trying again.")
    assert "trying again" in Page(browser.get(address, headers=HTMX)).text
    settle(endpoint, "active")
    after = Page(browser.get(address, headers=HTMX))
    assert not after.is_polling()
    assert after.messages() == "Serving endpoint state: Ready."


def test_the_poll_interval_grows_with_the_age_of_the_update(browser: Client, make_endpoint):
    make_endpoint()
    for minutes, interval in ((2, "every 3s"), (20, "every 10s")):
        ConfigVersion.objects.update(created_at=clock.now() - timedelta(minutes=minutes))
        assert Page(browser.get(PAGE)).id("endpoint-state").attrs["hx-trigger"] == interval


def test_a_failed_update_shows_the_reason_and_the_version(browser: Client, owner: User, make_endpoint):
    apply_steps(make_endpoint(), owner, ["active", "update", "failed"])
    text = Page(browser.get(PAGE)).id("endpoint-state").text
    assert "Configuration version 2 failed" in text
    assert "Incorrect API key provided." in text
    assert "The active configuration keeps answering queries." in text


def test_the_active_and_the_pending_config_can_both_be_shown(browser: Client, owner: User, make_endpoint):
    apply_steps(make_endpoint(), owner, ["active", "update"])
    page = Page(browser.get(PAGE))
    assert page.id("endpoint-config").one("h2").text == "Pending configuration"
    assert [link.text for link in page.root.one("nav", class_="segments").all("a")] == ["Active", "Pending"]
    active = Page(browser.get(page.id("config-active").attrs["href"]))
    assert active.id("endpoint-config").one("h2").text == "Active configuration"
    assert "gpt-4" in active.id("endpoint-config").text
    assert "config=active" in active.id("endpoint-state").attrs["hx-get"]
    cells = [cell.text for cell in active.id("endpoint-config").all("td")]
    assert cells == ["O gpt-4", "OpenAI", "entity", "Ready", "100"]


def test_a_failed_config_can_be_shown(browser: Client, owner: User, make_endpoint):
    apply_steps(make_endpoint(), owner, ["active", "update", "failed"])
    page = Page(browser.get(PAGE + "?config=pending"))
    assert page.id("endpoint-config").one("h2").text == "Failed configuration"
    assert "gpt-4o" in page.id("endpoint-config").text


def test_events_and_versions_are_listed_without_secrets(browser: Client, owner: User, make_endpoint):
    apply_steps(make_endpoint(), owner, ["active", "update", "failed"])
    events = Page(browser.get(PAGE + "?tab=events"))
    types = [row.all("td")[1].text for row in events.id("tab-panel").all("tr")[1:]]
    assert types[0] == "ENDPOINT_UPDATE_FAILED_EVENT"
    assert types[-1] == "ENDPOINT_CREATION_EVENT"
    versions = Page(browser.get(PAGE + "?tab=versions"))
    rows = [[cell.text for cell in row.all("td")][:4] for row in versions.id("tab-panel").all("tr")[1:]]
    assert rows == [
        ["2", "Failed", "openai · gpt-4o", "owner@example.com"],
        ["1", "Active", "openai · gpt-4", "owner@example.com"],
    ]
    assert CANARY not in events.html + versions.html


@pytest.mark.parametrize(
    ("level", "statuses"),
    [
        (Level.NONE, (404, 404, 404)),
        (Level.CAN_VIEW, (200, 403, 403)),
        (Level.CAN_QUERY, (200, 403, 200)),
        (Level.CAN_MANAGE, (200, 200, 200)),
    ],
)
def test_pages_and_actions_require_their_permission_level(
    ready, owner: User, teammate: User, level, statuses
):
    page_status, edit_status, query_status = statuses
    grant(name="chat", to=teammate.email, level=level, actor=owner, now=clock.now())
    browser = signed_in(teammate)
    page = browser.get(PAGE)
    assert page.status_code == page_status
    assert browser.get(STATE, headers=HTMX).status_code == page_status
    assert browser.get(PAGE + "/edit").status_code == edit_status
    assert browser.get(PAGE + "/delete").status_code == edit_status
    assert browser.get(PAGE + "/query").status_code == query_status
    for action in ("cancel", "retry", "delete", "permissions", "edit", "edit/fields"):
        status = browser.post(f"{PAGE}/{action}").status_code
        assert status == edit_status or (edit_status == 200 and status in (303, 400, 422))
    if page_status == 200:
        assert Page(page).has("edit-link") is Page(page).has("delete-dialog") is (edit_status == 200)
        assert Page(page).has("query-link") is (query_status == 200)


def test_an_endpoint_without_any_right_is_answered_like_a_missing_one(ready, stranger: User):
    browser = signed_in(stranger)
    assert browser.get(PAGE).content == browser.get("/ml/endpoints/nothing").content


def test_a_built_in_endpoint_can_be_queried_by_all_and_changed_by_none(admin: User):
    built_in.ensure()
    browser = signed_in(admin)
    page = Page(browser.get("/ml/endpoints/sandbox-chat"))
    assert page.has("query-link")
    assert not page.has("edit-link")
    refusal = browser.get("/ml/endpoints/sandbox-chat/edit")
    assert refusal.status_code == 403
    assert "built-in and cannot be changed" in Page(refusal).text


def test_the_page_and_its_poll_make_few_database_queries(
    browser: Client, make_endpoint, django_assert_max_num_queries
):
    make_endpoint()
    browser.get(PAGE)
    with django_assert_max_num_queries(6):
        browser.get(PAGE)
    with django_assert_max_num_queries(4):
        browser.get(STATE, headers=HTMX)


def test_the_page_shows_the_usage_of_the_last_24_hours(browser: Client, make_endpoint, tmp_path):
    endpoint = make_endpoint()
    assert "No requests" in Page(browser.get(PAGE)).text
    spool = Spool(tmp_path)
    for status in (200, 200, 429, 502):
        spool.record(record(endpoint_id=endpoint.id, status=status, tokens_in=600))
    yesterday = (clock.now() - timedelta(hours=25)).timestamp()
    spool.record(record(endpoint_id=endpoint.id, at=yesterday))
    spool.stop()
    ingest(folder=tmp_path, clock=clock.now)
    assert "4 requests, 2 errors, 2,420 tokens" in Page(browser.get(PAGE)).text


def test_usage_counts_errors_refusals_and_disconnects_separately(browser: Client, make_endpoint, tmp_path):
    endpoint = make_endpoint()
    spool = Spool(tmp_path)
    for status, how in (
        (200, "complete"),
        (200, "truncated"),
        (429, "limited"),
        (400, "limited"),
        (499, "client_left"),
    ):
        spool.record(
            record(endpoint_id=endpoint.id, status=status, completeness=how, tokens_in=1, tokens_out=1)
        )
    spool.stop()
    ingest(folder=tmp_path, clock=clock.now)
    summary = "5 requests, 1 error, 2 refused by limits, 1 disconnected by the caller, 10 tokens"
    assert summary in Page(browser.get(PAGE)).text
