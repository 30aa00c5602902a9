"""The Secrets page: a scope and a key are created, used by an endpoint, replaced and deleted."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser import code_samples, steps
from tests.browser.conftest import OpenPage
from tests.browser.page_monitor import PageMonitor
from tests.browser.product import Product
from tests.support.sandbox import SandboxServer
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "by-reference"
REFERENCE = "{{secrets/team-keys/openai}}"
FIRST, SECOND = "sk-first-0c11ab94", "sk-second-e2f07d35"


def test_an_endpoint_uses_the_current_value_of_the_key_that_it_refers_to(
    product: Product, token: str, open_page: OpenPage, upstream: SandboxServer, monitor: PageMonitor
) -> None:
    page = open_page("/ml/secrets")
    make_scope(page)
    put_key(page, FIRST)
    create_by_reference(page, upstream)
    assert used_key(product, token, upstream) == FIRST
    page.get_by_role("link", name="Secrets").click()
    put_key(page, SECOND)
    wait_until(lambda: used_key(product, token, upstream) == SECOND)
    assert not [text for text in monitor.texts() if FIRST in text or SECOND in text]
    delete_key(page)
    reference_is_missed(page, monitor)


def make_scope(page: Page) -> None:
    page.get_by_label("New secret scope").fill("team-keys")
    page.get_by_role("button", name="Create scope").click()
    expect(page.get_by_role("region", name="team-keys")).to_contain_text("No key yet.")


def put_key(page: Page, value: str) -> None:
    scope = page.get_by_role("region", name="team-keys")
    scope.get_by_label("Key", exact=True).fill("openai")
    scope.get_by_label("Value", exact=True).fill(value)
    button = scope.get_by_role("button", name="Put key")
    button.evaluate(
        "button => button.scrollIntoView({block: 'center'})"
    )  # a message may cover the button otherwise
    button.click()
    expect(page.get_by_role("status").get_by_text(f"{REFERENCE} is set.")).to_be_visible()
    expect(scope.get_by_role("cell", name="openai", exact=True)).to_be_visible()
    expect(scope.get_by_label("Value", exact=True)).to_have_value("")


def create_by_reference(page: Page, upstream: SandboxServer) -> None:
    page.goto("/ml/endpoints/create")
    page.get_by_label("Name", exact=True).fill(NAME)
    steps.choose_provider(page, "OpenAI")
    expect(page.locator(f'#secret-references option[value="{REFERENCE}"]')).to_have_count(1)
    page.get_by_label("External model name").fill("gpt-4o")
    page.get_by_label("Secret reference (OpenAI API key)").fill(REFERENCE)
    page.get_by_label("OpenAI API base").fill(upstream.base)
    steps.press(page, "Create")
    expect(steps.state(page)).to_have_text("Ready")


def used_key(product: Product, token: str, upstream: SandboxServer) -> str:
    assert code_samples.query(product.url, NAME, token).status_code == 200
    return str(upstream.requests("chat/completions")[-1]["key"])


def delete_key(page: Page) -> None:
    page.get_by_role("region", name="team-keys").get_by_role("link", name="Delete openai").click()
    expect(page.get_by_role("heading", name="Delete key openai of team-keys?")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").get_by_text(f"{REFERENCE} was deleted.")).to_be_visible()


def reference_is_missed(page: Page, monitor: PageMonitor) -> None:
    """The endpoint of a deleted key is not ready, and its page and form name the key until it is put again and the form is saved."""
    page.goto(f"/ml/endpoints/{NAME}")
    expect(steps.state(page)).to_have_text("Not ready")
    expect(page.locator("#secrets-note")).to_contain_text(
        f"The secret {REFERENCE} of this endpoint was deleted"
    )
    monitor.expect_status(422)
    steps.update_model(page, "gpt-4o-mini")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(f"The secret {REFERENCE} of this endpoint was deleted")
    page.goto("/ml/secrets")
    put_key(page, SECOND)
    page.goto(f"/ml/endpoints/{NAME}")
    expect(steps.state(page)).to_have_text("Not ready")
    steps.update_model(page, "gpt-4o-mini")
    expect(steps.state(page)).to_have_text("Ready")
