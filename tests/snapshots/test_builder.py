"""An incrementally built snapshot equals a completely built one after any changes, and only changed endpoints are rebuilt."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TransactionTestCase

from serving_ui.accounts import commands as accounts
from serving_ui.accounts import directory
from serving_ui.accounts.models import EVERYONE, AccessToken, Group, User
from serving_ui.catalogue.spec import EndpointSpec, RateLimit, parse_endpoint
from serving_ui.endpoints import bindings, commands
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.lifecycle import Trigger
from serving_ui.endpoints.models import Endpoint, SecretBinding
from serving_ui.endpoints.permissions import Level
from serving_ui.endpoints.revocation import apply_secret_rights
from serving_ui.endpoints.transitions import drop, succeed
from serving_ui.lib import clock
from serving_ui.lib.refusal import Conflict, NotFound, Refusal
from serving_ui.revisions import changes
from serving_ui.revisions.changes import Subject
from serving_ui.revisions.models import Change
from serving_ui.snapshots.builder import SnapshotBuilder
from serving_ui.vault import commands as vault
from serving_ui.vault.commands import Grantee
from serving_ui.vault.models import Scope, StoredSecret
from serving_ui.vault.rights import Right
from tests.conftest import openai_body

NAMES = ("one", "two", "three")
KEYS = ("first", "second")
GROUPS = ("red", "blue")
PEOPLE = ("ann@example.com", "bob@example.com", "cid@example.com")
Step = Callable[["World", int, int], object]


class World:
    """The changes that the state machine makes, by one admin: to three users, two groups, a scope with two keys and three endpoints."""

    def __init__(self) -> None:
        self.admin = User.objects.create(email="admin@example.com", is_admin=True)
        for email in PEOPLE:
            User.objects.create(email=email)
        for name in GROUPS:
            directory.create_group(name=name, actor=self.admin)
        self.put_secret(0, 1)

    def person(self, which: int) -> User:
        return User.objects.get_or_create(email=PEOPLE[which])[0]

    def group(self, which: int) -> Group:
        return Group.objects.get_or_create(name=GROUPS[which % 2])[0]

    def endpoint(self, which: int) -> Endpoint | None:
        return Endpoint.objects.filter(name=NAMES[which]).select_related("pending", "active").first()

    def create(self, which: int, how: int) -> None:
        if self.endpoint(which) is None:
            reference = self.put_secret(0, how) if how else None
            commands.create_endpoint(spec=spec(NAMES[which], reference), actor=self.admin, now=clock.now())

    def publish(self, which: int, how: int) -> None:
        """Publish the pending config as the worker does after the credential check; with `how` 1 activate it, with 2 fail it."""
        endpoint = self.endpoint(which)
        if endpoint is None or endpoint.pending is None:
            return
        endpoint.pending.published_revision = changes.bump_revision(Subject.ENDPOINT, endpoint.pk)
        endpoint.pending.save()
        if how == 1:
            succeed(endpoint, endpoint.pending, now=clock.now())
        if how == 2:
            drop(endpoint, Trigger.FAIL, now=clock.now())

    def update(self, which: int, how: int) -> None:
        endpoint = self.endpoint(which)
        if endpoint is not None and endpoint.pending is None:
            config = spec(NAMES[which], self.put_secret(0, how) if how else None).config
            commands.edit_endpoint(
                name=NAMES[which], changes=EndpointChanges(config=config), actor=self.admin, now=clock.now()
            )

    def delete(self, which: int, _how: int) -> None:
        if self.endpoint(which):
            commands.delete_endpoint(name=NAMES[which], actor=self.admin, now=clock.now())

    def limit(self, which: int, how: int) -> None:
        limits = (
            [RateLimit(calls=which)],
            [RateLimit(calls=1, key="user_group", principal=self.group(which).name)],
            [RateLimit(tokens=2, key="user", principal=self.person(which).email)],
        )
        if self.endpoint(which):
            commands.edit_endpoint(
                name=NAMES[which],
                changes=EndpointChanges(rate_limits=limits[how]),
                actor=self.admin,
                now=clock.now(),
            )

    def grant(self, which: int, how: int) -> None:
        for to in (self.person(how).email, self.group(how).name, EVERYONE):
            if self.endpoint(which):
                level = (Level.CAN_QUERY, Level.CAN_VIEW, Level.NONE)[(which + how) % 3]
                grant(name=NAMES[which], to=to, level=level, actor=self.admin, now=clock.now())

    def join(self, which: int, how: int) -> None:
        directory.change_members(group=self.group(how), add=[self.person(which).pk], actor=self.admin)

    def leave(self, which: int, how: int) -> None:
        directory.change_members(group=self.group(how), remove=[self.person(which).pk], actor=self.admin)

    def rename(self, which: int, how: int) -> None:
        """Rename a group. Two groups can swap names through a third name."""
        taken = set(Group.objects.values_list("name", flat=True))
        name = ("red", "blue", "green")[how]
        if name not in taken:
            directory.change_group(group=self.group(which), name=name, actor=self.admin)

    def delete_group(self, which: int, _how: int) -> None:
        directory.delete_group(group=self.group(which), actor=self.admin)

    def activate(self, which: int, how: int) -> None:
        directory.change_principal(user=self.person(which), active=how == 1, actor=self.admin)

    def promote(self, which: int, how: int) -> None:
        accounts.ensure_user(email=self.person(which).email, admin=how == 1)

    def remove(self, which: int, _how: int) -> None:
        with suppress(Conflict):  # is the authoriser of a secret
            directory.delete_principal(user=self.person(which), actor=self.admin)

    def make_token(self, which: int, _how: int) -> None:
        with suppress(Refusal):  # is deactivated
            accounts.create_access_token(user=self.person(which), now=clock.now())

    def revoke_token(self, which: int, _how: int) -> None:
        if token := AccessToken.objects.filter(user=self.person(which)).first():
            accounts.revoke_access_token(user=token.user, token_id=token.pk, actor=token.user)

    def put_secret(self, which: int, how: int) -> str:
        now, key = clock.now(), KEYS[how % 2]
        if not Scope.objects.exists():
            vault.create_scope(name="prod", actor=self.admin, now=now)
        vault.put_secret(scope="prod", key=key, value=f"value {which}", actor=self.admin, now=now)
        return "{{secrets/prod/" + key + "}}"

    def authorise(self, which: int, how: int) -> None:
        """Make another user the authoriser of the endpoint's secrets, as a takeover does."""
        if endpoint := self.endpoint(which):
            SecretBinding.objects.filter(version__endpoint=endpoint).update(authoriser=self.person(how))
            bindings.freeze_or_release_values(user=self.person(how))
            changes.bump_revision(Subject.ENDPOINT, endpoint.pk)

    def share(self, which: int, how: int) -> None:
        if Scope.objects.exists():
            vault.grant(
                scope="prod", to=self.grantee(which, how), right=Right.READ, actor=self.admin, now=clock.now()
            )

    def unshare(self, which: int, how: int) -> None:
        if Scope.objects.exists():
            with suppress(NotFound):
                vault.withdraw(
                    scope="prod", grantee=self.grantee(which, how), actor=self.admin, now=clock.now()
                )

    def grantee(self, which: int, how: int) -> Grantee:
        """A group with `how` 0, everyone with 1, a user with 2."""
        if how == 2:
            return Grantee("", user_id=self.person(which).pk)
        group = self.group(which) if how == 0 else Group.built_in(EVERYONE)
        return Grantee("", group_id=group.pk)

    def delete_secret(self, _which: int, how: int) -> None:
        if StoredSecret.objects.filter(scope__name="prod", key=KEYS[how % 2]).exists():
            vault.delete_secret(scope="prod", key=KEYS[how % 2], actor=self.admin, now=clock.now())

    def delete_scope(self, _which: int, _how: int) -> None:
        if Scope.objects.exists():
            vault.delete_scope(name="prod", actor=self.admin, now=clock.now())


