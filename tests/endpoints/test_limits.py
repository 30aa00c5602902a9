"""A limit is bound to the principal that has the name when the limit is set, not to a later one of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serving_ui.accounts import directory
from serving_ui.accounts.models import EVERYONE, Group, User
from serving_ui.catalogue.endpoint_settings import AiGateway
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.spec import RateLimit
from serving_ui.endpoints import commands, limits
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.models import Endpoint
from serving_ui.gateway.snapshot import Limit
from serving_ui.lib import clock
from serving_ui.snapshots.builder import SnapshotBuilder

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def chat(make_endpoint: Callable[..., Endpoint]) -> Endpoint:
    return make_endpoint("chat")


def set_limits(actor: User, *limits: RateLimit) -> None:
    commands.edit_endpoint(
        name="chat", changes=EndpointChanges(rate_limits=limits), actor=actor, now=clock.now()
    )


def in_force() -> tuple[Limit, ...]:
    return SnapshotBuilder().build().endpoints["chat"].limits


def of_group(name: str, calls: int = 1) -> RateLimit:
    return RateLimit(key="user_group", principal=name, calls=calls)


def test_a_limit_does_not_apply_to_a_new_group_of_the_same_name(owner: User, admin: User):
    red = directory.create_group(name="red", actor=admin)
    set_limits(owner, of_group("Red"))
    commands.edit_endpoint(
        name="chat",
        changes=EndpointChanges(
            ai_gateway=AiGateway.parsed(
                {"rate_limits": [{"key": "user_group", "principal": "red", "calls": 2}]}
            )
        ),
        actor=owner,
        now=clock.now(),
    )
    builder = SnapshotBuilder()
    expected: tuple[Limit, ...] = (Limit("user_group", 1, principal=red.pk, shown="red"),)
    expected += (Limit("user_group", 2, principal=red.pk, shown="red"),)
    assert builder.build().endpoints["chat"].limits == expected
    directory.delete_group(group=red, actor=admin)
    again = directory.create_group(name="red", actor=admin)
    assert builder.build().endpoints["chat"].limits == in_force() == ()
    set_limits(owner, of_group("red"))  # the other group is not affected
    assert in_force() == (Limit("user_group", 1, principal=again.pk, shown="red"),)


def test_a_limit_does_not_apply_to_a_new_user_of_the_same_e_mail(owner: User, admin: User):
    ann = directory.create_person(email="ann@example.com", actor=admin)
    set_limits(owner, RateLimit(key="user", principal="ann@example.com", calls=1))
    assert [limit.principal for limit in in_force()] == [ann.pk]
    directory.delete_principal(user=ann, actor=admin)
    directory.create_person(email="ann@example.com", actor=admin)
    assert in_force() == ()


def test_a_renamed_group_stays_limited_and_its_old_name_is_accepted(owner: User, admin: User):
    red = directory.create_group(name="red", actor=admin)
    set_limits(owner, of_group("red"))
    builder = SnapshotBuilder()
    builder.build()
    directory.change_group(group=red, name="blue", actor=admin)
    renamed = (Limit("user_group", 1, principal=red.pk, shown="blue"),)
    assert builder.build().endpoints["chat"].limits == renamed
    set_limits(owner, of_group("red"))  # as the API shows it
    assert in_force() == renamed
    other = directory.create_group(name="red", actor=admin)
    assert in_force() == renamed
    set_limits(owner, of_group("red"))
    assert in_force() == (Limit("user_group", 1, principal=other.pk, shown="red"),)


def test_an_unknown_principal_is_refused(owner: User, admin: User):
    red = directory.create_group(name="red", actor=admin)
    set_limits(owner, of_group("red"))
    directory.delete_group(group=red, actor=admin)
    for limit in (of_group("red"), RateLimit(key="user", principal="no@example.com", calls=1)):
        with pytest.raises(SpecErrors) as refused:
            set_limits(owner, limit)
        assert [problem.path for problem in refused.value.problems] == [("rate_limits", 0, "principal")]


def test_a_built_in_group_can_be_limited_before_its_row_exists(owner: User):
    set_limits(owner, of_group(EVERYONE))
    assert [limit.principal for limit in in_force()] == [Group.built_in(EVERYONE).pk]


def test_the_principals_of_many_endpoints_need_two_queries(
    owner: User, admin: User, make_endpoint: Any, django_assert_num_queries: Any
):
    directory.create_group(name="red", actor=admin)
    set_limits(owner, of_group("red"), RateLimit(key="user", principal=owner.email, calls=1))
    rows = list(Endpoint.objects.all())
    with django_assert_num_queries(2):
        names = limits.names_of(pk for row in rows for pk in limits.principals(row))
    assert set(names.values()) == {"red", owner.email}
