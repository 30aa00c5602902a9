"""The page Serving endpoints."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.endpoints import built_in
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.lib import clock
from tests.pages.conftest import HTMX, settle, signed_in
from tests.support.pages import Page

COLUMNS = ["Name", "State", "Served entities", "Tags", "Task", "Created by", "Last modified"]


def names(page: Page) -> list[str]:
    return [row.all("a")[0].text for row in page.id("endpoint-table").all("tr")[1:]]


def test_the_table_shows_every_column(browser: Client, make_endpoint):
    make_endpoint("chat", tags=[{"key": "team", "value": "search"}])
    page = Page(browser.get("/ml/endpoints"))
    assert [cell.text for cell in page.root.all("th")] == COLUMNS
    cells = [cell.text for cell in page.id("endpoint-table").all("td")]
    assert cells[:6] == [
        "chat",
        "Not ready (Updating)",
        "O gpt-4",
        "team: search",
        "Chat",
        "owner@example.com",
    ]
    assert "UTC" in page.id("endpoint-table").one("time").attrs["title"]


def test_without_endpoints_the_page_offers_to_create_one(browser: Client):
    page = Page(browser.get("/ml/endpoints"))
    assert "No serving endpoints yet" in page.text
    assert "Create the first one" in page.buttons()


def test_built_in_endpoints_are_cards_with_query_and_url(browser: Client):
    built_in.ensure()
    page = Page(browser.get("/ml/endpoints"))
    assert [card.one("strong").text for card in page.root.all("li", class_="card")] == [
        "Sandbox chat",
        "Sandbox embeddings",
    ]
    assert page.is_polling("built-in")
    copied = [each.attrs["data-copy"] for each in page.id("built-in").all("button")]
    assert copied[0] == "http://testserver/serving-endpoints/sandbox-chat/invocations"
    assert "0 matching endpoints" in page.text


def test_cards_are_polled_alone_until_their_endpoints_settle(browser: Client):
    built_in.ensure()
    for endpoint in Endpoint.objects.all():
        settle(endpoint, "active")
    page = Page(browser.get("/ml/endpoints?part=cards", headers=HTMX))
    assert not page.is_polling("built-in")
    assert not page.has("endpoint-table")


def test_search_and_owned_by_me_narrow_the_list(browser: Client, make_endpoint, teammate: User):
    make_endpoint("search-chat")
    make_endpoint("other")
    make_endpoint("search-foreign", actor=teammate)
    grant(
        name="search-foreign",
        to="owner@example.com",
        level=Level.CAN_VIEW,
        actor=teammate,
        now=clock.now(),
    )
    assert set(names(Page(browser.get("/ml/endpoints?search=SEARCH")))) == {"search-chat", "search-foreign"}
    page = Page(browser.get("/ml/endpoints?search=search&owned=1"))
    assert names(page) == ["search-chat"]
    assert "1 matching endpoint" in page.text
    assert "Reset filters" in page.text
    assert page.id("search").attrs["value"] == "search"


def test_htmx_gets_only_the_table_that_the_page_contains(browser: Client, ready):
    whole = browser.get("/ml/endpoints?search=c")
    table = browser.get("/ml/endpoints?search=c", headers=HTMX)
    assert "<html" not in table.content.decode()
    assert table.content.decode().strip() in whole.content.decode()
    assert whole["Vary"].count("HX-Request") == 1
    history = browser.get("/ml/endpoints", headers={**HTMX, "HX-History-Restore-Request": "true"})
    assert "<html" in history.content.decode()


def test_the_list_polls_while_an_update_runs_and_is_204_while_nothing_changes(browser: Client, make_endpoint):
    endpoint = make_endpoint()
    table = Page(browser.get("/ml/endpoints")).id("endpoint-table")
    assert table.attrs["hx-trigger"] == "every 2s"
    assert browser.get(table.attrs["hx-get"], headers=HTMX).status_code == 204
    settle(endpoint, "active")
    after = browser.get(table.attrs["hx-get"], headers=HTMX)
    assert after.status_code == 200
    assert not Page(after).is_polling("endpoint-table")


def test_a_page_holds_25_and_the_pager_keeps_the_filters(browser: Client, owner: User, make_endpoint):
    for number in range(27):
        make_endpoint(f"many-{number}")
    page = Page(browser.get("/ml/endpoints?search=many&page=2"))
    assert len(names(page)) == 2
    assert page.root.one("a", **{"aria-label": "Page 1"}).attrs["href"] == "?search=many&page=1"


@pytest.mark.parametrize("wanted", ["0", "-1", "999999", "x", "²", "9" * 40])
def test_a_page_number_out_of_range_is_no_error(browser: Client, ready, wanted):
    assert names(Page(browser.get("/ml/endpoints", {"page": wanted}))) == ["chat"]


def test_the_number_of_queries_does_not_grow_with_the_rows(
    browser: Client, make_endpoint, django_assert_max_num_queries, django_assert_num_queries
):
    make_endpoint("first")
    browser.get("/ml/endpoints")
    with django_assert_max_num_queries(6) as few:
        browser.get("/ml/endpoints")
    for number in range(20):
        make_endpoint(f"more-{number}")
    with django_assert_num_queries(len(few.captured_queries)):
        browser.get("/ml/endpoints")


def test_the_list_shows_the_endpoints_that_a_person_may_view(
    ready, teammate: User, stranger: User, admin: User, owner: User
):
    grant(name="chat", to=teammate.email, level=Level.CAN_VIEW, actor=owner, now=clock.now())
    seen = {
        user.email: names(Page(signed_in(user).get("/ml/endpoints"))) for user in (owner, teammate, admin)
    }
    assert all(found == ["chat"] for found in seen.values())
    assert "chat" not in Page(signed_in(stranger).get("/ml/endpoints")).id("endpoint-table").text


def test_times_are_relative(browser: Client, ready):
    Endpoint.objects.update(modified_at=clock.now() - timedelta(hours=3, minutes=5))
    assert (
        Page(browser.get("/ml/endpoints")).id("endpoint-table").one("time").text.replace("\xa0", " ")
        == "3 hours ago"
    )


def test_a_search_longer_than_any_name_finds_nothing(browser: Client, make_endpoint):
    make_endpoint("x" * 63)
    for search in ("x" * 64, "x" * 60_000):  # the latter is more than SQLite compares by LIKE
        page = Page(browser.get("/ml/endpoints", {"search": search}))
        assert "x" * 63 not in [link.text for link in page.root.all("a")]
