"""Groups, service principals and admins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from serving_ui.accounts import commands, directory, queries
from serving_ui.accounts.models import ADMINS, EVERYONE, Group, User
from serving_ui.lib.refusal import AlreadyExists, Conflict, NotAllowed, Refusal


def names(groups: list[Group]) -> list[str]:
    return [group.name for group in groups]


def test_built_in_groups_contain_all_users_and_all_admins(owner: User, admin: User):
    found = queries.groups_of(users=[owner, admin])
    assert names(found[owner.pk]) == [EVERYONE]
    assert names(found[admin.pk]) == [ADMINS, EVERYONE]
    assert {Group.built_in(EVERYONE).pk} == set(owner.group_ids())
    here = queries.members(groups=queries.groups())
    assert here[Group.built_in(ADMINS).pk] == [admin]
    assert set(here[Group.built_in(EVERYONE).pk]) == {owner, admin}


def test_a_name_is_resolved_to_a_user_a_service_principal_or_a_group(owner: User, admin: User):
    program = directory.create_service_principal(name="Deploys", actor=admin)
    group = directory.create_group(name="Analysts", actor=admin)
    assert queries.find_principal(name="OWNER@example.com") == owner
    assert queries.find_principal(name=program.email.upper()) == program
    assert queries.find_principal(name=" analysts ") == group
    assert queries.find_principal(name="Users") == Group.built_in(EVERYONE)
    assert queries.find_principal(name="nobody") is None
    assert queries.find_user(name=program.email, kind=User.Kind.PERSON) is None


def test_a_service_principal_cannot_be_signed_in(admin: User):
    program = directory.create_service_principal(actor=admin)
    with pytest.raises(Refusal):
        commands.ensure_user(email=program.email)


def test_only_admins_can_change_the_directory(owner: User, teammate: User):
    group = Group.objects.create(name="Analysts")
    changes = (
        lambda: directory.create_person(email="a@example.com", actor=owner),
        lambda: directory.create_service_principal(actor=owner),
        lambda: directory.change_principal(user=owner, name="Me", actor=owner),
        lambda: directory.delete_principal(user=teammate, actor=owner),
        lambda: directory.create_group(name="Mine", actor=owner),
        lambda: directory.change_group(group=group, name="Mine", actor=owner),
        lambda: directory.change_members(group=group, add=[owner.pk], actor=owner),
        lambda: directory.delete_group(group=group, actor=owner),
    )
    for change in changes:
        with pytest.raises(NotAllowed):
            change()


@pytest.mark.django_db(transaction=True)
def test_two_admins_cannot_remove_each_other_concurrently():
    first, second = (commands.ensure_user(email=f"{n}@example.com", admin=True) for n in ("a", "b"))

    def remove(pair: tuple[User, User]) -> bool:
        actor, other = pair
        try:
            directory.change_principal(user=other, active=False, actor=actor)
        except Conflict:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(remove, [(first, second), (second, first)])) == 1


@pytest.mark.django_db(transaction=True)
def test_exactly_one_of_several_concurrent_creates_of_a_group_succeeds():
    admin = commands.ensure_user(email="a@example.com", admin=True)

    def create(_: int) -> bool:
        try:
            directory.create_group(name="Analysts", actor=admin)
        except AlreadyExists:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(create, range(4))) == 1


def test_the_name_of_a_built_in_group_is_reserved_before_its_row_exists(admin: User):
    mine = directory.create_group(name="Mine", actor=admin)
    for name in (EVERYONE, "Users", "ADMINS"):
        with pytest.raises(AlreadyExists):
            directory.create_group(name=name, actor=admin)
        with pytest.raises(AlreadyExists):
            directory.change_group(group=mine, name=name, actor=admin)
    assert set(names(list(queries.groups()))) == {ADMINS, "Mine", EVERYONE}
