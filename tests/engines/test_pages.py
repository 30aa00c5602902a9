"""Models of one's own from the pages, in a real browser on a real Ray cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import steps
from tests.browser.conftest import chromium
from tests.engines.admin import Admin
from tests.support.product import Product

__all__ = ["chromium"]
pytestmark = [pytest.mark.engines, pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("engines")]
DEPLOYED = 120_000  # milliseconds in which an update ends
AT = "/ml/endpoints/flowers"


@pytest.fixture
def page(chromium: Browser, product: Product, admin: Admin) -> Iterator[Page]:
    """A page of the admin."""
    context = chromium.new_context(base_url=product.url)
    page = context.new_page()
    page.goto(product.command("sign_in_link", "a@example.com"))
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{product.url}/ml/endpoints")
    yield page
    context.close()


def expect_state(page: Page, words: str) -> None:
    expect(steps.state(page)).to_have_text(words, timeout=DEPLOYED)


def query(page: Page, body: dict[str, Any]) -> str:
    """Send a query from the page, and return the reply."""
    page.goto(f"{AT}/query")
    page.locator("#request").fill(json.dumps(body))
    page.get_by_role("button", name="Send request").click()
    expect(page.locator("#reply-meta")).to_contain_text("200")
    return str(page.locator("#reply").inner_text())


def change_version(page: Page, version: str, *, model: str = "versioned") -> None:
    page.goto(f"{AT}/edit")
    page.get_by_label("Model", exact=True).fill(model)
    page.get_by_label("Version", exact=True).fill(version)
    steps.press(page, "Update")


def test_a_person_serves_changes_stops_and_deletes_a_model_of_their_own(page: Page, admin: Admin):
    page.goto("/ml/models")
    page.get_by_role("link", name="Serve this model versioned version 1").click()
    page.get_by_label("Name", exact=True).fill("flowers")
    expect(page.get_by_label("Version", exact=True)).to_have_value("1")
    page.get_by_label("Scale to zero").select_option("no")
    steps.press(page, "Create")
    expect_state(page, "Ready")
    expect(page.locator("#config-rows")).to_contain_text("CPU (1 core), Small (4 requests at a time)")
    assert '"version": "1"' in query(page, {"inputs": []})

    page.goto(f"{AT}?tab=logs")
    expect(page.locator("#log-lines")).to_contain_text("initializing replica")

    change_version(page, "2")
    assert admin.query("flowers", {}).json()["version"] in ("1", "2")
    expect_state(page, "Ready")
    assert '"version": "2"' in query(page, {"inputs": []})

    change_version(page, "1", model="slow")
    expect_state(page, "Ready (Updating)")
    assert admin.query("flowers", {}).json()["version"] == "2"
    page.get_by_role("button", name="Cancel update").click()
    expect_state(page, "Ready (Update canceled)")
    assert admin.query("flowers", {}).json()["version"] == "2"

    page.get_by_role("button", name="Stop").click()
    expect_state(page, "Not ready (Stopped)")
    assert admin.query("flowers", {}).status_code == 400
    page.get_by_role("button", name="Start").click()
    expect_state(page, "Ready")
    assert '"version": "2"' in query(page, {"inputs": []})

    page.goto(f"{AT}/delete")
    page.get_by_role("textbox").last.fill("flowers")
    page.get_by_role("button", name="Delete").last.click()
    expect(page).to_have_url("/ml/endpoints")
    assert admin.call("GET", "serving-endpoints/flowers").status_code == 404
