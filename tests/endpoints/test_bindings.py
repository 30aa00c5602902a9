"""A secret reference is bound to a secret's id and to a user, whose right to read it is checked whenever it is resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from serving_ui.accounts import directory
from serving_ui.accounts.models import ADMINS, EVERYONE, Group, User
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.spec import EndpointSpec
from serving_ui.endpoints import bindings, commands, revocation
from serving_ui.endpoints.models import ConfigVersion, Endpoint, SecretBinding
from serving_ui.lib import clock
from serving_ui.revisions import changes, gateways
from serving_ui.snapshots.builder import SnapshotBuilder
from serving_ui.tasks import sweep
from serving_ui.vault import commands as vault_commands
from serving_ui.vault import queries as vault
from serving_ui.vault.models import Scope, ScopeGrant, StoredSecret
from serving_ui.vault.rights import Right
from tests.endpoints import secret_scenario
from tests.endpoints.conftest import settle
from tests.support.sandbox import SandboxServer

pytestmark = pytest.mark.django_db(transaction=True)
READY, NOT_READY = ("READY", "NOT_UPDATING"), ("NOT_READY", "NOT_UPDATING")


@pytest.fixture(autouse=True)
def prod(owner: User) -> None:
    secret_scenario.make_scope(owner)


@pytest.fixture
def reader(owner: User, teammate: User) -> User:
    """A user who may read the owner's scope."""
    secret_scenario.let_read(owner, teammate)
    return teammate


@pytest.fixture
def deploy(sandbox: SandboxServer) -> Callable[..., Endpoint]:
    def make(actor: User, name: str = "chat") -> Endpoint:
        config = secret_scenario.config(sandbox.base)
        spec = EndpointSpec(name=name, config=config)
        ready = settle(commands.create_endpoint(spec=spec, actor=actor, now=clock.now()))
        assert (ready.ready, ready.config_update) == READY
        return ready

    return make


@contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(SpecErrors) as found:
        yield
    assert [problem.code for problem in found.value.problems] == [code]


# The id of the secret


@pytest.mark.parametrize("gone", [secret_scenario.delete_scope, secret_scenario.delete_key])
def test_a_new_secret_with_the_name_of_a_deleted_one_is_not_used(
    owner: User, admin: User, deploy: Any, sandbox: SandboxServer, gone: Callable[[User], None]
):
    deploy(owner)
    builder = SnapshotBuilder()
    assert secret_scenario.sent_key(builder=builder) == "first"
    gone(owner)
    assert secret_scenario.sent_key(builder=builder) is None
    if not Scope.objects.exists():
        secret_scenario.make_scope(admin, value="another's")
    secret_scenario.rotate(admin, "another's")
    assert secret_scenario.sent_key(builder=builder) is None
    for word in (secret_scenario.REFERENCE, owner.email, "deleted"):
        assert word in secret_scenario.refusal()
    assert secret_scenario.state_after_revocations() == NOT_READY
    with refused("secret_right"):
        commands.retry_update(name="chat", number=1, actor=admin, now=clock.now())
    settle(secret_scenario.update(admin, secret_scenario.config(sandbox.base)))
    assert (secret_scenario.sent_key(), secret_scenario.state_after_revocations()) == ("another's", READY)


def test_a_rotated_value_is_used(owner: User, deploy: Any):
    deploy(owner)
    builder = SnapshotBuilder()
    builder.build()
    secret_scenario.rotate(owner, "second")
    assert secret_scenario.sent_key(builder=builder) == "second"
    assert secret_scenario.state_after_revocations() == READY


def test_a_reference_without_a_binding_is_not_resolved(owner: User, deploy: Any):
    deploy(owner)
    SecretBinding.objects.all().delete()
    assert secret_scenario.REFERENCE in secret_scenario.refusal()
    settle(commands.retry_update(name="chat", actor=owner, now=clock.now()))
    assert secret_scenario.sent_key() == "first"


# The right of the authoriser


def grant_user(owner: User, reader: User) -> tuple[Callable[[], object], Callable[[], object]]:
    secret_scenario.let_read(owner, reader)
    return lambda: secret_scenario.withdraw(owner, reader), lambda: secret_scenario.let_read(owner, reader)


