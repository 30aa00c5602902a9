"""A submitter who is deactivated: what is served goes on as it was, follows nothing new, and waits for somebody to take it over."""

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
from tests.endpoints import rights
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
    """Whether the endpoint answers with each secret in trouble, and whether the person may take it over."""
    endpoint = queries.get_endpoint(name="chat", actor=actor)
    return [
        (each.is_served, each.may_take_over)
        for each in takeover.secret_problems(endpoint=endpoint, actor=actor)
    ]


def test_what_is_served_stays_and_follows_no_rotation(owner: User, reader: User, deploy: Deploy):
    deploy(reader)
    builder = SnapshotBuilder()
    set_active(reader, False)
    assert rights.sent(builder=builder) == "first"
    rights.rotate(owner, "second")
    assert (rights.sent(builder=builder), rights.sent()) == ("first", "first")
    assert rights.followed() == READY
    assert [row.version.endpoint.name for row in takeover.pending_takeovers(actor=owner)] == []
    rights.let_manage(reader, owner)
    assert [str(row) for row in takeover.pending_takeovers(actor=owner)] == [rights.REFERENCE]
    assert problem_flags(owner) == [(True, True)]


def test_reactivated_it_follows_the_secret_again(owner: User, reader: User, deploy: Deploy):
    deploy(reader)
    set_active(reader, False)
    rights.rotate(owner, "second")
    set_active(reader, True)
    assert rights.sent() == "second"
    assert not StoredSecret.objects.filter(scope=None).exists()
    assert not takeover.pending_takeovers(actor=User.objects.get(email="root@example.com"))


@pytest.mark.parametrize("end", [rights.delete_key, rights.delete_scope])
def test_what_is_kept_ends_with_the_secret(
    owner: User, reader: User, deploy: Deploy, end: Callable[[User], None]
):
    deploy(reader)
    set_active(reader, False)
    end(owner)
    assert (rights.sent(), rights.followed()) == (None, NOT_READY)
    rights.let_manage(reader, owner)
    assert problem_flags(owner) == [(False, False)]


def test_what_is_kept_ends_with_the_right(owner: User, reader: User, deploy: Deploy):
    deploy(reader)
    set_active(reader, False)
    rights.withdraw(owner, reader)
    assert (rights.sent(), rights.followed()) == (None, NOT_READY)
    rights.let_read(owner, reader)
    assert (rights.sent(), rights.followed()) == ("first", READY)


def test_somebody_who_may_read_it_takes_over_and_it_follows_the_secret(
    owner: User, reader: User, deploy: Deploy
):
    deploy(reader)
    rights.let_manage(reader, owner)
    set_active(reader, False)
    rights.rotate(owner, "second")
    builder = SnapshotBuilder()
    builder.build()
    after = take_over(owner)
    assert rights.sent(builder=builder) == "second"
    assert after.versions.count() == 1
    assert rights.event_types()[0] == "ENDPOINT_TAKEN_OVER_EVENT"
    assert rights.REFERENCE in after.events.order_by("-pk")[0].sentence
    assert not StoredSecret.objects.filter(scope=None).exists()
    rights.withdraw(owner, reader)
    set_active(reader, True)
    assert (rights.sent(), rights.followed(), problem_flags(owner)) == ("second", READY, [])


def test_a_revoked_endpoint_can_be_taken_over_too(owner: User, reader: User, deploy: Deploy):
    deploy(reader)
    rights.let_manage(reader, owner)
    rights.withdraw(owner, reader)
    assert rights.followed() == NOT_READY
    assert problem_flags(owner) == [(False, True)]
    after = take_over(owner)
    assert (after.ready, rights.sent()) == ("READY", "first")
    assert rights.event_types()[:2] == ["ENDPOINT_RESTORED_EVENT", "ENDPOINT_TAKEN_OVER_EVENT"]


def test_nobody_takes_over_what_they_may_not_read_or_manage(
    owner: User, reader: User, stranger: User, deploy: Deploy
):
    deploy(reader)
    set_active(reader, False)
    with pytest.raises(Exception, match="no endpoint named"):
        take_over(owner)  # may read it, and knows of no such endpoint
    rights.let_manage(reader, stranger)
    assert problem_flags(stranger) == [(True, False)]
    with pytest.raises(NotAllowed, match=owner.email):
        take_over(stranger)
    assert SecretBinding.objects.get().authoriser == reader


def test_nobody_takes_over_a_secret_of_the_same_name(owner: User, reader: User, deploy: Deploy):
    deploy(reader)
    rights.let_manage(reader, owner)
    rights.delete_key(owner)
    rights.rotate(owner, "another")
    with pytest.raises(NotAllowed):
        take_over(owner)
    assert rights.sent() is None


def test_where_nothing_is_wrong_nothing_changes(owner: User, deploy: Deploy):
    before = deploy(owner)
    assert take_over(owner).generation == Endpoint.objects.get(pk=before.pk).generation == before.generation


def test_a_manager_who_may_not_read_it_keeps_the_value_of_then(
    owner: User, reader: User, stranger: User, deploy: Deploy, sandbox: SandboxServer
):
    deploy(reader)
    rights.let_manage(reader, stranger)
    set_active(reader, False)
    rights.rotate(owner, "second")
    settle(rights.update(stranger, rights.config(sandbox.base, model="gpt-5")))
    assert (rights.sent(), sandbox.requests("models")[-1]["key"]) == ("first", "first")
    set_active(reader, True)
    assert rights.sent() == "second"
    assert not StoredSecret.objects.filter(scope=None).exists()


def test_what_was_not_served_at_the_deactivation_cannot_be_brought_back(
    owner: User, reader: User, stranger: User, deploy: Deploy, sandbox: SandboxServer
):
    """Nothing says which value it would be: the one of now must not go out on the right of somebody who is gone."""
    deploy(reader)
    rights.let_manage(reader, stranger)
    sandbox.set_faults(on="models", status=401)
    other = sandbox.base.replace("127.0.0.1", "localhost")
    assert settle(rights.update(reader, rights.config(other))).config_update == "UPDATE_FAILED"
    set_active(reader, False)
    sandbox.reset()
    with pytest.raises(SpecErrors):
        commands.retry_update(name="chat", number=2, actor=stranger, now=clock.now())


def test_an_update_that_runs_goes_on(owner: User, reader: User, sandbox: SandboxServer, deploy: Deploy):
    deploy(reader)
    updating = rights.update(reader, rights.config(sandbox.base, model="gpt-5"))
    set_active(reader, False)
    rights.rotate(owner, "second")
    assert rights.followed() == ("READY", "IN_PROGRESS")
    ready = settle(updating)
    assert (ready.config_update, rights.sent()) == ("NOT_UPDATING", "first")


def test_an_authoriser_is_not_deleted(owner: User, reader: User, admin: User, deploy: Deploy):
    deploy(owner)
    rights.let_manage(owner, reader)
    SecretBinding.objects.update(authoriser=reader)
    with pytest.raises(Conflict):
        directory.delete_principal(user=reader, actor=admin)


def test_who_waits_is_found_in_one_query(
    owner: User, reader: User, admin: User, deploy: Any, django_assert_num_queries: Any
):
    for number in range(3):
        deploy(reader, f"e{number}")
    set_active(reader, False)
    with django_assert_num_queries(1):
        rows = takeover.pending_takeovers(actor=admin)
        found = [(row.version.endpoint.name, row.authoriser.email) for row in rows]
    assert found == [(f"e{number}", reader.email) for number in range(3)]
