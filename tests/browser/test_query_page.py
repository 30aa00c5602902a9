"""The query page when a reply is cut, stopped, refused or over the rate limit."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.form_client import FormClient
from tests.browser.page_monitor import PageMonitor
from tests.support.sandbox import SandboxServer
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def query_page(
    owner: FormClient, upstream: SandboxServer, open_page: OpenPage, request: pytest.FixtureRequest
) -> Page:
    """The query page of an endpoint of the test's own, with a limit of one query a minute if the test's name contains rate_limit."""
    name = re.sub(r"\W+", "-", request.node.name)[:60]
    limit = {"rate_limit_user": "1"} if "rate_limit" in name else {}
    owner.create(name, upstream, **limit)
    owner.wait_for_state(name, "Ready")
    return open_page(f"/ml/endpoints/{name}/query")


def send(page: Page) -> None:
    page.get_by_role("button", name="Send request").click()


def test_a_reply_that_is_cut_shows_an_error(query_page: Page, upstream: SandboxServer) -> None:
    upstream.set_faults(on="chat/completions", cut_after=2)
    send(query_page)
    expect(query_page.locator("#reply")).to_contain_text(re.compile("error|broke", re.IGNORECASE))
    expect(query_page.get_by_role("button", name="Send request")).to_be_enabled()


def test_stop_cancels_the_request_to_the_provider(query_page: Page, upstream: SandboxServer) -> None:
    upstream.hold("chat/completions")
    send(query_page)
    upstream.wait_for("chat/completions")
    query_page.get_by_role("button", name="Stop").click()
    expect(query_page.get_by_role("button", name="Send request")).to_be_enabled()
    wait_until(lambda: upstream.requests("chat/completions")[-1]["gone"])


def test_an_error_shows_the_message_of_the_provider(
    query_page: Page, upstream: SandboxServer, monitor: PageMonitor
) -> None:
    upstream.set_faults(on="chat/completions", status=400, message="The model has gone on holiday.")
    monitor.expect_status(400)
    send(query_page)
    expect(query_page.get_by_role("status").get_by_text("400")).to_be_visible()
    expect(query_page.locator("#reply")).to_contain_text("The model has gone on holiday.")


def test_a_query_over_the_rate_limit_shows_429(query_page: Page, monitor: PageMonitor) -> None:
    monitor.expect_status(429)
    send(query_page)
    expect(query_page.get_by_role("status").get_by_text("200")).to_be_visible()
    expect(query_page.get_by_role("button", name="Send request")).to_be_enabled()
    send(query_page)
    expect(query_page.get_by_role("status").get_by_text("429")).to_be_visible()


def test_text_that_is_not_json_shows_an_error_message(query_page: Page, monitor: PageMonitor) -> None:
    monitor.expect_status(400)
    query_page.get_by_label("Request").fill("{not json")
    send(query_page)
    expect(query_page.get_by_role("status").get_by_text("400")).to_be_visible()
    expect(query_page.locator("#reply")).to_contain_text("JSON")
    query_page.get_by_role("button", name="Reset example").click()
    expect(query_page.get_by_label("Request")).to_have_value(re.compile('"messages"'))
