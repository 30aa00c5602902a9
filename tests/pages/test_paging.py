"""Paging of long lists, with links that need no JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from serving_ui.accounts.models import User
from serving_ui.endpoints.models import Endpoint
from serving_ui.pages.views import access, create, detail, secrets
from tests.api import test_paging as api
from tests.pages.conftest import CREATE
from tests.support.pages import Page

pytestmark = pytest.mark.django_db
EVENTS, VERSIONS = "/ml/endpoints/chat?tab=events", "/ml/endpoints/chat?tab=versions"
FIRST, NEXT = "First page", "Next page"


@pytest.fixture(autouse=True)
def an_endpoint(make_endpoint: Callable[..., Endpoint]) -> Endpoint:
    return make_endpoint("chat")


def link(page: Page, words: str) -> str:
    """The address of the link, "" if there is none."""
    found = [each.attrs["href"] for each in page.root.all("a") if each.text == words]
    return found[0] if found else ""


def walk(browser: Client, address: str, rows: Callable[[Page], list[str]]) -> list[list[str]]:
    """The rows of each page, from the first to the last, following the links."""
    found: list[list[str]] = []
    while address:
        page = Page(browser.get(address))
        assert bool(link(page, FIRST)) is bool(found)
        found.append(rows(page))
        address = link(page, NEXT)
    if len(found) > 1:
        assert rows(Page(browser.get(link(page, FIRST)))) == found[0]
    return found


def cells(label: str) -> Callable[[Page], list[str]]:
    return lambda page: [each.text for each in page.root.all("td", data_label=label)]


def headings(page: Page) -> list[str]:
    return [each.text for each in page.root.all("h2", class_="grow")]


@pytest.mark.parametrize(
    "case",
    [
        (EVENTS, api.events, cells("Message"), detail.ROWS),
        (VERSIONS, api.versions, cells("Message"), detail.ROWS),
        ("/settings", api.tokens, cells("Purpose"), access.TOKENS),
        ("/ml/secrets", api.scopes, headings, secrets.SCOPES),
        ("/ml/secrets?scope=keys", api.secrets, cells("Key"), secrets.KEYS_OF_ONE),
    ],
)
def test_pages_contain_the_whole_list_with_a_constant_number_of_queries(
    browser: Client, owner: User, django_assert_num_queries: Any, case: tuple[str, Any, Any, int]
):
    address, grow, rows, size = case
    grow(owner, 10, "-a-")
    assert len(walk(browser, address, rows)) == 1
    with CaptureQueriesContext(connection) as few:
        browser.get(address)
    grow(owner, 2 * size + 3, "-b-")
    with django_assert_num_queries(len(few)):
        browser.get(address)
    pages = walk(browser, address, rows)
    assert [len(each) for each in pages[:2]] == [size, size]
    shown = [each for page in pages for each in page if "-a-" in each or "-b-" in each]
    assert len(shown) == len(set(shown)) == 2 * size + 13


@pytest.mark.parametrize(
    "address", [EVENTS, VERSIONS, "/settings?", "/ml/secrets?", "/ml/secrets?scope=keys"]
)
def test_an_invalid_cursor_shows_the_first_page(browser: Client, owner: User, address: str):
    api.secrets(owner, 3, "-a-")
    foreign = "after=x"
    answer = browser.get(f"{address}&{foreign}")
    assert answer.status_code == 200
    assert not link(Page(answer), FIRST)


def test_a_later_page_of_events_is_refreshed_in_place(browser: Client, owner: User):
    api.events(owner, 2 * detail.ROWS, "-a-")
    first = Page(browser.get(EVENTS))
    assert first.id("tab-panel").attrs["hx-get"] == EVENTS
    later = link(first, NEXT)
    assert Page(browser.get(later)).id("tab-panel").attrs["hx-get"] == later


def test_a_scope_with_many_keys_shows_the_first_and_a_link_to_all(browser: Client, owner: User):
    api.secrets(owner, secrets.KEYS, "-a-")
    assert not link(Page(browser.get("/ml/secrets")), "All keys of keys")
    api.secrets(owner, 5, "-b-")
    page = Page(browser.get("/ml/secrets"))
    assert len(cells("Key")(page)) == secrets.KEYS
    alone = link(page, "All keys of keys")
    assert alone == "/ml/secrets?scope=keys"
    page = Page(browser.get(alone))
    assert len(cells("Key")(page)) == secrets.KEYS + 5
    assert link(page, "All secret scopes") == "/ml/secrets"


def test_one_scope_is_shown_to_those_who_may_read_it(browser: Client, stranger: User):
    api.secrets(stranger, 3, "-a-")
    assert browser.get("/ml/secrets?scope=keys").status_code == 404
    assert browser.get("/ml/secrets?scope=none").status_code == 404


def test_a_refused_key_is_shown_in_its_scope_on_any_page(browser: Client, owner: User):
    api.scopes(owner, 2 * secrets.SCOPES, "-a-")
    last = walk(browser, "/ml/secrets", headings)[-1][-1]
    refused = browser.post(f"/ml/secrets/{last}/put", {"key": "no good", "value": "v"})
    assert refused.status_code == 422
    assert headings(Page(refused)) == [last]
    assert Page(refused).has("put-problem")


def test_the_form_suggests_a_bounded_number_of_references(
    browser: Client, owner: User, django_assert_max_num_queries: Any
):
    api.secrets(owner, create.MAX_SUGGESTIONS + 50, "-a-")
    with django_assert_max_num_queries(6):
        page = Page(browser.get(CREATE))
    options = page.id("secret-references").all("option")
    assert len(options) == create.MAX_SUGGESTIONS
    assert options[0].attrs["value"].startswith("{{secrets/keys/")
