"""The documentation section: who may read it, what a page holds, how it is found, and where the product links to it."""

from __future__ import annotations

import re

import pytest
from django.template import Context, Template
from django.test import Client

from serving_ui import __version__
from serving_ui.accounts.models import User
from serving_ui.catalogue import registry
from serving_ui.lib import env
from serving_ui.pages.docs import generated, library, markdown
from serving_ui.pages.docs.search import search
from tests.pages.conftest import CREATE, a_static_folder, browser, ready, signed_in
from tests.support.pages import Page

__all__ = ["a_static_folder", "browser", "ready"]
PAGES = [page.name for page in library.pages()]


def test_every_file_is_listed_once_in_the_contents():
    files = {path.stem for path in library.FOLDER.glob("*.md")} - {markdown.CONTENTS}
    assert sorted(PAGES) == sorted(files)


@pytest.mark.parametrize("path", ["/docs", "/docs/secrets", "/docs?q=secret"])
def test_a_visitor_who_is_not_signed_in_is_sent_to_the_sign_in_page(db, client: Client, path):
    answer = client.get(path)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/sign-in?next=")


def test_the_contents_link_to_every_page(browser: Client):
    page = Page(browser.get("/docs"))
    linked = [each.attrs["href"] for each in page.root.one("article").all("a")]
    assert linked == [f"/docs/{name}" for name in PAGES]
    assert page.root.one("nav", class_="nav").one("a", aria_current="page").text == "Docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_one_title_a_table_of_contents_and_no_html_of_the_source(browser: Client, name):
    answer = browser.get(f"/docs/{name}")
    page = Page(answer)
    title = page.root.one("h1").text
    assert page.root.one("title").text.startswith(title)
    anchors = [each.attrs["href"] for each in page.root.one("nav", class_="docs-index").all("a")]
    headings = [f"#{each.attrs['id']}" for each in page.root.one("article").all("h2")]
    assert anchors == headings
    identifiers = re.findall(r'\sid="([^"]+)"', page.html)
    assert len(identifiers) == len(set(identifiers))
    assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=", page.html)


def test_an_unknown_page_is_not_found(browser: Client):
    assert browser.get("/docs/none").status_code == 404


def test_html_in_markdown_is_shown_as_text():
    html = markdown.render(markdown.parse('# <b>x</b>\n\n<script src="/x"></script>\n\n[a](javascript:x)'))
    assert "<script" not in html
    assert "<b>" not in html
    assert 'href="javascript' not in html


def test_code_has_a_copy_button(browser: Client):
    page = Page(browser.get("/docs/first-steps"))
    boxes = page.root.all("div", class_="codebox")
    assert len(boxes) >= 4
    assert all(box.one("button").attrs["data-copy-of"] == box.one("pre").attrs["id"] for box in boxes)


def test_each_cell_of_a_table_names_its_column(browser: Client):
    page = Page(browser.get("/docs/settings"))
    labels = {cell.attrs["data-label"] for cell in page.root.one("table").all("td")}
    assert labels == {"Name", "Default", "What it does"}


def test_the_settings_page_lists_every_setting(browser: Client):
    page = Page(browser.get("/docs/settings"))
    names = [row.all("code")[0].text for row in page.root.one("table").one("tbody").all("tr")]
    assert names == [setting.name for setting in env.described()]


def test_the_providers_page_has_a_section_for_each_provider_with_each_field(browser: Client):
    page = Page(browser.get("/docs/providers"))
    headings = [each.text for each in page.root.one("article").all("h2")]
    assert headings == [str(provider.label) for provider in registry.offered()]
    for provider in registry.offered():
        for field in provider.config.fields():
            assert str(field.label) in page.text


def test_an_unknown_generated_part_is_refused():
    with pytest.raises(KeyError):
        generated.expand("```generated\nnothing\n```")


@pytest.mark.parametrize(
    ("query", "address"),
    [
        ("take over", "/docs/secrets#when-somebody-leaves"),
        ("SERVING_UI_PORT", "/docs/settings#settings"),
        ("Retry-After", "/docs/limits#refusals"),
        ("bedrock region", "/docs/providers#amazon-bedrock"),
        ("limits", "/docs/limits#limits"),
        ("check_usage", "/docs/usage-and-metrics#nothing-is-lost-or-counted-twice"),
    ],
)
def test_a_search_finds_the_section_and_its_anchor(query, address):
    assert address in [result.section.address for result in search(query)]


def test_the_results_page_is_a_plain_get_form_that_works_without_script(browser: Client):
    page = Page(browser.get("/docs", {"q": "spool"}))
    form = page.root.one("main").one("form", role="search")
    assert (form.attrs["action"], form.attrs.get("method", "get")) == ("/docs", "get")
    assert form.one("input").attrs["value"] == "spool"
    links = [each.attrs["href"] for each in page.root.one("ol", class_="results").all("a")]
    assert any(link.startswith("/docs/usage-and-metrics#") for link in links)


@pytest.mark.parametrize("query", ["nothing-like-this", "<b>", "x" * 5000, "  ", "\x00%s"])
def test_a_search_that_finds_nothing_says_so(browser: Client, query):
    answer = browser.get("/docs", {"q": query})
    assert answer.status_code == 200
    assert "<b>" not in answer.content.decode()


HELPED = [
    "/ml/endpoints",
    CREATE,
    "/ml/endpoints/chat",
    "/ml/endpoints/chat?tab=permissions",
    "/ml/endpoints/chat/edit",
    "/ml/endpoints/chat/query",
    "/ml/secrets",
    "/settings",
    "/docs/api",
]


@pytest.mark.parametrize("path", HELPED)
def test_each_page_links_to_the_page_that_explains_it(browser: Client, ready, path):
    page = Page(browser.get(path))
    links = [each.attrs["href"] for each in page.root.all("a", class_="help-link")]
    assert links
    for link in links:
        address, _sharp, anchor = link.partition("#")
        found = library.page(address.removeprefix("/docs/"))
        assert found
        assert not anchor or anchor in [heading.anchor for heading in found.headings]


def test_a_link_to_a_page_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no page nothing"):
        Template('{% load serving %}{% help_link "nothing" %}').render(Context())


def test_every_page_shows_the_version(owner: User):
    page = Page(signed_in(owner).get("/ml/endpoints"))
    assert page.root.one("footer").text == f"Serving UI {__version__}"
