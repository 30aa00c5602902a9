"""The main path without JavaScript, where buttons and links do what scripts do otherwise."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import OpenPage
from tests.browser.page_monitor import PageMonitor
from tests.browser.product import Product
from tests.support.sandbox import SandboxServer
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "no-script"


def test_the_main_path_needs_no_javascript(
    open_page: OpenPage, upstream: SandboxServer, monitor: PageMonitor
) -> None:
    page = open_page("/ml/endpoints", java_script_enabled=False)
    page.get_by_role("link", name="Create serving endpoint").click()
    choose_entity(page)
    redraw_by_button(page)
    create_held(page, upstream)
    refresh_until_ready(page, upstream)
    query(page)
    update_and_cancel(page, upstream)
    delete(page, monitor)


def choose_entity(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_role("button", name="Entity").click()
    dialog = page.get_by_role("dialog", name="Select served entity")
    expect(dialog).to_be_visible()
    dialog.get_by_role("radio", name="OpenAI", exact=True).check()
    dialog.get_by_role("button", name="Confirm").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_label("Name", exact=True)).to_have_value(NAME)


def redraw_by_button(page: Page) -> None:
    """Choosing Azure shows its fields, and choosing OpenAI again shows the values typed before."""
    page.get_by_label(steps.PASTE).fill(steps.KEY)
    page.get_by_label("External model name").fill("gpt-4o")
    page.get_by_label("OpenAI API type").select_option("azure")
    page.get_by_role("button", name="Update fields").last.click()
    page.get_by_label("OpenAI deployment name").fill("mine")
    expect(page.get_by_text("needs attention")).to_have_count(0)
    page.get_by_label("OpenAI API type").select_option("openai")
    page.get_by_role("button", name="Update fields").last.click()
    expect(page.get_by_label("OpenAI deployment name")).to_have_count(0)
    expect(page.get_by_label("External model name")).to_have_value("gpt-4o")
    expect(page.get_by_label(steps.PASTE)).to_have_value("")
    expect(page.get_by_text("Pasted.")).to_be_visible()


def create_held(page: Page, upstream: SandboxServer) -> None:
    upstream.hold("models")
    page.get_by_label("OpenAI API base").fill(upstream.base)
    page.get_by_role("button", name="Add tag").click()
    page.get_by_label("Key of tag 1").fill("team")
    steps.press(page, "Create")
    expect(steps.state(page)).to_have_text("Not ready (Updating)")
    upstream.wait_for("models")


def refresh_until_ready(page: Page, upstream: SandboxServer) -> None:
    page.get_by_role("link", name="Refresh").click()
    expect(steps.state(page)).to_have_text("Not ready (Updating)")
    upstream.release("models")
    press_until(page, "Refresh", "Ready")
    assert upstream.requests("models")[-1]["key"] == steps.KEY


def press_until(page: Page, link: str, words: str) -> None:
    """Follow the link again and again until the state is `words`: without JavaScript nothing else updates the page."""
    wait_until(lambda: is_state_or_press(page, link, words), what=f"the state {words!r}")


def is_state_or_press(page: Page, link: str, words: str) -> bool:
    if steps.state(page).inner_text() == words:
        return True
    page.get_by_role("link", name=link).click()
    return False


def query(page: Page) -> None:
    page.get_by_role("link", name="Query", exact=True).click()
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_role("status").get_by_text("200")).to_be_visible()
    expect(page.locator("#reply")).to_contain_text("canned")
    for label in ("Curl", "Python (OpenAI client)", "Python (MLflow)"):
        expect(page.get_by_role("heading", name=label)).to_be_visible()
    page.get_by_role("link", name=NAME).click()


def update_and_cancel(page: Page, upstream: SandboxServer) -> None:
    upstream.hold("models")
    steps.update_model(page, "gpt-4o-mini")
    expect(steps.state(page)).to_have_text("Ready (Updating)")
    page.get_by_role("navigation", name="Displayed configuration").get_by_role("link", name="Active").click()
    expect(page.get_by_role("heading", name="Active configuration")).to_be_visible()
    page.get_by_role("button", name="Cancel update").click()
    expect(steps.state(page)).to_have_text("Ready (Update canceled)")
    upstream.reset()
    page.get_by_role("button", name="Retry").click()
    expect(steps.state(page)).to_have_text("Ready (Updating)")
    press_until(page, "Refresh", "Ready")


def delete(page: Page, monitor: PageMonitor) -> None:
    monitor.expect_status(422)
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_label(f"Type {NAME} to confirm").fill("something else")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("That is not the endpoint's name.")).to_be_visible()
    page.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text(f"{NAME} was deleted.")).to_be_visible()


def test_double_clicks_without_javascript_submit_each_form_once(
    open_page: OpenPage, product: Product, upstream: SandboxServer
) -> None:
    link = product.command("sign_in_link", "clicks@example.com")
    page = open_page("/ml/secrets", cookies=[], java_script_enabled=False)
    expect(page).to_have_url(re.compile("/sign-in"))
    page.goto(link)
    page.get_by_role("button", name="Sign in").dblclick()
    expect(page).to_have_url(f"{product.url}/ml/secrets")
    page.get_by_label("New secret scope").fill("clicked-twice")
    page.get_by_role("button", name="Create scope").dblclick()
    expect(page.get_by_role("heading", name="clicked-twice")).to_be_visible()
    expect(page.get_by_text("exists already")).to_have_count(0)
    page.goto("/settings")
    page.get_by_label("Purpose").fill("clicked twice")
    page.get_by_role("button", name="Create token").dblclick()
    expect(page.locator("#token-value")).to_contain_text("sui_")
    expect(page.get_by_role("cell", name="clicked twice", exact=True)).to_have_count(1)
    page.goto("/ml/endpoints/create")
    choose_entity(page)
    page.get_by_label("Name", exact=True).fill("clicked-twice")
    page.get_by_label(steps.PASTE).fill(steps.KEY)
    page.get_by_label("External model name").fill("gpt-4o")
    page.get_by_label("OpenAI API base").fill(upstream.base)
    page.get_by_role("button", name="Create", exact=True).last.dblclick()
    expect(page).to_have_url(re.compile("/ml/endpoints/clicked-twice"))
