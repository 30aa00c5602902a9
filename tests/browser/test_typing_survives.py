"""Typed values are kept through every redraw, and a pasted key is sent only to the provider."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser import steps
from tests.browser.conftest import OpenPage
from tests.browser.page_monitor import PageMonitor
from tests.support.sandbox import SandboxServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAME = "five-switches"
OPENAI_KEY, ANTHROPIC_KEY = "sk-openai-9f2d41c07be3", "sk-ant-77ab0c15e2d9"
SWITCHES = ("Anthropic", "Cohere", "Amazon Bedrock", "Google Cloud Vertex AI", "AI21 Labs")
VALUES = "[...document.querySelectorAll('input, textarea, select')].map((each) => each.value).join('\\n')"


def test_switching_the_provider_five_times_and_back_keeps_all_values(
    open_page: OpenPage, upstream: SandboxServer, monitor: PageMonitor
) -> None:
    page = open_page("/ml/endpoints/create")
    fill_general(page)
    steps.choose_provider(page, "OpenAI")
    fill_openai(page, upstream)
    for label in SWITCHES:
        steps.choose_provider(page, label)
        assert_no_key_is_visible(page, monitor)
        page.get_by_label("External model name").fill(f"model of {label}")
        if label == "Anthropic":
            page.get_by_label("or paste the key (Anthropic API key)").fill(ANTHROPIC_KEY)
    steps.choose_provider(page, "Anthropic")
    expect(page.get_by_label("External model name")).to_have_value("model of Anthropic")
    expect(page.get_by_text("Pasted.")).to_be_visible()
    steps.choose_provider(page, "OpenAI")
    assert_openai_values_are_kept(page, upstream)
    assert_no_key_is_visible(page, monitor)
    steps.press(page, "Create")
    expect(steps.state(page)).to_have_text("Ready")
    assert_no_key_is_visible(page, monitor)
    assert {request["key"] for request in upstream.requests()} == {OPENAI_KEY}


def test_what_is_typed_while_fields_are_drawn_again_stays(open_page: OpenPage) -> None:
    page = open_page("/ml/endpoints/create")
    steps.choose_provider(page, "OpenAI")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/create/fields", hold)
    page.get_by_label("OpenAI API type").select_option("azure")
    page.wait_for_function("document.querySelector('.htmx-request') !== null")
    page.get_by_label("OpenAI organization").fill("org-typed-meanwhile")
    page.get_by_label("OpenAI organization").press("End")
    held[0].continue_()
    expect(page.get_by_label("OpenAI deployment name")).to_be_visible()
    expect(page.get_by_label("OpenAI organization")).to_have_value("org-typed-meanwhile")


def fill_general(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_label("Description").fill("Kept through everything.")
    page.get_by_label("Calls per minute, whole endpoint").fill("60")
    page.get_by_role("button", name="Add tag").click()
    page.get_by_label("Key of tag 1").fill("team")
    page.get_by_label("Value of tag 1").fill("search & ads")


def fill_openai(page: Page, upstream: SandboxServer) -> None:
    steps.answer_for_openai(page, upstream, model="gpt-4o-mini", key=OPENAI_KEY)
    page.get_by_label("OpenAI organization").fill("org-kept")
    page.get_by_text("Advanced configuration").click()
    page.get_by_label("Served entity name").fill("kept-entity")


def assert_no_key_is_visible(page: Page, monitor: PageMonitor) -> None:
    """Neither the page, its inputs, its address nor any reply of the server holds a key."""
    places = [page.content(), page.url, page.evaluate(VALUES), *monitor.texts()]
    assert not [place for place in places if OPENAI_KEY in place or ANTHROPIC_KEY in place]


def assert_openai_values_are_kept(page: Page, upstream: SandboxServer) -> None:
    for label, value in {
        "External model name": "gpt-4o-mini",
        "OpenAI API base": upstream.base,
        "OpenAI organization": "org-kept",
        "Served entity name": "kept-entity",
        "Description": "Kept through everything.",
        "Calls per minute, whole endpoint": "60",
        "Key of tag 1": "team",
        "Value of tag 1": "search & ads",
    }.items():
        expect(page.get_by_label(label)).to_have_value(value)
    expect(page.get_by_label("Name", exact=True)).to_have_value(NAME)
    expect(page.get_by_text("Pasted.")).to_be_visible()


def test_a_refused_form_keeps_all_values_and_links_to_each_invalid_field(
    open_page: OpenPage, upstream: SandboxServer, monitor: PageMonitor
) -> None:
    monitor.expect_status(422)
    page = open_page("/ml/endpoints/create")
    fill_general(page)
    page.get_by_label("Name", exact=True).fill("databricks-mine")
    page.get_by_label("Calls per minute, whole endpoint").fill("many")
    steps.choose_provider(page, "OpenAI")
    steps.answer_for_openai(page, upstream, key=OPENAI_KEY)
    page.get_by_label("External model name").fill("")
    steps.press(page, "Create")
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    assert "3 answers" in summary.inner_text(), summary.inner_text()
    for label in ("Name", "Calls per minute, whole endpoint", "External model name"):
        summary.get_by_role("link", name=label, exact=True).click()
        field = page.get_by_label(label, exact=True)
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
    assert_no_key_is_visible(page, monitor)
    page.get_by_label("Name", exact=True).fill("put-right")
    page.get_by_label("Calls per minute, whole endpoint").fill("60")
    page.get_by_label("External model name").fill("gpt-4o")
    steps.press(page, "Create")
    expect(steps.state(page)).to_have_text("Ready")
    assert {request["key"] for request in upstream.requests()} == {OPENAI_KEY}
