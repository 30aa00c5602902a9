"""Signing in by a one-time link: opening it changes nothing, and its button creates the session."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from serving_ui.accounts.commands import create_sign_in_link
from serving_ui.accounts.models import SignInLink, User
from serving_ui.lib import clock
from tests.pages.conftest import signed_in
from tests.support.pages import Page

SESSION = "serving_ui_session"
LIST = "/ml/endpoints"


@pytest.fixture
def link(owner: User) -> str:
    return create_sign_in_link(user=owner, now=clock.now())


def opened(client: Client, link: str, **how: Any) -> Page:
    answer = client.get(link, **how)
    assert answer.status_code == 200
    return Page(answer)


def press(client: Client, link: str, **how: Any) -> Any:
    """Opens the link and submits its form; returns the response."""
    return client.post(link, opened(client, link).fields(), **how)


def person_at(client: Client) -> str | None:
    """Who is signed in with this client, None if nobody is."""
    answer = client.get(LIST)
    return Page(answer).root.one("p", class_="who").text if answer.status_code == 200 else None


def test_a_link_signs_in_once_and_redirects_to_the_wanted_page(link: str, client: Client):
    client.get("/sign-in?next=/ml/secrets")
    answer = press(client, link)
    assert (answer.status_code, answer["Location"]) == (303, "/ml/secrets")
    assert client.get("/ml/secrets").status_code == 200
    again = Client().get(link)
    assert again.status_code == 403
    assert "has been used or has expired. Ask an admin" in Page(again).text


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_opening_a_link_without_pressing_the_button_does_not_use_it_up(link: str, method: str):
    program = Client()
    assert getattr(program, method)(link).status_code in (200, 405)
    assert SESSION not in program.cookies
    assert not Session.objects.exists()
    assert SignInLink.objects.get().used_at is None
    assert press(Client(), link).status_code == 303


def test_the_page_of_a_link_names_the_person_and_has_one_button(link: str, client: Client):
    page = opened(client, link)
    assert "signs you in as owner@example.com , once" in page.text
    assert page.buttons() == ["Sign in"]
    assert not page.root.all("script", src="https:")
    form = page.root.one("form")
    assert (form.attrs["method"], form.attrs.get("action", "")) == ("post", "")


def test_the_page_of_a_link_is_not_cached_and_sends_no_path_as_referrer(link: str, client: Client):
    answer = client.get(link)
    assert answer["Referrer-Policy"] == "strict-origin"
    assert "no-store" in answer["Cache-Control"]
    assert "default-src 'none'" in answer["Content-Security-Policy"]


def test_another_person_who_is_signed_in_is_warned_and_signed_out(link: str, stranger: User):
    browser = signed_in(stranger)
    before = browser.cookies[SESSION].value
    page = opened(browser, link)
    assert "Now stranger@example.com is signed in in this browser, and will be signed out." in page.text
    assert person_at(browser) == "stranger@example.com"
    assert press(browser, link).status_code == 303
    assert person_at(browser) == "owner@example.com"
    assert not Session.objects.filter(pk=before).exists()


def test_the_page_says_that_a_link_is_not_needed_while_the_person_is_signed_in(link: str, owner: User):
    browser = signed_in(owner)
    assert "can still be used in another browser" in opened(browser, link).text
    before = browser.cookies[SESSION].value
    assert press(browser, link).status_code == 303
    assert browser.cookies[SESSION].value != before
    assert "You are signed in as owner@example.com" in Page(browser.get(link)).text


def test_signing_in_creates_a_new_session_key(link: str):
    planted = Client().session
    planted["theirs"] = "yes"
    planted.save()
    browser = Client()
    browser.cookies[SESSION] = str(planted.session_key)
    assert press(browser, link).status_code == 303
    assert browser.cookies[SESSION].value != planted.session_key
    assert "theirs" not in browser.session
    other = Client()
    other.cookies[SESSION] = str(planted.session_key)
    assert person_at(other) is None


def test_another_site_cannot_submit_the_form(link: str):
    browser = Client(enforce_csrf_checks=True)
    assert browser.post(link).status_code == 403
    fields = opened(browser, link).fields()
    foreign = {"Origin": "https://evil.example"}
    assert browser.post(link, fields, headers=foreign).status_code == 403
    assert SignInLink.objects.get().used_at is None
    assert browser.post(link, fields).status_code == 303


def test_the_form_is_accepted_with_the_referrer_policy_strict_origin_over_https(link: str):
    """With this policy a browser sends only the origin as the Referer. Over https Django requires an Origin or a Referer."""
    browser = Client(enforce_csrf_checks=True)
    fields = opened(browser, link, secure=True).fields()
    sent = {"Origin": "https://testserver", "Referer": "https://testserver/"}
    assert browser.post(link, fields, secure=True, headers=sent).status_code == 303


def test_a_second_click_before_the_first_response_signs_in(link: str, client: Client):
    """The browser discards the first response with its cookies, and uses the second one."""
    fields = opened(client, link).fields()
    assert client.post(link, fields).status_code == 303
    second = Client()
    assert second.post(link, fields).status_code == 303
    assert person_at(second) == "owner@example.com"
    other = Client()
    assert other.post(link, {**fields, "form_id": "of another page"}).status_code == 403


def test_a_second_click_after_the_first_response_leads_to_the_same_page(link: str):
    """The first response has changed the CSRF token; the page with the button still has the old one."""
    browser = Client(enforce_csrf_checks=True)
    browser.get("/sign-in?next=/ml/secrets")
    fields = opened(browser, link).fields()
    answers = [browser.post(link, fields) for _click in range(2)]
    assert [(each.status_code, each["Location"]) for each in answers] == [(303, "/ml/secrets")] * 2
    assert person_at(browser) == "owner@example.com"
    other = browser.post(link, {**fields, "form_id": "of another page"})
    assert (other.status_code, "Nothing was changed" in other.content.decode()) == (403, True)


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_invalid_link_shows_how_to_get_another(owner: User, client: Client, method: str):
    old = create_sign_in_link(user=owner, now=clock.now() - timedelta(days=2))
    for each in (old, "/welcome/none", "/welcome/" + quote("秘\x07密"), "/welcome/" + "x" * 3000):
        answer = getattr(client, method)(each)
        assert answer.status_code == 403
        assert "Ask an admin for a new one, or create one on the server." in Page(answer).text


@pytest.mark.parametrize(
    "wanted",
    [
        "x", "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "///evil.example", "javascript:alert(1)",
        "/ml/secrets\x00", "/ml/\nsecrets", "\t//evil.example", "/ml/secrets?a=\r\nSet-Cookie: b=c", "/ml/secrets\\", "http:///evil.example",
        "/no/such/page", "/sign-in", "/sign-in?next=/sign-in", "/sign-out%00", "/welcome/none", "/api/2.0/token/list", "/serving-endpoints/x/invocations",
        "/ml/endpoints?search=" + "x" * 3000, "endpoint-list", "home", "", " ", "/%2Fevil.example", "/%5Cevil.example", "http://[::1",
    ],
)  # fmt: skip
def test_the_wanted_page_must_be_a_page_of_this_server(link: str, client: Client, wanted: str):
    answer = client.get("/sign-in", {"next": wanted})
    assert answer.status_code == 200
    assert "serving_ui_next" not in answer.cookies
    client.cookies["serving_ui_next"] = quote(wanted)
    assert press(client, link)["Location"] == LIST
    assert client.get("/sign-in", {"next": wanted})["Location"] == LIST


@pytest.mark.parametrize(
    "wanted", ["/", "/ml/endpoints/chat?tab=events", "/ml/endpoints/%E7%A7%98", "/docs/api?endpoint=a"]
)
def test_the_wanted_page_may_be_any_page_that_needs_a_session(link: str, client: Client, wanted: str):
    client.get("/sign-in", {"next": wanted})
    assert not Session.objects.exists()
    assert press(client, link)["Location"] == wanted
    assert not client.cookies["serving_ui_next"].value


def test_an_invalid_next_parameter_does_not_use_up_the_next_link(link: str):
    """`/sign-in?next=x` once made the next link answer 500 after it was used up."""
    browser = Client()
    browser.get("/sign-in?next=x")
    assert press(browser, link).status_code == 303
    assert person_at(browser) == "owner@example.com"


def test_messages_of_one_person_are_not_shown_to_the_next(link: str, stranger: User):
    browser = signed_in(stranger)
    assert browser.post("/ml/secrets/scopes", {"scope": "theirs", "form_id": "a"}).status_code == 303
    press(browser, link)
    assert "theirs" not in Page(browser.get("/ml/secrets")).text
    assert "answered-forms" not in browser.session
    assert browser.post("/ml/secrets/scopes", {"scope": "mine"}).status_code == 303
    assert browser.post("/sign-out").status_code == 303
    assert not browser.cookies["serving_ui_messages"].value
