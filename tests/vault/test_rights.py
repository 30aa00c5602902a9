"""Rights on secret scopes: no grant exceeds the grantor's right."""

from __future__ import annotations

import itertools

import pytest

from serving_ui.accounts.models import Group, Membership, User
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal
from serving_ui.vault import commands, queries
from serving_ui.vault.commands import Grantee
from serving_ui.vault.models import ScopeGrant
from serving_ui.vault.rights import Right


def grant(to: User | Group, right: Right, actor: User) -> None:
    is_user = isinstance(to, User)
    grantee = Grantee(str(to), to.pk if is_user else None, None if is_user else to.pk)
    commands.grant(scope="prod", to=grantee, right=right, actor=actor, now=clock.now())


def right_of(actor: User) -> int:
    scope = queries.scopes(actor=actor).filter(name="prod").first()
    return scope.right if scope else 0


@pytest.fixture(autouse=True)
def prod(owner: User) -> None:
    commands.create_scope(name="prod", actor=owner, now=clock.now())


def test_the_creator_and_admins_manage(owner: User, admin: User, stranger: User):
    assert (right_of(owner), right_of(admin), right_of(stranger)) == (Right.MANAGE, Right.MANAGE, 0)


def test_the_highest_of_several_rights_counts(owner: User, teammate: User):
    group = Group.objects.create(name="Analysts")
    Membership.objects.create(group=group, user=teammate)
    grant(teammate, Right.READ, owner)
    grant(group, Right.WRITE, owner)
    assert right_of(teammate) == Right.WRITE
    group.delete()
    assert right_of(teammate) == Right.READ


def test_a_right_never_exceeds_that_of_its_grantor(owner: User, teammate: User, stranger: User):
    for held, wish in itertools.product([None, *Right], Right):
        ScopeGrant.objects.all().delete()
        if held:
            grant(teammate, held, owner)
        try:
            grant(stranger, wish, teammate)
        except Refusal:
            assert held != Right.MANAGE
            assert right_of(stranger) == 0
        else:
            assert held == Right.MANAGE
            assert right_of(stranger) == wish


def test_the_rights_on_many_scopes_need_two_queries(owner: User, teammate: User, django_assert_num_queries):
    grant(teammate, Right.READ, owner)
    for number in range(5):
        commands.create_scope(name=f"s{number}", actor=owner, now=clock.now())
    with django_assert_num_queries(2):
        assert [scope.right for scope in queries.scopes(actor=teammate)] == [Right.READ]
    with django_assert_num_queries(2):
        assert len(queries.scopes(actor=owner)) == 6
