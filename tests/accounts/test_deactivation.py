"""Deactivation permanently ends sessions, tokens and links: they stay invalid after reactivation."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from serving_ui.accounts import commands, directory, queries
from serving_ui.accounts.models import AccessToken, SignInLink, User, digest_of
from serving_ui.accounts.tokens import create_on_behalf_of
from serving_ui.gateway.session_tokens import make_session_token, read_session_token
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal
from serving_ui.snapshots.builder import SnapshotBuilder

pytestmark = pytest.mark.django_db
Change = Callable[[User, bool], None]


@pytest.fixture(autouse=True)
def a_static_folder(settings: Any) -> None:
    """An empty static folder, because WhiteNoise warns without one and warnings are errors."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


def in_the_domain(admin: User) -> Change:
    def change(user: User, active: bool) -> None:
        directory.change_principal(user=user, active=active, actor=admin)

    return change


def by_scim(admin: User, method: str) -> Change:
    _token, value = commands.create_access_token(user=admin, now=clock.now())
    head = {"Authorization": f"Bearer {value}"}

    def change(user: User, active: bool) -> None:
        kind, name = ("Users", "userName") if user.is_person else ("ServicePrincipals", "applicationId")
        address = f"/api/2.0/preview/scim/v2/{kind}/{user.pk}"
        patch = {"Operations": [{"op": "replace", "path": "active", "value": active}]}
        body: dict[str, Any] = patch if method == "patch" else {name: user.email, "active": active}
        answer = getattr(Client(), method)(address, body, content_type="application/json", headers=head)
        assert answer.status_code == 200, answer.content

    return change


@pytest.fixture(params=["domain", "put", "patch"])
def change(request: pytest.FixtureRequest, admin: User) -> Change:
    return in_the_domain(admin) if request.param == "domain" else by_scim(admin, request.param)


def session_is_valid(browser: Client) -> bool:
    return bool(browser.get("/settings").status_code == 200)


def link_is_accepted(path: str) -> bool:
    try:
        commands.redeem_sign_in_link(value=path.removeprefix("/welcome/"), now=clock.now())
    except commands.LinkInvalid:
        return False
    return True


def test_after_reactivation_old_sessions_tokens_and_links_stay_invalid(owner: User, change: Change):
    browser, now = Client(), clock.now()
    browser.force_login(owner)
    _token, value = commands.create_access_token(user=owner, now=now)
    link = commands.create_sign_in_link(user=owner, now=now)
    assert session_is_valid(browser)
    change(owner, False)
    assert not session_is_valid(browser)
    change(owner, True)
    assert not session_is_valid(browser)
    assert queries.bearer(value=value, now=clock.now()) is None
    assert not link_is_accepted(link)
    assert not SnapshotBuilder().build().tokens.keys() & {bytes.fromhex(digest_of(value))}
    browser.force_login(User.objects.get(pk=owner.pk))
    assert session_is_valid(browser)
    assert link_is_accepted(commands.create_sign_in_link(user=User.objects.get(pk=owner.pk), now=clock.now()))


def test_a_session_without_requests_during_the_deactivation_is_invalid_afterwards(owner: User, admin: User):
    """The session was not checked during the deactivation, because no request came."""
    browser = Client()
    browser.force_login(owner)
    for active in (False, True):
        directory.change_principal(user=owner, active=active, actor=admin)
    assert not session_is_valid(browser)


def test_tokens_of_a_deactivated_service_principal_stay_invalid(admin: User, change: Change):
    program = directory.create_service_principal(actor=admin)
    _token, value = create_on_behalf_of(
        application_id=program.email, comment="", lifetime=None, actor=admin, now=clock.now()
    )
    for active in (False, True):
        change(program, active)
    assert queries.bearer(value=value, now=clock.now()) is None
    assert not AccessToken.objects.filter(user=program).exists()


def test_other_changes_of_a_user_end_no_session_token_or_link(owner: User, change: Change):
    browser = Client()
    browser.force_login(owner)
    _token, value = commands.create_access_token(user=owner, now=clock.now())
    change(owner, True)
    assert session_is_valid(browser)
    assert queries.bearer(value=value, now=clock.now()) == owner


def test_a_token_created_during_a_deactivation_stays_invalid(owner: User, admin: User):
    """As in a race: the creator of the token read the user before the deactivation."""
    seen = User.objects.get(pk=owner.pk)
    directory.change_principal(user=owner, active=False, actor=admin)
    _token, value = commands.create_access_token(user=seen, now=clock.now())
    link = commands.create_sign_in_link(user=seen, now=clock.now())
    directory.change_principal(user=owner, active=True, actor=admin)
    assert queries.bearer(value=value, now=clock.now()) is None
    assert not link_is_accepted(link)


def test_no_link_or_token_is_created_for_a_deactivated_user(owner: User, admin: User):
    directory.change_principal(user=owner, active=False, actor=admin)
    for make in (commands.create_access_token, commands.create_sign_in_link):
        with pytest.raises(Refusal, match="deactivated"):
            make(user=owner, now=clock.now())
    for command in ("create_token", "sign_in_link"):
        with pytest.raises(CommandError, match="deactivated"):
            call_command(command, owner.email)
    assert not SignInLink.objects.filter(user=owner).exists()


def test_a_new_user_with_the_e_mail_of_a_deleted_one_has_another_identity(owner: User, admin: User):
    browser = Client()
    browser.force_login(owner)
    _token, value = commands.create_access_token(user=owner, now=clock.now())
    link = commands.create_sign_in_link(user=owner, now=clock.now())
    directory.delete_principal(user=owner, actor=admin)
    directory.create_person(email="owner@example.com", actor=admin)
    assert not session_is_valid(browser)
    assert queries.bearer(value=value, now=clock.now()) is None
    assert not link_is_accepted(link)


def test_a_session_token_is_refused_after_deactivation(owner: User, admin: User, settings: Any):
    """A pass names a person and no right: the gateway looks the person up, who is gone from its snapshot. It lives for a
    minute inside one request of the server to its own gateway, so none is left when the person is back."""
    made = make_session_token(key=settings.SESSION_TOKEN_KEY, user_id=owner.pk, expires=time.time() + 60)
    assert read_session_token(key=settings.SESSION_TOKEN_KEY, value=made, now=time.time()) == owner.pk
    assert owner.pk in SnapshotBuilder().build().principals
    directory.change_principal(user=owner, active=False, actor=admin)
    assert owner.pk not in SnapshotBuilder().build().principals
    assert read_session_token(key=settings.SESSION_TOKEN_KEY, value=made, now=time.time() + 61) is None


def test_expired_tokens_and_used_links_do_not_prevent_deactivation(owner: User, admin: User):
    now = clock.now()
    commands.create_access_token(user=owner, lifetime=timedelta(seconds=-1), now=now)
    assert link_is_accepted(commands.create_sign_in_link(user=owner, now=now))
    directory.change_principal(user=owner, active=False, actor=admin)
    assert not AccessToken.objects.filter(user=owner).exists()
    assert not SignInLink.objects.filter(user=owner).exists()