STEPS: tuple[Step, ...] = (
    *[World.create, World.publish, World.publish, World.update, World.delete, World.limit, World.grant],
    *[World.join, World.leave, World.rename, World.delete_group, World.activate, World.promote, World.remove],
    *[World.make_token, World.revoke_token, World.put_secret, World.delete_secret, World.delete_scope],
    *[World.authorise, World.authorise, World.share, World.share, World.unshare, World.unshare],
)


def spec(name: str, reference: str | None = None) -> EndpointSpec:
    body = openai_body(name)
    if reference:
        config = body["config"]["served_entities"][0]["external_model"]["openai_config"]
        config.pop("openai_api_key_plaintext")
        config["openai_api_key"] = reference
    return parse_endpoint(body)


class IncrementalBuilds(TransactionTestCase):
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2), st.integers(0, 2)), max_size=4),
            min_size=4,
            max_size=10,
        )
    )
    def test_an_incremental_snapshot_equals_a_complete_one(
        self, rounds: list[list[tuple[Step, int, int]]]
    ) -> None:
        world = World()
        for which in range(3):
            world.create(which, which)
            world.publish(which, 1)
            world.grant(which, which)
            world.authorise(which, 0)
        world.share(0, 0)
        world.join(0, 0)
        follower = SnapshotBuilder()
        follower.build()
        for steps in rounds:
            for step, which, how in steps:
                step(world, which, how)
            whole = SnapshotBuilder().build()
            assert follower.build() == whole, steps
            assert apply_secret_rights(now=clock.now())
            ready_by_name = dict(Endpoint.objects.filter(active__isnull=False).values_list("name", "ready"))
            published = set(
                Endpoint.objects.filter(pending__published_revision__isnull=False).values_list(
                    "name", flat=True
                )
            )
            assert {name: whole.endpoints[name].ready for name in ready_by_name.keys() - published} == {
                name: ready == "READY" for name, ready in ready_by_name.items() if name not in published
            }, steps


@pytest.mark.django_db(transaction=True)
def test_only_changed_endpoints_are_rebuilt(
    make_endpoint: Callable[..., Endpoint], owner: User, django_assert_max_num_queries: Callable[..., object]
):
    for number in range(30):
        make_endpoint(f"e{number}")
    builder = SnapshotBuilder()
    before = builder.build()
    commands.edit_endpoint(
        name="e7", changes=EndpointChanges(rate_limits=[RateLimit(calls=3)]), actor=owner, now=clock.now()
    )
    with django_assert_max_num_queries(5):  # type: ignore[attr-defined]
        after = builder.build()
    assert {name for name in after.endpoints if after.endpoints[name] is not before.endpoints[name]} == {"e7"}
    with django_assert_max_num_queries(1):  # type: ignore[attr-defined]
        assert builder.build() is after


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_that_is_too_old_is_rebuilt_completely(
    make_endpoint: Callable[..., Endpoint], owner: User
):
    make_endpoint()
    builder = SnapshotBuilder()
    builder.build()
    commands.delete_endpoint(name="chat", actor=owner, now=clock.now())
    make_endpoint("other")
    Change.objects.filter(pk=Change.objects.order_by("pk").last().pk - 1).delete()  # type: ignore[union-attr]
    assert set(builder.build().endpoints) == {"other"}
