"""When a request of a page fails, the page shows an error message and keeps its content."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser import steps
from tests.browser.conftest import OpenPage
from tests.browser.page_monitor import PageMonitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MUCH = 5 * 1024 * 1024


def fill_with_too_much(page: Page, name: str) -> None:
    """Sets a value larger than the limit of a form by script, because typing it would take minutes."""
    page.evaluate(
        "([name, size]) => { document.querySelector(`[name=${name}]`).value = 'x'.repeat(size) }",
        [name, MUCH],
    )


def test_a_form_that_is_too_large_to_be_redrawn_shows_an_error_message(
    open_page: OpenPage, monitor: PageMonitor
) -> None:
    page = open_page("/ml/endpoints/create")
    page.get_by_label("Name", exact=True).fill("too-much")
    monitor.expect_status(413)
    fill_with_too_much(page, "description")
    page.get_by_role("button", name="Add tag").click()
    note = page.locator("#messages")
    expect(note).to_contain_text("larger than 4 MB")
    expect(note).to_contain_text("Nothing was changed.")
    expect(page.get_by_label("Name", exact=True)).to_have_value("too-much")
    page.get_by_label("Description").fill("Little.")
    page.get_by_role("button", name="Add tag").click()
    expect(page.get_by_label("Key of tag 1")).to_be_visible()
    expect(note).to_be_empty()


def test_a_form_that_is_too_large_to_be_sent_leads_to_an_error_page(
    open_page: OpenPage, monitor: PageMonitor
) -> None:
    page = open_page("/ml/endpoints/create")
    monitor.expect_status(413)
    fill_with_too_much(page, "description")
    page.evaluate("document.querySelector('form:has([name=description])').submit()")
    expect(page.get_by_role("heading", name="The request is too large")).to_be_visible()
    expect(page.get_by_text("larger than 4 MB")).to_be_visible()
    page.get_by_role("link", name="Go to Serving endpoints").click()
    expect(page.get_by_role("heading", name="Serving endpoints", exact=True)).to_be_visible()


def test_a_server_that_does_not_answer_shows_an_error_message(
    open_page: OpenPage, monitor: PageMonitor
) -> None:
    page = open_page("/ml/endpoints/create")

    def hang_up(route: Route) -> None:
        route.abort("connectionreset")

    page.route("**/create/fields", hang_up)
    page.get_by_role("button", name="Add tag").click()
    expect(page.locator("#messages")).to_contain_text("The server did not answer.")
    assert monitor.errors
    monitor.errors.clear()
    page.unroute("**/create/fields")
    page.get_by_role("button", name="Add tag").click()
    expect(page.locator("#messages")).to_be_empty()


def test_a_query_that_is_too_large_shows_an_error_message(open_page: OpenPage, monitor: PageMonitor) -> None:
    page = open_page("/ml/endpoints/sandbox-chat/query")
    monitor.expect_status(413)
    fill_with_too_much(page, "request")
    steps.press(page, "Send request")
    expect(page.locator("#reply")).to_contain_text("larger than 4 MB")
    expect(page.locator("#reply")).not_to_contain_text("<")
