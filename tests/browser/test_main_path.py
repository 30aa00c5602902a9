"""The main path of one person in one browser, from the sign-in link to the deleted endpoint."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import code_samples, steps
from tests.browser.conftest import OpenPage
from tests.browser.page_monitor import PageMonitor
from tests.browser.product import Product
from tests.support.sandbox import SandboxServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "main-path"


@pytest.mark.smoke
def test_a_new_person_signs_in_creates_queries_updates_and_deletes_an_endpoint(
    product: Product, open_page: OpenPage, upstream: SandboxServer, monitor: PageMonitor
) -> None:
    page = open_page(cookies=[])
    sign_in(page, product)
    built_in_cards_answer(page)
    token = make_token(page)
    create_held(page, upstream)
    turn_ready_while_typing(page, upstream)
    query_streamed(page, upstream)
    run_code_samples(page, token)
    update_held(page, product, upstream, token)
    second_update_is_refused(page, monitor)
    cancel_update(page, product, token)
    fail_and_retry(page, product, upstream, token)
    delete(page, product, token)


def sign_in(page: Page, product: Product) -> None:
    page.goto(product.first_link)
    expect(page.get_by_text("This link signs you in as")).to_be_visible()
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{product.url}/ml/endpoints")
    expect(page.get_by_role("heading", name="Serving endpoints", level=1)).to_be_visible()


def built_in_cards_answer(page: Page) -> None:
    card = page.get_by_role("listitem").filter(has_text="Sandbox chat")
    expect(card.get_by_text("Ready", exact=True)).to_be_visible()
    card.get_by_role("link", name="Query").click()
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_role("status").get_by_text("200")).to_be_visible()
    expect(page.locator("#reply")).to_contain_text("canned")


def make_token(page: Page) -> str:
    page.get_by_role("link", name="Create a token").click()
    page.get_by_label("Purpose").fill("journey")
    page.get_by_role("button", name="Create token").click()
    token = page.locator("#token-value").inner_text()
    page.goto("/settings")
    expect(page.get_by_role("cell", name="journey", exact=True)).to_be_visible()
    expect(page.get_by_text(token)).to_have_count(0)
    return token


def create_held(page: Page, upstream: SandboxServer) -> None:
    upstream.hold("models")
    page.get_by_role("link", name="Serving", exact=True).click()
    page.get_by_role("link", name="Create serving endpoint").click()
    page.get_by_label("Name", exact=True).fill("not a name")
    page.get_by_label("Name", exact=True).press("Tab")
    expect(page.locator("#name-problem")).not_to_be_empty()
    page.get_by_label("Name", exact=True).fill(NAME)
    expect(page.locator(".url-preview")).to_contain_text(f"/serving-endpoints/{NAME}/invocations")
    steps.choose_provider(page, "OpenAI")
    expect(page.locator("#name-problem")).to_be_empty()
    steps.answer_for_openai(page, upstream)
    expect(page.get_by_role("complementary")).to_contain_text("gpt-4o")
    page.get_by_role("button", name="Add tag").click()
    page.get_by_label("Key of tag 1").fill("team")
    page.get_by_label("Value of tag 1").fill("search")
    steps.press(page, "Create")
    expect(page).to_have_url(re.compile(f"/ml/endpoints/{NAME}$"))
    expect(steps.state(page)).to_have_text("Not ready (Updating)")
    expect(page.get_by_role("heading", name="Pending configuration")).to_be_visible()
    expect(page.get_by_text("team: search")).to_be_visible()
    upstream.wait_for("models")


def turn_ready_while_typing(page: Page, upstream: SandboxServer) -> None:
    page.get_by_role("link", name="Permissions").click()
    field = page.get_by_label("E-mail")
    field.press_sequentially("team")
    page.evaluate("window.sameDocument = true")
    upstream.release("models")
    expect(steps.state(page)).to_have_text("Ready")
    expect(field).to_be_focused()
    field.press_sequentially("mate@example.com")
    expect(field).to_have_value("teammate@example.com")
    expect(page.get_by_role("heading", name="Active configuration")).to_be_visible()
    assert page.evaluate("window.sameDocument") is True


def query_streamed(page: Page, upstream: SandboxServer) -> None:
    upstream.set_faults(on="chat/completions", pause=0.05)
    page.get_by_role("link", name="Query", exact=True).click()
    expect(page.get_by_label("Request")).to_have_value(re.compile(r'"stream": true'))
    page.get_by_role("button", name="Send request").click()
    reply = page.locator("#reply")
    expect(reply).not_to_be_empty()
    early = reply.inner_text()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.get_by_role("status").get_by_text("200")).to_be_visible()
    whole = reply.inner_text()
    assert whole.startswith(early)
    assert len(early) < len(whole)
    assert upstream.requests("chat/completions")[-1]["key"] == steps.KEY
    upstream.reset()


def run_code_samples(page: Page, token: str) -> None:
    printed = {}
    for tab in ("Curl", "Python (OpenAI client)", "Python (MLflow)"):
        page.get_by_role("tab", name=tab).click()
        code = page.get_by_role("tabpanel", name=tab).locator("pre").inner_text()
        printed[tab] = code_samples.run(code, token=token, shell=tab == "Curl")
    assert all("canned" in text for text in printed.values()), printed


def update_held(page: Page, product: Product, upstream: SandboxServer, token: str) -> None:
    page.goto(f"/ml/endpoints/{NAME}")
    upstream.hold("models")
    steps.update_model(page, "gpt-4o-mini")
    expect(steps.state(page)).to_have_text("Ready (Updating)")
    expect(page.get_by_role("heading", name="Pending configuration")).to_be_visible()
    page.get_by_role("navigation", name="Displayed configuration").get_by_role("link", name="Active").click()
    expect(page.get_by_role("heading", name="Active configuration")).to_be_visible()
    answered_by(product, token, "gpt-4o")


def answered_by(product: Product, token: str, model: str) -> None:
    answer = code_samples.query(product.url, NAME, token)
    assert (answer.status_code, answer.json()["model"]) == (200, model)


def second_update_is_refused(page: Page, monitor: PageMonitor) -> None:
    monitor.expect_status(409)
    steps.update_model(page, "gpt-4")
    expect(page.locator("#refusal")).to_contain_text("update")
    expect(page.get_by_label("External model name")).to_have_value("gpt-4")
    page.get_by_role("link", name="Cancel", exact=True).click()


def cancel_update(page: Page, product: Product, token: str) -> None:
    button = page.get_by_role("button", name="Cancel update")
    box, view = button.bounding_box(), page.viewport_size
    assert box and view
    assert box["x"] + box["width"] > 0.9 * view["width"]
    assert box["y"] < 0.4 * view["height"]
    button.click()
    expect(steps.state(page)).to_have_text("Ready (Update canceled)")
    expect(button).to_be_hidden()
    answered_by(product, token, "gpt-4o")


def fail_and_retry(page: Page, product: Product, upstream: SandboxServer, token: str) -> None:
    upstream.reset()
    upstream.set_faults(on="models", status=401, message="This key has no money left.")
    steps.update_model(page, "gpt-4-turbo")
    expect(steps.state(page)).to_have_text("Ready (Update failed)")
    expect(page.locator("#endpoint-state")).to_contain_text("This key has no money left.")
    answered_by(product, token, "gpt-4o")
    upstream.reset()
    page.get_by_role("button", name="Retry").click()
    keep_selection_until_ready(page)
    answered_by(product, token, "gpt-4-turbo")


def keep_selection_until_ready(page: Page) -> None:
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.meta .mono'))")
    selected = page.evaluate("String(getSelection())")
    expect(steps.state(page)).to_have_text("Ready")
    assert selected.endswith(f"/{NAME}/invocations")
    assert page.evaluate("String(getSelection())") == selected


def delete(page: Page, product: Product, token: str) -> None:
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Delete").click()
    dialog = page.get_by_role("dialog", name=f"Delete {NAME}?")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    dialog.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    dialog.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(f"{product.url}/ml/endpoints")
    expect(page.get_by_role("status").get_by_text(f"{NAME} was deleted.")).to_be_visible()
    assert code_samples.query(product.url, NAME, token).status_code == 404
