"""The secrets of hosts: sent on the right of who gave them, to the address that they were given for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serving_ui.accounts import directory
from serving_ui.accounts.models import User
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.endpoints import revocation
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib import clock
from serving_ui.model_hosts import commands
from serving_ui.model_hosts.host_spec import HostChanges
from serving_ui.model_hosts.models import Health, ModelHost
from serving_ui.snapshots.builder import SnapshotBuilder
from tests.endpoints import secret_scenario
from tests.model_hosts.conftest import FakeHost, check, deploy, states

pytestmark = pytest.mark.django_db(transaction=True)
Add = Callable[..., ModelHost]
LLAMA = "system-gpu-llama-3-1-8b"


def update(actor: User, **changes: object) -> ModelHost:
    return commands.update_host(name="gpu", changes=HostChanges.parsed(changes), actor=actor, now=clock.now())


@pytest.fixture
def host(add_host: Add, owner: User, fake: FakeHost) -> ModelHost:
    """A host with a reference to a secret of the owner, and one model, which is ready."""
    secret_scenario.make_scope(owner, value="first")
    fake.lists("llama-3.1-8b")
    made = check(add_host(secret=secret_scenario.REFERENCE))
    deploy()
    return made


def sent() -> str | None:
    return secret_scenario.sent_key(LLAMA)


def test_the_secret_is_sent_to_the_host_and_with_queries_and_follows_a_new_value(
    host: ModelHost, fake: FakeHost, owner: User
):
    assert b"Authorization: Bearer first" in fake.requests[-1]
    assert sent() == "first"
    secret_scenario.rotate(owner, "second")
    check(host)
    assert b"Authorization: Bearer second" in fake.requests[-1]
    assert sent() == "second"


def test_a_deleted_secret_makes_the_endpoints_not_ready_and_the_same_name_does_not_replace_it(
    host: ModelHost, fake: FakeHost, owner: User
):
    secret_scenario.delete_key(owner)
    secret_scenario.rotate(owner, "another")
    assert revocation.apply_secret_rights(now=clock.now())
    before = len(fake.requests)
    checked = check(host)
    assert len(fake.requests) == before
    assert checked.health == Health.UNCHECKED
    assert "{{secrets/prod/openai}}" in checked.error
    assert sent() is None
    assert states() == {LLAMA: "NOT_READY"}


def test_an_admin_who_gives_the_secret_again_restores_it(
    host: ModelHost, fake: FakeHost, owner: User, admin: User
):
    secret_scenario.delete_key(owner)
    secret_scenario.rotate(owner, "another")
    assert revocation.apply_secret_rights(now=clock.now())
    check(update(admin, secret=secret_scenario.REFERENCE))
    deploy()
    assert sent() == "another"
    assert states() == {LLAMA: "READY"}


def test_who_may_no_longer_read_the_secret_no_longer_sends_it(host: ModelHost, owner: User, admin: User):
    admin.is_admin = False
    admin.save()
    assert revocation.apply_secret_rights(now=clock.now())
    assert "may no longer read it" in check(host).error
    assert sent() is None
    assert states() == {LLAMA: "NOT_READY"}


def test_a_host_whose_admin_is_deactivated_is_not_ready_until_another_gives_the_secret(
    host: ModelHost, fake: FakeHost, owner: User, admin: User
):
    second = User.objects.create(email="second@example.com", is_admin=True)
    directory.change_principal(user=admin, active=False, actor=second)
    assert revocation.apply_secret_rights(now=clock.now())
    before = len(fake.requests)
    checked = check(host)
    assert (len(fake.requests), checked.health) == (before, Health.UNCHECKED)
    assert states() == {LLAMA: "NOT_READY"}
    assert sent() == "first"  # queries go on: who had the right has not lost it
    sentence = Endpoint.objects.get(name=LLAMA).events.order_by("-pk")[0].sentence
    assert "cannot be checked" in sentence
    assert f"{admin.email}, who gave this host the secret" in sentence
    assert "Edit the host and give the secret again. Only admins can edit it." in sentence
    check(update(second, secret=secret_scenario.REFERENCE))
    deploy()
    assert states() == {LLAMA: "READY"}


def test_a_secret_is_not_sent_to_another_address(host: ModelHost, admin: User):
    with pytest.raises(SpecErrors, match="Give the secret again"):
        update(admin, base_url="http://127.0.0.1:9/v1")
    update(admin, base_url=host.base_url + "/")
    assert ModelHost.objects.get().revision == 1


def test_no_column_and_no_report_has_a_pasted_secret(add_host: Add, admin: User, fake: FakeHost):
    made = check(add_host(secret_plaintext="pasted-key"))
    deploy()
    assert b"Authorization: Bearer pasted-key" in fake.requests[-1]
    assert "pasted-key" not in repr([made.__dict__, commands.state_of(made)])
    assert "pasted-key" not in repr(SnapshotBuilder().build())
    commands.delete_host(name="gpu", actor=admin, now=clock.now())
    assert not states()