def grant_member(owner: User, reader: User) -> tuple[Callable[[], object], Callable[[], object]]:
    root, group = User.objects.get(email="admin@example.com"), Group.objects.create(name="readers")
    secret_scenario.let_read(owner, group)

    def join() -> None:
        directory.change_members(group=group, add=[reader.pk], actor=root)

    join()
    return lambda: directory.change_members(group=group, remove=[reader.pk], actor=root), join


def grant_group(owner: User, reader: User) -> tuple[Callable[[], object], Callable[[], object]]:
    group = Group.objects.create(name="readers")
    group.memberships.create(user=reader)
    secret_scenario.let_read(owner, group)
    return lambda: secret_scenario.withdraw(owner, group), lambda: secret_scenario.let_read(owner, group)


def grant_deleted_group(owner: User, reader: User) -> tuple[Callable[[], object], Callable[[], object]]:
    root = User.objects.get(email="admin@example.com")
    group = directory.create_group(name="readers", member_ids=[reader.pk], actor=root)
    secret_scenario.let_read(owner, group)
    return lambda: directory.delete_group(group=group, actor=root), lambda: secret_scenario.let_read(
        owner, reader
    )


def grant_everyone(owner: User, reader: User) -> tuple[Callable[[], object], Callable[[], object]]:
    everyone = Group.built_in(EVERYONE)
    secret_scenario.let_read(owner, everyone)
    return lambda: secret_scenario.withdraw(owner, everyone), lambda: secret_scenario.let_read(
        owner, everyone
    )


def make_admin(owner: User, reader: User) -> tuple[Callable[[], object], Callable[[], object]]:
    root, admins = User.objects.get(email="admin@example.com"), Group.built_in(ADMINS)

    def promote() -> None:
        directory.change_members(group=admins, add=[reader.pk], actor=root)
        reader.refresh_from_db()

    promote()
    return lambda: directory.change_members(group=admins, remove=[reader.pk], actor=root), promote


WAYS = [grant_user, grant_member, grant_group, grant_deleted_group, grant_everyone, make_admin]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_revoked_right_ends_the_use_and_a_new_grant_restores_it(
    owner: User, teammate: User, admin: User, deploy: Any, way: Callable[..., Any]
):
    take, give = way(owner, teammate)
    deploy(teammate)
    builder = SnapshotBuilder()
    assert secret_scenario.sent_key(builder=builder) == "first"
    take()
    assert secret_scenario.sent_key(builder=builder) is None
    assert SnapshotBuilder().build() == builder.build()
    for word in (secret_scenario.REFERENCE, owner.email, teammate.email):
        assert word in secret_scenario.refusal()
    assert secret_scenario.state_after_revocations() == NOT_READY
    row = Endpoint.objects.get(name="chat")
    assert row.events.order_by("-pk")[0].sentence.endswith(secret_scenario.refusal())
    secret_scenario.rotate(owner, "second")
    assert secret_scenario.sent_key(builder=builder) is None
    give()
    assert secret_scenario.sent_key(builder=builder) == "second"
    assert secret_scenario.state_after_revocations() == READY
    assert secret_scenario.event_types()[:2] == ["ENDPOINT_RESTORED_EVENT", "ENDPOINT_REVOKED_EVENT"]


def test_the_right_of_many_bindings_is_the_same_as_for_one_person(
    owner: User, teammate: User, admin: User, deploy: Any
):
    """In every combination of grants, compared with the vault's check for one user."""
    deploy(owner)
    group = Group.objects.create(name="readers")
    binding = SecretBinding.objects.get()
    scope = Scope.objects.get()
    for number in range(2**6):
        has = [bool(number >> bit & 1) for bit in range(6)]
        is_admin, is_creator, in_person, in_group, is_member, everyone = has
        User.objects.filter(pk=teammate.pk).update(is_admin=is_admin)
        Scope.objects.update(creator=teammate if is_creator else owner)
        ScopeGrant.objects.all().delete()
        group.memberships.all().delete()
        for is_granted, to in (
            (in_person, {"user": teammate}),
            (in_group, {"group": group}),
            (everyone, {"group": Group.built_in(EVERYONE)}),
        ):
            if is_granted:
                ScopeGrant.objects.create(scope=scope, right=Right.READ, **to)
        if is_member:
            group.memberships.create(user=teammate)
        SecretBinding.objects.update(authoriser=teammate)
        person = User.objects.get(pk=teammate.pk)
        expected = vault.scopes(actor=person).exists()
        assert bindings.of_versions([binding.version_id])[0].may_read == expected, has
        assert bindings.unusable().exists() != expected, has


