"""After the deactivation of its submitter an endpoint keeps serving with the old secret value until somebody takes it over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serving_ui.accounts import directory
from serving_ui.accounts.models import User
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.endpoints import commands, queries, takeover
from serving_ui.endpoints.models import Endpoint, SecretBinding
from serving_ui.lib import clock
from serving_ui.lib.refusal import Conflict, NotAllowed
from serving_ui.snapshots.builder import SnapshotBuilder
from serving_ui.vault.models import StoredSecret
from tests.endpoints import secret_scenario
from tests.endpoints.conftest import settle
from tests.endpoints.test_bindings import NOT_READY, READY, deploy, prod, reader
from tests.support.sandbox import SandboxServer

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["deploy", "prod", "reader"]  # fixtures
Deploy = Callable[..., Endpoint]


def set_active(user: User, active: bool) -> None:
    root, _new = User.objects.get_or_create(email="root@example.com", defaults={"is_admin": True})
    directory.change_principal(user=user, active=active, actor=root)


def take_over(actor: User) -> Endpoint:
    return takeover.take_over(name="chat", actor=actor, now=clock.now())


def problem_flags(actor: User) -> list[tuple[bool, bool]]:
    """(whether the endpoint answers, whether the user may take it over) for each secret with a problem."""
    endpoint = queries.get_endpoint(name="chat", actor=actor)
    return [
        (each.is_served, each.may_take_over)
        for each in takeover.secret_problems(endpoint=endpoint, actor=actor)
    ]


def test_after_deactivation_the_served_value_stays_and_rotations_are_ignored(
    owner: User, reader: User, deploy: Deploy
):
    deploy(reader)
    builder = SnapshotBuilder()
    set_active(reader, False)
    assert secret_scenario.sent_key(builder=builder) == "first"
    secret_scenario.rotate(owner, "second")
    assert (secret_scenario.sent_key(builder=builder), secret_scenario.sent_key()) == ("first", "first")
    assert secret_scenario.state_after_revocations() == READY
    assert [row.version.endpoint.name for row in takeover.pending_takeovers(actor=owner)] == []
    secret_scenario.let_manage(reader, owner)
    assert [str(row) for row in takeover.pending_takeovers(actor=owner)] == [secret_scenario.REFERENCE]
    assert problem_flags(owner) == [(True, True)]


def test_after_reactivation_rotations_are_followed_again(owner: User, reader: User, deploy: Deploy):
    deploy(reader)
    set_active(reader, False)
    secret_scenario.rotate(owner, "second")
    set_active(reader, True)
    assert secret_scenario.sent_key() == "second"
    assert not StoredSecret.objects.filter(scope=None).exists()
    assert not takeover.pending_takeovers(actor=User.objects.get(email="root@example.com"))


@pytest.mark.parametrize("end", [secret_scenario.delete_key, secret_scenario.delete_scope])
def test_the_held_value_is_dropped_with_the_secret(
    owner: User, reader: User, deploy: Deploy, end: Callable[[User], None]
):
    deploy(reader)
    set_active(reader, False)
    end(owner)
    assert (secret_scenario.sent_key(), secret_scenario.state_after_revocations()) == (None, NOT_READY)
    secret_scenario.let_manage(reader, owner)
    assert problem_flags(owner) == [(False, False)]


def test_the_held_value_is_dropped_with_the_right(owner: User, reader: User, deploy: Deploy):
    deploy(reader)
    set_active(reader, False)
    secret_scenario.withdraw(owner, reader)
    assert (secret_scenario.sent_key(), secret_scenario.state_after_revocations()) == (None, NOT_READY)
    secret_scenario.let_read(owner, reader)
    assert (secret_scenario.sent_key(), secret_scenario.state_after_revocations()) == ("first", READY)


def test_after_a_takeover_rotations_are_followed(owner: User, reader: User, deploy: Deploy):
    deploy(reader)
    secret_scenario.let_manage(reader, owner)
    set_active(reader, False)
    secret_scenario.rotate(owner, "second")
    builder = SnapshotBuilder()
    builder.build()
    after = take_over(owner)
    assert secret_scenario.sent_key(builder=builder) == "second"
    assert after.versions.count() == 1
    assert secret_scenario.event_types()[0] == "ENDPOINT_TAKEN_OVER_EVENT"
    assert secret_scenario.REFERENCE in after.events.order_by("-pk")[0].sentence
    assert not StoredSecret.objects.filter(scope=None).exists()
    secret_scenario.withdraw(owner, reader)
    set_active(reader, True)
    assert (secret_scenario.sent_key(), secret_scenario.state_after_revocations(), problem_flags(owner)) == (
        "second",
        READY,
        [],
    )


def test_a_revoked_endpoint_can_be_taken_over_too(owner: User, reader: User, deploy: Deploy):
    deploy(reader)
    secret_scenario.let_manage(reader, owner)
    secret_scenario.withdraw(owner, reader)
    assert secret_scenario.state_after_revocations() == NOT_READY
    assert problem_flags(owner) == [(False, True)]
    after = take_over(owner)
    assert (after.ready, secret_scenario.sent_key()) == ("READY", "first")
    assert secret_scenario.event_types()[:2] == ["ENDPOINT_RESTORED_EVENT", "ENDPOINT_TAKEN_OVER_EVENT"]


def test_a_takeover_needs_the_rights_to_manage_and_to_read(
    owner: User, reader: User, stranger: User, deploy: Deploy
):
    deploy(reader)
    set_active(reader, False)
    with pytest.raises(Exception, match="no endpoint named"):
        take_over(owner)  # may read the secret, but cannot see the endpoint
    secret_scenario.let_manage(reader, stranger)
    assert problem_flags(stranger) == [(True, False)]
    with pytest.raises(NotAllowed, match=owner.email):
        take_over(stranger)
    assert SecretBinding.objects.get().authoriser == reader


def test_a_new_secret_of_the_same_name_cannot_be_taken_over(owner: User, reader: User, deploy: Deploy):
    deploy(reader)
    secret_scenario.let_manage(reader, owner)
    secret_scenario.delete_key(owner)
    secret_scenario.rotate(owner, "another")
    with pytest.raises(NotAllowed):
        take_over(owner)
    assert secret_scenario.sent_key() is None


def test_a_takeover_of_a_working_endpoint_changes_nothing(owner: User, deploy: Deploy):
    before = deploy(owner)
    assert take_over(owner).generation == Endpoint.objects.get(pk=before.pk).generation == before.generation


def test_an_update_by_a_manager_without_read_right_keeps_the_held_value(
    owner: User, reader: User, stranger: User, deploy: Deploy, sandbox: SandboxServer
):
    deploy(reader)
    secret_scenario.let_manage(reader, stranger)
    set_active(reader, False)
    secret_scenario.rotate(owner, "second")
    settle(secret_scenario.update(stranger, secret_scenario.config(sandbox.base, model="gpt-5")))
    assert (secret_scenario.sent_key(), sandbox.requests("models")[-1]["key"]) == ("first", "first")
    set_active(reader, True)
    assert secret_scenario.sent_key() == "second"
    assert not StoredSecret.objects.filter(scope=None).exists()


def test_a_version_not_served_at_deactivation_cannot_be_restored(
    owner: User, reader: User, stranger: User, deploy: Deploy, sandbox: SandboxServer
):
    """No value was held for that version, and the present one must not be sent on the right of a deactivated user."""
    deploy(reader)
    secret_scenario.let_manage(reader, stranger)
    sandbox.set_faults(on="models", status=401)
    other = sandbox.base.replace("127.0.0.1", "localhost")
    assert (
        settle(secret_scenario.update(reader, secret_scenario.config(other))).config_update == "UPDATE_FAILED"
    )
    set_active(reader, False)
    sandbox.reset()
    with pytest.raises(SpecErrors):
        commands.retry_update(name="chat", number=2, actor=stranger, now=clock.now())


def test_a_running_update_continues_after_deactivation(
    owner: User, reader: User, sandbox: SandboxServer, deploy: Deploy
):
    deploy(reader)
    updating = secret_scenario.update(reader, secret_scenario.config(sandbox.base, model="gpt-5"))
    set_active(reader, False)
    secret_scenario.rotate(owner, "second")
    assert secret_scenario.state_after_revocations() == ("READY", "IN_PROGRESS")
    ready = settle(updating)
    assert (ready.config_update, secret_scenario.sent_key()) == ("NOT_UPDATING", "first")


def test_an_authoriser_cannot_be_deleted(owner: User, reader: User, admin: User, deploy: Deploy):
    deploy(owner)
    secret_scenario.let_manage(owner, reader)
    SecretBinding.objects.update(authoriser=reader)
    with pytest.raises(Conflict):
        directory.delete_principal(user=reader, actor=admin)


def test_endpoints_that_need_a_takeover_are_found_in_one_query(
    owner: User, reader: User, admin: User, deploy: Any, django_assert_num_queries: Any
):
    for number in range(3):
        deploy(reader, f"e{number}")
    set_active(reader, False)
    with django_assert_num_queries(1):
        rows = takeover.pending_takeovers(actor=admin)
        found = [(row.version.endpoint.name, row.authoriser.email) for row in rows]
    assert found == [(f"e{number}", reader.email) for number in range(3)]
