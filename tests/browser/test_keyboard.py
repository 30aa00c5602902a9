"""An endpoint is created by keyboard alone, and the focus is always visible."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import steps
from tests.browser.conftest import OpenPage
from tests.support.sandbox import SandboxServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "by-keyboard"
MOST_STOPS = 60
HAS_RING = """
(element) => {
  const styled = [element, element.closest("label, .search, form")].filter(Boolean).map((each) => getComputedStyle(each));
  return styled.some((style) => (style.outlineStyle !== "none" && style.outlineWidth !== "0px") || style.boxShadow !== "none");
}
"""


def tab_to(page: Page, wanted: Locator, *, key: str = "Tab") -> None:
    """Press Tab until `wanted` has the focus. The focus must be visible at every stop."""
    expect(wanted).to_be_visible()
    for _stop in range(MOST_STOPS):
        page.keyboard.press(key)
        assert page.locator(":focus").evaluate(HAS_RING), page.locator(":focus").evaluate("e => e.outerHTML")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"{MOST_STOPS} stops and no focus on {wanted}.")


def test_an_endpoint_is_created_by_keyboard_alone(open_page: OpenPage, upstream: SandboxServer) -> None:
    page = open_page("/ml/endpoints")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("link", name="Create serving endpoint"))
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type(NAME)
    choose_entity(page)
    answer(page, upstream)
    tab_to(page, page.get_by_role("button", name="Create", exact=True).last)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/ml/endpoints/{NAME}$"))
    expect(steps.state(page)).to_have_text("Ready")
    use_menu(page)


def choose_entity(page: Page) -> None:
    """Space and Enter open the dialog, the arrow keys choose a provider, Escape closes the dialog, Enter confirms."""
    entity = page.get_by_role("button", name="Entity")
    dialog = page.get_by_role("dialog", name="Select served entity")
    tab_to(page, entity)
    page.keyboard.press("Space")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(entity).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, dialog.get_by_role("radio", name="OpenAI", exact=True))
    page.keyboard.press("ArrowDown")
    expect(dialog.get_by_role("radio", name="OpenAI", exact=True)).not_to_be_checked()
    page.keyboard.press("ArrowUp")
    expect(dialog.get_by_role("radio", name="OpenAI", exact=True)).to_be_checked()
    tab_to(page, dialog.get_by_role("button", name="Confirm"))
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Entity OpenAI", exact=True)).to_be_focused()


def answer(page: Page, upstream: SandboxServer) -> None:
    tab_to(page, page.get_by_label("External model name"))
    page.keyboard.type("gpt-4o")
    task = page.get_by_label("Task", exact=True)
    tab_to(page, task)
    page.keyboard.press("ArrowDown")
    expect(task).to_have_value("llm/v1/completions")
    expect(page.locator("#model-suggestions option").first).to_have_attribute(
        "value", "gpt-3.5-turbo-instruct"
    )
    expect(task).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#model-suggestions option").first).to_have_attribute("value", "gpt-4o")
    tab_to(page, page.get_by_label(steps.PASTE))
    page.keyboard.type(steps.KEY)
    tab_to(page, page.get_by_label("OpenAI API base"))
    page.keyboard.type(upstream.base)
    tab_to(page, page.get_by_role("button", name="Add tag"))
    page.keyboard.press("Enter")
    expect(page.get_by_label("Key of tag 1")).to_be_focused()
    page.keyboard.type("team")


def use_menu(page: Page) -> None:
    menu = page.get_by_label("More actions")
    tab_to(page, menu)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Delete")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Delete")).to_be_hidden()
    expect(menu).to_be_focused()
