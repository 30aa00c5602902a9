"""Grants to users and groups never exceed the grantor's level, and gateways apply them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TransactionTestCase

from serving_ui.accounts import directory
from serving_ui.accounts.models import EVERYONE, Group, Membership, User
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.endpoints import commands, queries
from serving_ui.endpoints.granting import LevelChange, grant, set_permissions
from serving_ui.endpoints.models import Endpoint, Grant
from serving_ui.endpoints.permissions import Action, Level
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal
from serving_ui.snapshots.builder import SnapshotBuilder
from tests.conftest import spec

Make = Callable[..., Endpoint]


def grant_level(to: str, level: Level, actor: User) -> None:
    grant(name="chat", to=to, level=level, actor=actor, now=clock.now())


def may_query() -> frozenset[str]:
    return SnapshotBuilder().build().endpoints["chat"].users


@pytest.mark.django_db(transaction=True)
def test_members_of_a_granted_group_may_query(make_endpoint: Make, owner: User, teammate: User, admin: User):
    make_endpoint()
    group = directory.create_group(name="Analysts", actor=admin)
    grant_level("analysts", Level.CAN_QUERY, owner)
    assert may_query() == {owner.pk}
    directory.change_members(group=group, add=[teammate.pk], actor=admin)
    assert may_query() == {owner.pk, teammate.pk}
    assert queries.list_endpoints(actor=teammate).total == 1
    assert queries.get_endpoint(name="chat", actor=teammate, action=Action.QUERY).level == Level.CAN_QUERY
    directory.change_members(group=group, remove=[teammate.pk], actor=admin)
    assert may_query() == {owner.pk}
    assert queries.list_endpoints(actor=teammate).total == 0


@pytest.mark.django_db(transaction=True)
def test_a_grant_to_all_users_lets_everyone_query(make_endpoint: Make, owner: User, stranger: User):
    make_endpoint()
    grant_level(EVERYONE, Level.CAN_QUERY, owner)
    assert SnapshotBuilder().build().endpoints["chat"].everyone
    assert queries.get_endpoint(name="chat", actor=stranger).level == Level.CAN_QUERY
    grant_level(EVERYONE, Level.NONE, owner)
    assert not SnapshotBuilder().build().endpoints["chat"].everyone


@pytest.mark.django_db(transaction=True)
def test_the_gateway_distinguishes_viewers_from_strangers(
    make_endpoint: Make, owner: User, teammate: User, stranger: User
):
    def sees() -> set[str]:
        built = SnapshotBuilder().build()
        endpoint = built.endpoints["chat"]
        assert not any(endpoint.may_query(built.principals[who.pk]) for who in (teammate, stranger))
        return {pk for pk, principal in built.principals.items() if endpoint.may_see(principal)}

    make_endpoint()
    assert sees() == {owner.pk}
    grant_level(teammate.email, Level.CAN_VIEW, owner)
    assert sees() == {owner.pk, teammate.pk}
    grant_level(EVERYONE, Level.CAN_VIEW, owner)
    assert sees() == {owner.pk, teammate.pk, stranger.pk}


@pytest.mark.django_db(transaction=True)
def test_the_highest_of_several_levels_counts(make_endpoint: Make, owner: User, teammate: User):
    make_endpoint()
    grant_level(EVERYONE, Level.CAN_MANAGE, owner)
    grant_level(teammate.email, Level.CAN_VIEW, owner)
    assert queries.get_endpoint(name="chat", actor=teammate).level == Level.CAN_MANAGE


@pytest.mark.django_db(transaction=True)
def test_a_change_of_members_is_published_to_gateways(make_endpoint: Make, owner: User, admin: User):
    from serving_ui.revisions.changes import current_revision

    make_endpoint()
    group = directory.create_group(name="Analysts", actor=admin)
    changes = (
        lambda: directory.change_members(group=group, add=[owner.pk], actor=admin),
        lambda: directory.change_members(group=group, remove=[owner.pk], actor=admin),
        lambda: directory.delete_group(group=group, actor=admin),
    )
    for change in changes:
        before = current_revision()
        change()
        assert current_revision() > before


@pytest.mark.django_db(transaction=True)
def test_levels_of_many_endpoints_need_a_constant_number_of_queries(
    make_endpoint: Make, owner: User, teammate: User, django_assert_num_queries
):
    make_endpoint()
    grant_level(EVERYONE, Level.CAN_VIEW, owner)
    with django_assert_num_queries(2):
        queries.list_endpoints(actor=teammate)
    with django_assert_num_queries(2):
        queries.get_endpoint(name="chat", actor=teammate)


class GrantsNeverExceedTheGrantor(TransactionTestCase):
    """After any sequence of attempts nobody has more than a manager granted, and only managers have changed anything."""

    attempts = st.tuples(
        st.integers(0, 3),
        st.integers(0, 5),
        st.sampled_from(Level),
        st.sampled_from(["grant", "put", "patch"]),
    )

    def setUp(self) -> None:
        self.people = [User.objects.create(email=f"p{number}@example.com") for number in range(4)]
        self.group = Group.objects.create(name="Analysts")
        Membership.objects.create(group=self.group, user=self.people[2])
        self.principals: list[User | Group] = [*self.people, self.group, Group.built_in(EVERYONE)]
        self.endpoint = commands.create_endpoint(spec=spec(), actor=self.people[0], now=clock.now())

    def levels(self) -> list[Level]:
        return [queries.level_of(endpoint=self.endpoint, actor=person) for person in self.people]

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(attempts, max_size=6))
    def test_no_grant_exceeds_its_grantor(self, attempts: list[tuple[int, int, Level, str]]) -> None:
        Grant.objects.all().delete()
        for who, whom, level, how in attempts:
            actor, to = self.people[who], self.principals[whom]
            before = self.levels()
            rows = sorted(Grant.objects.values_list("user", "group", "level"), key=str)
            try:
                self.attempt(actor, to, level, how)
            except (Refusal, SpecErrors):
                assert sorted(Grant.objects.values_list("user", "group", "level"), key=str) == rows
                continue
            assert before[who] == Level.CAN_MANAGE
            assert all(now <= max(then, before[who]) for then, now in zip(before, self.levels(), strict=True))
            assert self.levels()[0] == Level.CAN_MANAGE

    def attempt(self, actor: User, to: User | Group, level: Level, how: str) -> None:
        if how == "grant":
            grant_level(str(to), level, actor)
        else:
            set_permissions(
                endpoint_id=self.endpoint.pk,
                changes=[LevelChange(to, level)],
                replace=how == "put",
                actor=actor,
                now=clock.now(),
            )
