"""Foundation models on the pages: cards, the page of all models, and the endpoint's own page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from serving_ui.accounts.models import User
from serving_ui.catalogue.model_list import ListedModel
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.lib import clock
from serving_ui.model_hosts import endpoints_of_models
from serving_ui.model_hosts.models import ModelHost
from tests.model_hosts.conftest import FakeHost, check, deploy
from tests.pages.conftest import HTMX, a_static_folder, browser, signed_in
from tests.support.pages import Page

__all__ = ["a_static_folder", "browser"]
pytestmark = pytest.mark.django_db(transaction=True)
Add = Callable[..., ModelHost]
LIST, ALL = "/ml/endpoints", "/ml/foundation-models"
LLAMA = "system-gpu-llama-3-1-8b"
PAGE = f"{LIST}/{LLAMA}"


@pytest.fixture
def online(add_host: Add) -> ModelHost:
    host = check(add_host())
    deploy()
    return host


def cards(page: Page) -> list[str]:
    return [card.one("strong").text for card in page.id("foundation-models").all("li")]


def rows_of_table(page: Page) -> int:
    return len(page.id("endpoint-table").all("tr"))


def test_foundation_models_are_cards_and_not_rows(online: ModelHost, browser: Client):
    page = Page(browser.get(LIST))
    assert cards(page) == ["llama-3.1-8b", "nomic-embed-text"]
    strip = page.id("foundation-models")
    assert "Chat · Pay-per-token" in strip.text
    assert "Embeddings · Pay-per-token" in strip.text
    copied = [each.attrs.get("data-copy") for each in strip.all("button")]
    assert f"http://testserver/serving-endpoints/{LLAMA}/invocations" in copied
    assert f"{PAGE}/query" in [each.attrs["href"] for each in strip.all("a")]
    assert rows_of_table(page) == 0
    assert "0 matching endpoints" in page.text
    assert not page.is_polling("foundation-models")


def test_cards_are_redrawn_while_an_endpoint_is_made_ready(add_host: Add, browser: Client):
    check(add_host())
    page = Page(browser.get(LIST))
    assert page.is_polling("foundation-models")
    deploy()
    part = Page(browser.get(LIST, {"part": "models"}, headers=HTMX))
    assert not part.is_polling("foundation-models")
    assert "Ready" in part.text


def test_without_foundation_models_the_strip_is_hidden(browser: Client):
    assert "hidden" in Page(browser.get(LIST)).id("foundation-models").attrs


def test_who_may_not_see_a_model_has_no_card_of_it(online: ModelHost, browser: Client, admin: User):
    grant(name=LLAMA, to="users", level=Level.NONE, actor=admin, now=clock.now())
    assert cards(Page(browser.get(LIST))) == ["nomic-embed-text"]
    assert "1 matching model" in Page(browser.get(ALL)).text
    assert cards(Page(signed_in(admin).get(LIST))) == ["llama-3.1-8b", "nomic-embed-text"]


def test_all_models_are_searched_and_paged(add_host: Add, browser: Client, fake: FakeHost):
    fake.lists(*(f"model-{number:02}" for number in range(30)), "other")
    check(add_host())
    first = Page(browser.get(ALL))
    assert "31 matching models" in first.text
    assert len(first.root.all("tr")) == 26
    second = Page(browser.get(ALL, {"page": "2"}))
    assert len(second.root.all("tr")) == 7
    found = Page(browser.get(ALL, {"search": "OTHER"}))
    assert "1 matching model" in found.text
    assert "31 matching models" in Page(browser.get(ALL, {"search": "gpu"})).text
    assert "No model matches" in Page(browser.get(ALL, {"search": "%"})).text
    for page in ("0", "-1", "99", "x", "9" * 30):
        assert browser.get(ALL, {"page": page}).status_code == 200


def test_500_models_make_the_list_need_no_more_queries(online: ModelHost, browser: Client, admin: User):
    def number_of_queries(client: Client) -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            page = Page(client.get(LIST))
        assert len(cards(page)) <= 12
        return len(queries)

    clients = (browser, signed_in(admin))
    for client in clients:
        client.get(LIST)
    before = [number_of_queries(client) for client in clients]
    many = [ListedModel(f"m{number}", f"m{number}", Task.CHAT) for number in range(60)]
    endpoints_of_models.update_models(online, many, now=clock.now())
    assert [number_of_queries(client) for client in clients] == [number + 1 for number in before]  # the count
    assert "All models (62)" in Page(browser.get(LIST)).text


def test_the_page_of_such_an_endpoint_is_read_only(online: ModelHost, browser: Client, admin: User):
    page = Page(browser.get(PAGE))
    assert "A foundation model of the model host gpu" in page.text
    assert "Query" in [each.text for each in page.root.all("a")]
    of_admin = Page(signed_in(admin).get(PAGE))
    buttons = " ".join(of_admin.buttons())
    assert "Delete" not in buttons
    assert "Retry" not in buttons
    assert of_admin.has("edit-link")
    before = Endpoint.objects.values().get(name=LLAMA)
    for path in ("cancel", "retry", "delete"):
        content = {"typed_name": LLAMA}
        refused = signed_in(admin).post(f"{PAGE}/{path}", content, follow=True)
        assert "follows its model host" in Page(refused).text
    assert Endpoint.objects.values().get(name=LLAMA) == before


def test_the_page_says_why_it_is_not_ready(online: ModelHost, browser: Client, fake: FakeHost):
    fake.answers({}, status=500)
    check(check(online))
    text = Page(browser.get(PAGE)).text
    assert "Not ready" in text
    assert "It answered 500" in text


def test_admins_set_its_limits_and_tags_without_its_config(online: ModelHost, admin: User):
    client = signed_in(admin)
    page = Page(client.get(f"{PAGE}/edit"))
    assert "Served entities" not in [each.text for each in page.root.all("h2")]
    fields: dict[str, Any] = {**page.fields(), "rate_limit_user": "5", "description": "For everybody."}
    assert client.post(f"{PAGE}/edit", fields).status_code == 303
    row = Endpoint.objects.get(name=LLAMA)
    assert row.rate_limits == [{"calls": 5, "key": "user", "renewal_period": "minute"}]
    assert row.description == "For everybody."
    assert row.versions.count() == 1


def test_nobody_sends_a_config_with_the_form(online: ModelHost, admin: User):
    client = signed_in(admin)
    fields = Page(client.get(f"{PAGE}/edit")).fields()
    fields |= {"provider": "sandbox", "task": "llm/v1/chat", "sandbox__external_model_name": "x"}
    assert client.post(f"{PAGE}/edit", fields).status_code == 403
    assert Endpoint.objects.get(name=LLAMA).versions.count() == 1
