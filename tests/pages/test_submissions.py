"""Submitting a form is idempotent and atomic: its change is made once, however often it is sent."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from serving_ui.accounts.models import AccessToken, User
from serving_ui.endpoints.models import ConfigVersion, Endpoint, EndpointEvent
from serving_ui.pages import submissions
from serving_ui.pages.views.access import NEW_TOKEN_COOKIE
from serving_ui.vault.models import Scope
from tests.architecture.sources import ROOT
from tests.pages.conftest import CREATE, openai, settle, signed_in
from tests.support.pages import Page

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/ml/endpoints/chat"


def same(browser: Client) -> Client:
    """Another client with the same cookies, for concurrent requests of one browser."""
    other = Client()
    other.cookies.update(browser.cookies)
    return other


def at_once(browser: Client, path: str, form: dict[str, Any], times: int = 4) -> list[Any]:
    """The responses to a form that is sent several times concurrently."""

    def send(client: Client) -> Any:
        try:
            return client.post(path, form)
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(send, [same(browser) for _time in range(times)]))


def form_of(browser: Client, path: str, **attrs: str) -> dict[str, str]:
    """The hidden fields of the form on a page with these attributes."""
    forms = Page(browser.get(path)).root.all("form", **attrs)
    form = next(each for each in forms if each.all("input", name="form_id"))
    return {each.attrs["name"]: each.attrs["value"] for each in form.all("input", type="hidden")}


def test_a_create_form_that_is_sent_four_times_at_once_creates_one_endpoint(browser: Client):
    form = {**form_of(browser, CREATE, id="endpoint-form"), **openai(name="mine")}
    answers = at_once(browser, CREATE, form)
    assert [(each.status_code, each["Location"]) for each in answers] == [(303, "/ml/endpoints/mine")] * 4
    assert Endpoint.objects.count() == 1


def test_another_form_with_the_same_name_is_refused(browser: Client):
    answers = [
        browser.post(CREATE, {**form_of(browser, CREATE, id="endpoint-form"), **openai(name="mine")})
        for _form in range(2)
    ]
    assert [each.status_code for each in answers] == [303, 422]
    assert "exists already" in Page(answers[1]).text


def test_a_form_with_the_same_id_and_other_values_is_another_form(browser: Client):
    """Going back in some browsers restores a form with its hidden fields."""
    form = form_of(browser, CREATE, id="endpoint-form")
    for name in ("first", "second"):
        assert browser.post(CREATE, {**form, **openai(name=name)})["Location"] == f"/ml/endpoints/{name}"
    assert Endpoint.objects.count() == 2


def test_a_refused_form_may_be_corrected_and_sent_again(browser: Client):
    form = form_of(browser, CREATE, id="endpoint-form")
    assert browser.post(CREATE, {**form, **openai(name="no name")}).status_code == 422
    assert browser.post(CREATE, {**form, **openai(name="no name")}).status_code == 422
    assert browser.post(CREATE, {**form, **openai(name="a-name")}).status_code == 303


def test_the_stored_answer_of_a_form_is_not_used_for_another_person(browser: Client, stranger: User):
    form = {**form_of(browser, "/ml/secrets"), "scope": "keys"}
    assert browser.post("/ml/secrets/scopes", form).status_code == 303
    assert signed_in(stranger).post("/ml/secrets/scopes", form).status_code == 422


def test_every_form_that_is_sent_twice_gets_the_same_redirect(browser: Client, teammate: User):
    twice(browser, "/ml/secrets/scopes", {**form_of(browser, "/ml/secrets"), "scope": "keys"})
    assert Scope.objects.count() == 1
    twice(browser, "/ml/secrets/keys/put", {**form_of(browser, "/ml/secrets"), "key": "k", "value": "v"})
    confirm = form_of(browser, "/ml/secrets/keys/delete?key=k", class_="card")
    twice(browser, "/ml/secrets/keys/delete", {**confirm, "key": "k"})
    settle_with(browser, openai(name="chat"))
    edit = {**Page(browser.get(f"{PAGE}/edit")).fields(), "openai__external_model_name": "gpt-5"}
    twice(browser, f"{PAGE}/edit", edit)
    assert ConfigVersion.objects.count() == 2
    twice(browser, f"{PAGE}/cancel", form_of(browser, PAGE, action=f"{PAGE}/cancel"))
    twice(browser, f"{PAGE}/retry", form_of(browser, PAGE, action=f"{PAGE}/retry"))
    assert ConfigVersion.objects.count() == 3
    grant = form_of(browser, f"{PAGE}?tab=permissions", action=f"{PAGE}/permissions")
    twice(browser, f"{PAGE}/permissions", {**grant, "principal": teammate.email, "level": "CAN_VIEW"})
    assert EndpointEvent.objects.filter(type="ENDPOINT_PERMISSIONS_EVENT").count() == 1
    delete = form_of(browser, f"{PAGE}/delete", action=f"{PAGE}/delete")
    twice(browser, f"{PAGE}/delete", {**delete, "typed_name": "chat"})


def twice(browser: Client, path: str, form: dict[str, Any]) -> None:
    first, again = browser.post(path, form), browser.post(path, form)
    assert (first.status_code, again.status_code) == (303, 303), Page(again).text
    assert again["Location"] == first["Location"]


def settle_with(browser: Client, form: dict[str, Any]) -> None:
    assert browser.post(CREATE, form).status_code == 303
    settle(Endpoint.objects.get(), "active")


def test_a_token_form_that_is_sent_twice_creates_one_token_and_shows_it(browser: Client):
    form = {**form_of(browser, "/settings"), "comment": "notebook", "days": "30"}
    first, last = at_once(browser, "/settings", form, times=2)
    assert first.cookies[NEW_TOKEN_COOKIE].value == last.cookies[NEW_TOKEN_COOKIE].value
    assert AccessToken.objects.count() == 1
    browser.cookies.update(last.cookies)  # a browser discards the response to the first click
    value = Page(browser.get("/settings")).id("token-value").text
    assert Client(headers={"Authorization": f"Bearer {value}"}).get("/api/2.0/token/list").status_code == 200


def test_concurrent_forms_of_one_session_are_all_remembered(browser: Client):
    forms = [{**form_of(browser, "/ml/secrets"), "scope": f"keys-{number}"} for number in range(4)]

    def send(form: dict[str, Any]) -> int:
        try:
            return same(browser).post("/ml/secrets/scopes", form).status_code
        finally:
            connection.close()

    for _time in range(2):
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(send, forms)) == [303] * 4
    assert Scope.objects.count() == 4


def test_a_session_remembers_a_few_forms_for_some_minutes(browser: Client, monkeypatch: pytest.MonkeyPatch):
    for number in range(submissions.MAX_REMEMBERED + 5):
        browser.post("/ml/secrets/scopes", {"form_id": f"form-{number}", "scope": f"keys-{number}"})
    assert len(browser.session[submissions.ANSWERED]) == submissions.MAX_REMEMBERED
    again = {"form_id": f"form-{number}", "scope": f"keys-{number}"}
    assert browser.post("/ml/secrets/scopes", again).status_code == 303
    monkeypatch.setattr(submissions, "REMEMBERED_SECONDS", -60)
    assert browser.post("/ml/secrets/scopes", again).status_code == 422


def test_a_form_whose_last_command_fails_changes_nothing_and_can_be_sent_again(
    browser: Client, monkeypatch: pytest.MonkeyPatch
):
    """The last of several commands of one form fails."""
    settle_with(browser, openai(name="chat"))
    form = {
        **Page(browser.get(f"{PAGE}/edit")).fields(),
        "description": "new",
        "openai__external_model_name": "gpt-5",
    }
    with connection.execute_wrapper(_without("timeouts")), pytest.raises(OperationalError):
        browser.post(f"{PAGE}/edit", {**form, "timeout_total_seconds": "9"})
    endpoint = Endpoint.objects.get()
    assert (endpoint.description, endpoint.is_updating) == ("", False)
    assert browser.post(f"{PAGE}/edit", form).status_code == 303
    assert Endpoint.objects.get().is_updating


def _without(column: str) -> Any:
    """Every UPDATE of an endpoint that sets this column fails."""

    def execute(call: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if re.match(rf'UPDATE "endpoints_endpoint" SET (?:(?! WHERE ).)*"{column}" = ', sql):
            raise OperationalError("gone")
        return call(sql, params, many, context)

    return execute


def test_every_form_of_every_page_has_an_id():
    """Except the query form, which changes nothing here, and signing out, which may be repeated."""
    forms, without = 0, []
    for path in sorted((ROOT / "templates").rglob("*.html")):
        for form in re.findall(r'<form method="post".*?</form>', path.read_text(), re.DOTALL):
            forms += 1
            if "{% form_id %}" not in form:
                without.append(path.name)
    assert forms > 12
    assert without == ["base.html", "query.html"]