def test_a_submitter_without_the_right_is_refused(stranger: User, sandbox: SandboxServer):
    with refused("secret_scope"):
        spec = EndpointSpec(name="chat", config=secret_scenario.config(sandbox.base))
        commands.create_endpoint(spec=spec, actor=stranger, now=clock.now())
    assert not SecretBinding.objects.exists()


# Unchanged references


def test_an_unchanged_reference_keeps_its_authoriser(
    owner: User, reader: User, stranger: User, deploy: Any, sandbox: SandboxServer
):
    deploy(reader)
    secret_scenario.let_manage(reader, stranger)
    settle(secret_scenario.update(stranger, secret_scenario.config(sandbox.base, model="gpt-5")))
    assert secret_scenario.sent_key() == "first"
    assert {row.authoriser for row in SecretBinding.objects.all()} == {reader}
    secret_scenario.withdraw(owner, reader)
    assert secret_scenario.sent_key() is None
    with refused("secret_right"):
        secret_scenario.update(stranger, secret_scenario.config(sandbox.base, model="gpt-6"))
    with refused("secret_right"):
        commands.retry_update(name="chat", number=1, actor=stranger, now=clock.now())


def test_a_manager_who_may_read_the_secret_becomes_its_authoriser(
    owner: User, reader: User, deploy: Any, sandbox: SandboxServer
):
    deploy(reader)
    secret_scenario.let_manage(reader, owner)
    settle(secret_scenario.update(owner, secret_scenario.config(sandbox.base, model="gpt-5")))
    secret_scenario.withdraw(owner, reader)
    assert secret_scenario.sent_key() == "first"
    settle(commands.retry_update(name="chat", number=1, actor=owner, now=clock.now()))
    assert secret_scenario.sent_key() == "first"


def test_an_unchanged_reference_keeps_its_secret(
    owner: User, reader: User, stranger: User, deploy: Any, sandbox: SandboxServer
):
    deploy(reader)
    secret_scenario.let_manage(reader, stranger)
    secret_scenario.delete_key(owner)
    secret_scenario.rotate(owner, "another")
    with refused("secret_right"):
        secret_scenario.update(stranger, secret_scenario.config(sandbox.base, model="gpt-5"))
    with refused("secret_right"):
        commands.retry_update(name="chat", number=1, actor=reader, now=clock.now())
    assert secret_scenario.sent_key() is None


# During an update


def test_an_update_fails_if_its_submitter_loses_the_right(
    owner: User, reader: User, deploy: Any, sandbox: SandboxServer
):
    deploy(owner)
    secret_scenario.let_manage(owner, reader)
    sandbox.set_faults(on="models", status=503)
    settle(secret_scenario.update(reader, secret_scenario.config(sandbox.base, model="gpt-5")))
    secret_scenario.withdraw(owner, reader)
    assert secret_scenario.state_after_revocations() == ("READY", "UPDATE_FAILED")
    version = ConfigVersion.objects.get(number=2)
    for word in (secret_scenario.REFERENCE, owner.email, reader.email):
        assert word in version.message
    assert secret_scenario.sent_key() == "first"


def test_the_worker_fails_an_update_whose_submitter_lost_the_right(
    owner: User, reader: User, deploy: Any, sandbox: SandboxServer
):
    deploy(owner)
    secret_scenario.let_manage(owner, reader)
    updating = secret_scenario.update(reader, secret_scenario.config(sandbox.base, model="gpt-5"))
    secret_scenario.withdraw(owner, reader)
    assert settle(updating).config_update == "UPDATE_FAILED"
    assert [each["key"] for each in sandbox.requests("models")] == ["first"]


def test_an_update_fails_if_the_right_is_revoked_after_publication(
    owner: User, reader: User, deploy: Any, sandbox: SandboxServer
):
    deploy(owner)
    secret_scenario.let_manage(owner, reader)
    gateways.acknowledge(process="slow", revision=1)
    updating = settle(secret_scenario.update(reader, secret_scenario.config(sandbox.base, model="gpt-5")))
    assert updating.config_update == "IN_PROGRESS"
    secret_scenario.withdraw(owner, reader)
    gateways.acknowledge(process="slow", revision=changes.current_revision())
    assert settle(updating).config_update == "UPDATE_FAILED"
    assert secret_scenario.state_after_revocations() == ("READY", "UPDATE_FAILED")


