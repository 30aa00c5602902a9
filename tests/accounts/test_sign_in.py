"""One-time links and access tokens."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection

from serving_ui.accounts import commands, queries
from serving_ui.accounts.models import AccessToken, SignInLink, User, digest_of
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal


def value_of(path: str) -> str:
    return path.removeprefix("/welcome/")


def test_a_link_signs_in_once(owner: User):
    value = value_of(commands.create_sign_in_link(user=owner, now=clock.now()))
    assert commands.redeem_sign_in_link(value=value, now=clock.now()) == owner
    with pytest.raises(commands.LinkInvalid):
        commands.redeem_sign_in_link(value=value, now=clock.now())


def test_a_repeated_submission_of_a_link_signs_in_once(owner: User):
    now = clock.now()
    value = value_of(commands.create_sign_in_link(user=owner, now=now))
    assert commands.redeem_sign_in_link(value=value, form="mine", now=now) == owner
    soon, late = now + commands.SECOND_CLICK / 2, now + commands.SECOND_CLICK * 2
    assert commands.redeem_sign_in_link(value=value, form="mine", now=soon) == owner
    for form, at in (("another", soon), ("", soon), ("mine", late)):
        with pytest.raises(commands.LinkInvalid):
            commands.redeem_sign_in_link(value=value, form=form, now=at)


def test_reading_the_user_of_a_link_does_not_use_it_up(owner: User):
    value = value_of(commands.create_sign_in_link(user=owner, now=clock.now()))
    for _again in range(2):
        assert queries.person_of_sign_in_link(value=value, now=clock.now()) == owner
    commands.redeem_sign_in_link(value=value, now=clock.now())
    with pytest.raises(commands.LinkInvalid):
        queries.person_of_sign_in_link(value=value, now=clock.now())


def test_an_old_link_is_refused(owner: User):
    value = value_of(commands.create_sign_in_link(user=owner, now=clock.now() - timedelta(days=2)))
    with pytest.raises(commands.LinkInvalid):
        commands.redeem_sign_in_link(value=value, now=clock.now())


def test_a_deactivated_person_cannot_sign_in(owner: User):
    value = value_of(commands.create_sign_in_link(user=owner, now=clock.now()))
    User.objects.filter(pk=owner.pk).update(is_active=False)
    with pytest.raises(commands.LinkInvalid):
        commands.redeem_sign_in_link(value=value, now=clock.now())


@pytest.mark.django_db(transaction=True)
def test_exactly_one_of_several_concurrent_uses_of_a_link_succeeds():
    user = commands.ensure_user(email="racer@example.com")
    value = value_of(commands.create_sign_in_link(user=user, now=clock.now()))

    def click(_: int) -> bool:
        try:
            commands.redeem_sign_in_link(value=value, now=clock.now())
        except commands.LinkInvalid:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(click, range(8))) == 1


def test_the_first_link_is_for_an_admin_and_created_until_someone_has_signed_in(db: None):
    first = commands.first_sign_in_link(now=clock.now())
    second = commands.first_sign_in_link(now=clock.now())
    assert first and second and first != second
    user = commands.redeem_sign_in_link(value=value_of(second), now=clock.now())
    assert user.is_admin
    User.objects.filter(pk=user.pk).update(last_login=clock.now())
    assert commands.first_sign_in_link(now=clock.now()) is None


def test_a_start_does_not_invalidate_links_created_before(db: None):
    admin = commands.ensure_user(email="ada@example.com", admin=True)
    made = commands.create_sign_in_link(user=admin, now=clock.now())
    commands.first_sign_in_link(now=clock.now())
    assert commands.redeem_sign_in_link(value=value_of(made), now=clock.now()) == admin


def test_links_and_tokens_are_stored_as_hashes_only(owner: User):
    path = commands.create_sign_in_link(user=owner, now=clock.now())
    token, value = commands.create_access_token(user=owner, now=clock.now())
    stored = repr([*SignInLink.objects.values(), *AccessToken.objects.values()])
    assert value not in stored
    assert value_of(path) not in stored
    assert token.digest == digest_of(value)


def test_create_token_prints_the_token_and_nothing_else(db: None, capsys: pytest.CaptureFixture[str]):
    call_command("create_token", "New.Person@example.com", "--admin")
    printed = capsys.readouterr().out
    token = AccessToken.objects.select_related("user").get(digest=digest_of(printed.strip()))
    assert printed == printed.strip() + "\n"
    assert token.user.is_admin


def test_sign_in_link_prints_a_path_and_nothing_else(db: None, capsys: pytest.CaptureFixture[str]):
    call_command("sign_in_link", "person@example.com")
    printed = capsys.readouterr().out
    assert printed.startswith("/welcome/")
    assert len(printed.splitlines()) == 1
    assert (
        commands.redeem_sign_in_link(value=value_of(printed.strip()), now=clock.now()).email
        == "person@example.com"
    )


def test_e_mail_addresses_ignore_case(owner: User):
    assert commands.ensure_user(email="OWNER@example.com") == owner
    with pytest.raises(Refusal):
        commands.ensure_user(email="not an address")
