"""The documentation without JavaScript, and its copy buttons by keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_keyboard import tab_to

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def search(page: Page, words: str) -> None:
    page.get_by_role("searchbox", name="Search the documentation").fill(words)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Search the documentation")).to_be_visible()


def test_search_and_anchors_work_without_javascript(open_page: OpenPage) -> None:
    page = open_page("/ml/endpoints", java_script_enabled=False)
    page.get_by_role("link", name="Docs", exact=True).click()
    search(page, "deactivated last value")
    page.get_by_role("link", name="Secrets › When somebody leaves").click()
    expect(page).to_have_url(re.compile(r"/docs/secrets#when-somebody-leaves$"))
    expect(page.get_by_role("heading", name="When somebody leaves")).to_be_in_viewport()


def test_code_is_copied_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("/ml/secrets", permissions=["clipboard-read", "clipboard-write"])
    help_link = page.get_by_role("link", name="Help").first
    tab_to(page, help_link)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Secrets", exact=True)).to_be_visible()
    tab_to(page, page.get_by_role("button", name="Copy").first)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "{{secrets/my_scope/my_openai_api_key}}\n"
