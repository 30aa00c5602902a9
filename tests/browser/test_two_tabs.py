"""Two tabs edit one endpoint: the second shows what the first has changed, keeps its values, and can save."""

from __future__ import annotations

import contextlib

import pytest
from playwright.sync_api import Error, Route, expect

from tests.browser import steps
from tests.browser.conftest import OpenPage
from tests.browser.page_monitor import PageMonitor
from tests.support.sandbox import SandboxServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "two-tabs"


def test_saving_in_a_second_tab_shows_what_changed_and_can_be_repeated(
    open_page: OpenPage, upstream: SandboxServer, monitor: PageMonitor
) -> None:
    monitor.expect_status(409)
    first = open_page()
    steps.create_ready(first, NAME, upstream)
    second = first.context.new_page()
    second.goto(f"/ml/endpoints/{NAME}/edit")
    steps.update_model(first, "gpt-4o-mini")
    expect(steps.state(first)).to_have_text("Ready")

    second.get_by_label("External model name").fill("gpt-4")
    second.get_by_label("Calls per minute, each user").fill("7")
    steps.press(second, "Update")
    refusal = second.get_by_role("alert")
    expect(refusal).to_be_focused()
    expect(refusal.get_by_role("listitem").first).to_contain_text("owner@example.com")
    expect(refusal).to_contain_text("External model name")
    expect(second.get_by_label("External model name")).to_have_value("gpt-4")
    expect(second.get_by_label("Calls per minute, each user")).to_have_value("7")
    steps.press(second, "Update")
    expect(steps.state(second)).to_have_text("Ready")
    expect(second.locator("#endpoint-config")).to_contain_text("gpt-4")
    expect(second.get_by_text("7 a minute for each user")).to_be_visible()


def test_a_stale_cancel_button_shows_the_current_state(open_page: OpenPage, upstream: SandboxServer) -> None:
    upstream.hold("models")
    first = open_page()
    steps.create(first, "stale-button", upstream)
    second = first.context.new_page()
    second.goto("/ml/endpoints/stale-button")
    second.route(
        "**/state?*", lambda route: route.abort("aborted")
    )  # the second tab does not learn of the change
    first.get_by_role("button", name="Cancel update").click()
    expect(steps.state(first)).to_have_text("Not ready (Update canceled)")
    second.get_by_role("button", name="Cancel update").click()
    expect(steps.state(second)).to_have_text("Not ready (Update canceled)")
    expect(second.get_by_role("status").locator(".note")).not_to_be_empty()


def test_a_poll_that_is_answered_after_cancel_is_ignored(
    open_page: OpenPage, upstream: SandboxServer
) -> None:
    upstream.hold("models")
    page = open_page()
    held: list[Route] = []
    page.route("**/state?*", lambda route: held.append(route))  # noqa: PLW0108 (a bound method of a list is refused)
    with page.expect_request("**/state?*"):
        steps.create(page, "overtaken", upstream)
    page.get_by_role("button", name="Cancel update").click()
    expect(steps.state(page)).to_have_text("Not ready (Update canceled)")
    for route in held:
        with contextlib.suppress(Error):  # the page has aborted it
            route.continue_()
    expect(page.get_by_role("heading", name="Canceled configuration")).to_be_visible()
    expect(steps.state(page)).to_have_text("Not ready (Update canceled)")