def test_an_update_to_another_secret_makes_a_revoked_endpoint_ready(
    owner: User, reader: User, deploy: Any, sandbox: SandboxServer
):
    deploy(reader)
    secret_scenario.withdraw(owner, reader)
    assert secret_scenario.state_after_revocations() == NOT_READY
    spec = secret_scenario.config(sandbox.base, reference="{{secrets/own/key}}")
    vault_commands.create_scope(name="own", actor=reader, now=clock.now())
    vault_commands.put_secret(scope="own", key="key", value="own", actor=reader, now=clock.now())
    sandbox.set_faults(on="models", status=401)
    updating = secret_scenario.update(reader, spec)
    assert secret_scenario.state_after_revocations() == ("NOT_READY", "IN_PROGRESS")
    settle(updating)
    assert secret_scenario.state_after_revocations() == ("NOT_READY", "UPDATE_FAILED")
    sandbox.reset()
    settle(secret_scenario.update(reader, spec))
    assert (secret_scenario.sent_key(), secret_scenario.state_after_revocations()) == ("own", READY)


# How changed rights are applied to rows


def test_a_sweep_applies_missed_changes_once(owner: User, reader: User, deploy: Any):
    deploy(reader)
    look = revocation.SecretRightsCheck()
    look.run(now=clock.now())
    ScopeGrant.objects.all()._raw_delete(using="default")  # without a revision
    look.run(now=clock.now())
    assert Endpoint.objects.get().ready == "READY"
    revocation.SecretRightsCheck().run(now=clock.now())  # as in another worker, or after a restart
    assert Endpoint.objects.get().ready == "NOT_READY"
    generation = Endpoint.objects.get().generation
    for _again in range(2):
        assert revocation.apply_secret_rights(now=clock.now())
    assert Endpoint.objects.get().generation == generation
    assert secret_scenario.event_types().count("ENDPOINT_REVOKED_EVENT") == 1


def test_the_next_sweep_applies_a_change(owner: User, reader: User, deploy: Any):
    deploy(reader)
    sweep()
    secret_scenario.withdraw(owner, reader)
    sweep()
    assert Endpoint.objects.get().ready == "NOT_READY"
    secret_scenario.let_read(owner, reader)
    sweep()
    assert Endpoint.objects.get().ready == "READY"


def test_a_sweep_needs_a_constant_number_of_queries(
    owner: User, reader: User, admin: User, deploy: Any, django_assert_num_queries: Any
):
    group = Group.objects.create(name="readers")
    for number in range(3):
        deploy(reader, f"a{number}")
        deploy(owner, f"b{number}")
    revocation.apply_secret_rights(now=clock.now())
    with django_assert_num_queries(3):
        assert revocation.apply_secret_rights(now=clock.now())
    builder = SnapshotBuilder()
    builder.build()
    secret_scenario.withdraw(owner, reader)
    with django_assert_num_queries(5):  # revision, changes, endpoints, their grants, bindings
        found = builder.build()
    assert {name for name, each in found.endpoints.items() if not each.ready} == {"a0", "a1", "a2"}
    secret_scenario.let_read(owner, group)
    builder.build()
    directory.change_members(group=group, add=[reader.pk], actor=admin)
    with CaptureQueriesContext(connection) as few:
        assert all(each.ready for each in builder.build().endpoints.values())
    for number in range(3):
        deploy(reader, f"c{number}")
    builder.build()
    directory.change_members(group=group, remove=[reader.pk], actor=admin)
    with django_assert_num_queries(len(few)):
        found = builder.build()
    assert sum(not each.ready for each in found.endpoints.values()) == 6


def test_deleting_an_endpoint_deletes_its_bindings(owner: User, reader: User, admin: User, deploy: Any):
    deploy(reader)
    directory.change_principal(user=reader, active=False, actor=admin)
    assert StoredSecret.objects.filter(scope=None).count() == 1
    commands.delete_endpoint(name="chat", actor=admin, now=clock.now())
    assert not SecretBinding.objects.exists()
    assert not StoredSecret.objects.filter(scope=None).exists()
