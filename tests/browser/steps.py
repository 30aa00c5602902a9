"""Actions of a person on the pages."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.support.sandbox import SandboxServer

KEY = "sk-typed-by-hand-0451"
PASTE = "or paste the key (OpenAI API key)"


def state(page: Page) -> Locator:
    """The serving endpoint state, in words."""
    return page.locator("#endpoint-state .state-bar .state")


def choose_provider(page: Page, label: str) -> None:
    """Choose a provider in the dialog Select served entity."""
    page.get_by_role("button", name="Entity").click()
    dialog = page.get_by_role("dialog", name="Select served entity")
    expect(dialog.get_by_role("radio", name="External model")).to_be_checked()
    dialog.get_by_role("radio", name=label, exact=True).check()
    dialog.get_by_role("button", name="Confirm").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name=f"Entity {label}", exact=True)).to_be_visible()


def answer_for_openai(page: Page, upstream: SandboxServer, *, model: str = "gpt-4o", key: str = KEY) -> None:
    """Fill in the fields of OpenAI."""
    page.get_by_label("External model name").fill(model)
    page.get_by_label(PASTE).fill(key)
    page.get_by_label("OpenAI API base").fill(upstream.base)


def create(page: Page, name: str, upstream: SandboxServer, *, key: str = KEY) -> None:
    """Create an OpenAI endpoint; afterwards the browser shows its page."""
    page.goto("/ml/endpoints/create")
    page.get_by_label("Name", exact=True).fill(name)
    choose_provider(page, "OpenAI")
    answer_for_openai(page, upstream, key=key)
    press(page, "Create")
    expect(page).to_have_url(re.compile(f"/ml/endpoints/{name}$"))


def create_ready(page: Page, name: str, upstream: SandboxServer, *, key: str = KEY) -> None:
    create(page, name, upstream, key=key)
    expect(state(page)).to_have_text("Ready")


def press(page: Page, name: str) -> None:
    """Press a button of the form, not the hidden first one of the same name, which handles the Enter key."""
    page.get_by_role("button", name=name, exact=True).last.click()


def update_model(page: Page, model: str) -> None:
    """Save the edit form with another model."""
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("External model name").fill(model)
    press(page, "Update")
