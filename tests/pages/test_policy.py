"""Policies of views: deny by default, redirect to the sign-in page, sign out."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory

from serving_ui.accounts.models import User
from serving_ui.pages.policy import DenyByDefault, admin
from tests.pages.conftest import HTMX, signed_in
from tests.support.pages import Page


@pytest.mark.parametrize("path", ["/", "/ml/endpoints", "/ml/endpoints/create", "/ml/secrets", "/settings"])
def test_without_a_session_pages_redirect_to_the_sign_in_page(db, client: Client, path):
    response = client.get(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/sign-in?next=")


def test_without_a_session_htmx_redirects_to_the_sign_in_page_and_back_to_the_page(db, client: Client):
    headers = {**HTMX, "HX-Current-URL": "http://testserver/ml/endpoints/chat?tab=events"}
    response = client.get("/ml/endpoints/chat/state", headers=headers)
    assert response["HX-Redirect"] == "/sign-in?next=%2Fml%2Fendpoints%2Fchat%3Ftab%3Devents"
    assert b"<html" not in response.content


def test_a_view_that_declares_no_policy_answers_403(rf: RequestFactory, owner: User):
    request = rf.get("/")
    request.user = owner
    with pytest.raises(PermissionDenied):
        DenyByDefault(lambda _request: None).process_view(request, lambda _request: None, (), {})  # type: ignore[arg-type,return-value]


def test_an_admin_page_is_403_for_others(rf: RequestFactory, owner: User):
    request = rf.get("/")
    request.user = owner
    with pytest.raises(PermissionDenied, match=r"Only an admin"):
        DenyByDefault(lambda _request: None).process_view(request, admin(lambda _request: None), (), {})  # type: ignore[arg-type,return-value]


def test_signing_out_ends_the_session_and_needs_a_post(owner: User):
    browser = signed_in(owner)
    assert browser.get("/sign-out").status_code == 405
    assert browser.post("/sign-out").status_code == 303
    assert not Session.objects.exists()
    assert not browser.cookies["serving_ui_session"].value
    assert browser.get("/ml/endpoints").status_code == 302


def test_forms_need_a_csrf_token(owner: User):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    response = browser.post("/ml/secrets/scopes", {"scope": "keys"})
    assert response.status_code == 403
    assert "Nothing was changed" in Page(response).text


def test_error_pages_have_the_look_of_the_product(owner: User):
    page = Page(signed_in(owner).get("/no/such/page"))
    assert page.root.one("h1").text == "Not found"
    assert page.root.all("link", rel="stylesheet")
