"""The pages Secrets and Settings: secret values are never shown, and new tokens once."""

from __future__ import annotations

import time

import pytest
from django.test import Client

from serving_ui.accounts.models import AccessToken, User
from serving_ui.lib import clock
from serving_ui.pages.views.access import NEW_TOKEN_COOKIE
from serving_ui.vault import commands as vault
from serving_ui.vault import drafts
from serving_ui.vault.models import Scope, StoredSecret
from serving_ui.vault.rights import Right
from tests.pages.conftest import signed_in
from tests.support.pages import Page

VALUE = "sk-never-shown-again"


@pytest.fixture
def scope(owner: User) -> Scope:
    return vault.create_scope(name="keys", actor=owner, now=clock.now())


def test_a_scope_is_created_and_a_key_put_into_it(browser: Client):
    assert "No secret scopes yet" in Page(browser.get("/ml/secrets")).text
    assert browser.post("/ml/secrets/scopes", {"scope": "keys"}).status_code == 303
    assert browser.post("/ml/secrets/keys/put", {"key": "openai", "value": f" {VALUE}\n"}).status_code == 303
    page = Page(browser.get("/ml/secrets"))
    assert "{{secrets/keys/openai}}" in page.id("main").text
    assert VALUE not in page.html


@pytest.mark.parametrize("name", ["", "no good", "x" * 200, "keys"])
def test_a_bad_scope_name_is_refused_beside_its_field(browser: Client, scope: Scope, name):
    response = browser.post("/ml/secrets/scopes", {"scope": name})
    page = Page(response)
    assert response.status_code == 422
    assert page.id("scope-problem").text.endswith(".")
    assert page.id("scope-name").attrs["value"] == name


@pytest.mark.parametrize(
    ("key", "value", "wrong"), [("", VALUE, "key"), ("a b", VALUE, "key"), ("k", "", "value")]
)
def test_a_refused_key_is_shown_beside_its_field_without_its_value(
    browser: Client, scope: Scope, key, value, wrong
):
    response = browser.post("/ml/secrets/keys/put", {"key": key, "value": value})
    page = Page(response)
    assert response.status_code == 422
    assert page.id(f"{wrong}-{scope.pk}").attrs["aria-invalid"] == "true"
    assert VALUE not in page.html


def test_deleting_needs_a_confirmation(browser: Client, scope: Scope, owner: User):
    vault.put_secret(scope="keys", key="openai", value=VALUE, actor=owner, now=clock.now())
    assert "Delete key openai of keys?" in Page(browser.get("/ml/secrets/keys/delete?key=openai")).text
    assert StoredSecret.objects.exists()
    assert browser.post("/ml/secrets/keys/delete", {"key": "openai"}).status_code == 303
    assert not StoredSecret.objects.exists()
    assert browser.post("/ml/secrets/keys/delete", {"key": "openai"}).status_code == 404
    assert browser.post("/ml/secrets/keys/delete", {"key": ""}).status_code == 303
    assert not Scope.objects.exists()


def test_a_scope_is_for_its_creator_and_admins(scope: Scope, stranger: User, admin: User):
    assert "keys" not in Page(signed_in(stranger).get("/ml/secrets")).id("main").text.replace(
        "keys to it", ""
    )
    assert signed_in(stranger).post("/ml/secrets/keys/put", {"key": "k", "value": "v"}).status_code == 404
    assert signed_in(stranger).get("/ml/secrets/keys/delete").status_code == 404
    assert signed_in(stranger).post("/ml/secrets/keys/delete").status_code == 404
    assert signed_in(admin).post("/ml/secrets/keys/put", {"key": "k", "value": "v"}).status_code == 303


def test_the_right_to_read_shows_keys_and_the_right_to_write_shows_buttons(
    scope: Scope, owner: User, teammate: User
):
    now, theirs = clock.now(), signed_in(teammate)
    vault.put_secret(scope="keys", key="openai", value=VALUE, actor=owner, now=now)
    reader = vault.Grantee(teammate.email, user_id=teammate.pk)
    vault.grant(scope="keys", to=reader, right=Right.READ, actor=owner, now=now)
    page = Page(theirs.get("/ml/secrets"))
    assert "{{secrets/keys/openai}}" in page.id("main").text
    assert not {"Put key", "Delete openai", "Delete scope keys"} & set(page.buttons())
    assert theirs.post("/ml/secrets/keys/put", {"key": "k", "value": "v"}).status_code == 403
    assert theirs.get("/ml/secrets/keys/delete").status_code == 403
    assert theirs.post("/ml/secrets/keys/delete", {"key": "openai"}).status_code == 403
    vault.grant(scope="keys", to=reader, right=Right.WRITE, actor=owner, now=now)
    assert {"Put key", "Delete openai"} <= set(Page(theirs.get("/ml/secrets")).buttons())
    assert theirs.post("/ml/secrets/keys/delete", {"key": "openai"}).status_code == 303


def test_a_token_is_shown_once(browser: Client):
    made = browser.post("/settings", {"comment": "notebook", "days": "90"})
    assert (made.status_code, made["Location"], made.content) == (303, "/settings", b"")
    response = browser.get("/settings")
    page = Page(response)
    value = page.id("token-value").text
    assert value.startswith("sui_")
    assert "no-store" in response["Cache-Control"]
    after = Page(browser.get("/settings"))
    assert value not in after.html
    assert "notebook" in after.text
    assert AccessToken.objects.count() == 1


def test_a_new_token_is_in_an_encrypted_cookie_for_five_minutes(browser: Client, owner: User, monkeypatch):
    browser.post("/settings", {"comment": "c", "days": "90"})
    cookie = browser.cookies[NEW_TOKEN_COOKIE]
    value = drafts.decrypt(cookie.value, purpose=f"{NEW_TOKEN_COOKIE}:{owner.pk}")
    assert value.startswith("sui_")
    assert value not in cookie.value
    assert (cookie["path"], cookie["httponly"], cookie["max-age"]) == ("/settings", True, 300)
    browser.head("/settings")  # a HEAD request shows nothing
    assert browser.cookies[NEW_TOKEN_COOKIE].value == cookie.value
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 301)
    assert value not in browser.get("/settings").content.decode()
    assert not browser.cookies[NEW_TOKEN_COOKIE].value


def test_a_new_token_is_not_shown_to_another_person_in_the_same_browser(browser: Client, stranger: User):
    browser.post("/settings", {"comment": "c", "days": "90"})
    next_one = signed_in(stranger)
    next_one.cookies[NEW_TOKEN_COOKIE] = browser.cookies[NEW_TOKEN_COOKIE].value
    assert not Page(next_one.get("/settings")).has("token-value")


@pytest.mark.parametrize("days", ["30", "", "9999", "x"])
def test_a_token_expires_only_after_one_of_the_offered_times(browser: Client, days):
    browser.post("/settings", {"comment": "c", "days": days})
    assert (AccessToken.objects.get().expires_at is not None) is (days == "30")


def test_a_token_is_revoked_by_its_owner_only(browser: Client, stranger: User):
    browser.post("/settings", {"comment": "c", "days": "30"})
    token = AccessToken.objects.get()
    signed_in(stranger).post("/settings", {"revoke": token.pk})
    assert AccessToken.objects.exists()
    assert browser.post("/settings", {"revoke": token.pk}).status_code == 303
    assert not AccessToken.objects.exists()
