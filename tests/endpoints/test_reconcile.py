"""Deployment: the result of each response of a provider, and of errors on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db.models.functions import Now

from serving_ui.accounts.models import User
from serving_ui.catalogue.spec import parse_endpoint
from serving_ui.endpoints import commands, leases
from serving_ui.endpoints import reconcile as reconciling
from serving_ui.endpoints.models import Endpoint, EndpointEvent
from serving_ui.endpoints.reconcile import MAX_UNEXPECTED_ERRORS
from serving_ui.lib import clock
from serving_ui.revisions import changes, gateways
from serving_ui.revisions.models import GatewayProcess
from serving_ui.snapshots.builder import SnapshotBuilder
from serving_ui.vault import commands as vault
from tests.conftest import openai_body, spec
from tests.endpoints.conftest import pass_time, settle
from tests.endpoints.test_rules import settle_in_thread
from tests.support.canary import CANARY
from tests.support.sandbox import SandboxServer
from tests.support.waiting import free_port, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Endpoint]
HOUR = 3600.0


def create(owner: User, base: str) -> Endpoint:
    return commands.create_endpoint(spec=spec(base=base), actor=owner, now=clock.now())


def is_postponed(endpoint: Endpoint, *, seconds: float) -> bool:
    """Whether one step sets the next poll to this number of seconds from now, by the database's clock."""
    row = Endpoint.objects.filter(pk=endpoint.pk)
    before = row.values_list(Now(), flat=True).get()
    settle(endpoint)
    due, after = row.values_list("next_poll_at", Now()).get()
    return bool(before <= due - timedelta(seconds=seconds) <= after)


def types(endpoint: Endpoint) -> list[str]:
    return list(
        EndpointEvent.objects.filter(endpoint=endpoint).order_by("at", "pk").values_list("type", flat=True)
    )


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_a_provider_without_a_credential_check_is_used_unverified(
    owner: User, sandbox: SandboxServer, status: int
):
    sandbox.set_faults(on="models", status=status)
    ready = settle(create(owner, sandbox.base))
    assert ready.ready == "READY"
    assert "SERVED_ENTITY_UNVERIFIED_EVENT" in types(ready)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_provider_is_checked_again_later(owner: User, sandbox: SandboxServer, status: int):
    sandbox.set_faults(on="models", status=status)
    made = create(owner, sandbox.base)
    before = clock.now()
    waiting = settle(made)
    assert waiting.config_update == "IN_PROGRESS"
    assert waiting.next_poll_at is not None
    assert waiting.next_poll_at > before
    assert str(status) in waiting.versions.get().message
    sandbox.reset()
    assert settle(waiting).ready == "READY"


def test_the_wait_follows_retry_after_and_backs_off(owner: User, sandbox: SandboxServer):
    sandbox.set_faults(on="models", status=429, retry_after="7")
    made = create(owner, sandbox.base)
    assert is_postponed(made, seconds=7)
    sandbox.set_faults(on="models", status=429, retry_after="")
    for seconds in (2, 4, 8):
        assert is_postponed(made, seconds=seconds)


def test_after_the_deadline_it_fails_with_the_last_reason(owner: User, sandbox: SandboxServer):
    sandbox.set_faults(on="models", status=503, message="Overloaded.")
    waiting = settle(create(owner, sandbox.base))
    assert waiting.config_update == "IN_PROGRESS"
    pass_time(61)
    failed = settle(waiting)
    assert failed.config_update == "UPDATE_FAILED"
    found = re.search(r"Overloaded\..* Gave up after (\d+) seconds\.", failed.versions.get().message)
    assert found and int(found[1]) >= 60


@pytest.mark.parametrize("outcome", ["busy", "unexpected"])
def test_the_deadline_counts_from_the_first_attempt(owner: User, sandbox: SandboxServer, outcome: str):
    sandbox.set_faults(on="models", status=503)
    made = create(owner, sandbox.base)
    spec = made.versions.get().spec
    pass_time(600)
    if outcome == "unexpected":
        made.versions.update(spec={"served_entities": 7})
        settle(made)
        made.versions.update(spec=spec)
    assert settle(made).config_update == "IN_PROGRESS"
    pass_time(30)
    assert settle(made).config_update == "IN_PROGRESS"
    pass_time(31)
    assert settle(made).config_update == "UPDATE_FAILED"


def test_a_deadline_far_in_the_future_after_a_clock_change_is_reset(owner: User, sandbox: SandboxServer):
    sandbox.set_faults(on="models", status=503)
    made = settle(create(owner, sandbox.base))
    pass_time(-HOUR)
    assert settle(made).config_update == "IN_PROGRESS"
    pass_time(61)
    assert settle(made).config_update == "UPDATE_FAILED"


def test_the_deadline_of_gateways_counts_from_the_publication(
    owner: User, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gateways, "LIVENESS_TIMEOUT", timedelta(seconds=HOUR))
    gateways.acknowledge(process="slow", revision=1)
    made = create(owner, sandbox.base)
    pass_time(600)
    assert settle(made).config_update == "IN_PROGRESS"
    assert settle(made).config_update == "IN_PROGRESS"
    pass_time(61)
    failed = settle(made)
    assert failed.config_update == "UPDATE_FAILED"
    assert "slow" in failed.versions.get().message


def test_gateways_get_their_own_deadline_after_that_of_the_check(
    owner: User, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gateways, "LIVENESS_TIMEOUT", timedelta(seconds=HOUR))
    gateways.acknowledge(process="slow", revision=1)
    made = create(owner, sandbox.base)
    assert settle(made).config_update == "IN_PROGRESS"
    monkeypatch.setattr(reconciling, "ACKNOWLEDGEMENT_SECONDS", 30.0)
    pass_time(600)
    step = Thread(target=settle_in_thread, args=(made,))
    step.start()
    wait_until(lambda: Endpoint.objects.get(pk=made.pk).lease_until, what="the step to hold the endpoint")
    gateways.acknowledge(process="slow", revision=changes.current_revision())
    step.join(60)
    assert Endpoint.objects.get(pk=made.pk).ready == "READY"


def test_an_unreachable_provider_is_reported(owner: User):
    made = create(owner, f"http://127.0.0.1:{free_port()}/v1")
    waiting = settle(made)
    assert "cannot be reached" in waiting.versions.get().message


def test_no_message_contains_a_refused_key(owner: User, sandbox: SandboxServer):
    sandbox.set_faults(on="models", status=401, message=f"Incorrect API key provided: {CANARY}.")
    failed = settle(create(owner, sandbox.base))
    assert failed.config_update == "UPDATE_FAILED"
    assert CANARY not in repr([*failed.versions.values(), *failed.events.values()])


def test_a_redirect_is_refused_and_not_followed(owner: User, sandbox: SandboxServer):
    sandbox.set_faults(on="models", status=302, location="http://127.0.0.1:1/stolen")
    failed = settle(create(owner, sandbox.base))
    assert failed.config_update == "UPDATE_FAILED"
    assert "redirect (302)" in failed.versions.get().message
    assert len(sandbox.requests()) == 1


def test_a_forbidden_address_is_refused_with_its_field(owner: User, settings: Any):
    settings.EGRESS_LOOPBACK = False
    settings.EGRESS_LISTED = ()
    from serving_ui.catalogue.problems import SpecErrors

    with pytest.raises(SpecErrors) as refusal:
        create(owner, "http://169.254.169.254/latest")
    (problem,) = refusal.value.problems
    assert problem.path == (
        "config",
        "served_entities",
        0,
        "external_model",
        "openai_config",
        "openai_api_base",
    )


def test_a_name_that_resolves_to_a_forbidden_address_fails_at_connect(owner: User, settings: Any):
    settings.EGRESS_LOOPBACK = False
    settings.EGRESS_LISTED = ()
    made = create(owner, "https://localhost.localdomain.example/v1")
    Endpoint.objects.filter(pk=made.pk).update()
    version = made.versions.get()
    block = version.spec["served_entities"][0]["external_model"]["openai_config"]
    block["openai_api_base"] = "http://localhost:9/v1"
    version.save()
    failed = settle(made)
    assert failed.config_update == "UPDATE_FAILED"
    assert "localhost" in failed.versions.get().message


def test_an_endpoint_is_ready_only_when_every_live_gateway_has_acknowledged(
    owner: User, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gateways, "LIVENESS_TIMEOUT", timedelta(minutes=1))
    gateways.acknowledge(process="slow", revision=1)
    waiting = settle(create(owner, sandbox.base))
    assert waiting.config_update == "IN_PROGRESS"
    assert SnapshotBuilder().build().endpoints["chat"].ready  # published: a gateway may serve it already
    gateways.acknowledge(process="slow", revision=changes.current_revision())
    assert settle(waiting).ready == "READY"


@pytest.mark.parametrize("ahead", [10, 120, HOUR])
def test_a_gateway_with_a_last_sign_of_life_in_the_future_is_ignored(
    owner: User, sandbox: SandboxServer, ahead: float
):
    gateways.acknowledge(process="dead", revision=1)
    pass_time(-ahead)
    assert gateways.lagging_gateways(revision=2) == []
    assert gateways.rank_and_count(process="other") == (0, 1)
    assert settle(create(owner, sandbox.base)).ready == "READY"
    pass_time(-HOUR)
    gateways.join(process="new")  # the next worker completes the cancellation
    assert not GatewayProcess.objects.filter(pk="dead").exists()


def test_a_gateway_without_recent_signs_of_life_is_ignored(owner: User, sandbox: SandboxServer):
    gateways.acknowledge(process="dead", revision=1)
    pass_time(30)
    assert settle(create(owner, sandbox.base)).ready == "READY"


def test_cancel_after_publication_restores_the_old_config(
    deployed: Make, owner: User, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
):
    from tests.endpoints.test_rules import served_model, update

    deployed()
    monkeypatch.setattr(gateways, "LIVENESS_TIMEOUT", timedelta(minutes=1))
    gateways.acknowledge(process="slow", revision=1)
    settle(update("chat", sandbox.base, owner))
    before = changes.current_revision()
    commands.cancel_update(name="chat", actor=owner, now=clock.now())
    assert changes.current_revision() > before
    assert served_model() == "gpt-4"


def test_a_reference_is_resolved_at_deployment_and_when_its_secret_changes(
    owner: User, sandbox: SandboxServer
):

    now = clock.now()
    vault.create_scope(name="prod", actor=owner, now=now)
    vault.put_secret(scope="prod", key="openai", value="first", actor=owner, now=now)
    body = openai_body(base=sandbox.base)
    block = body["config"]["served_entities"][0]["external_model"]["openai_config"]
    block.clear()
    block.update(openai_api_key="{{secrets/prod/openai}}", openai_api_base=sandbox.base)
    made = commands.create_endpoint(spec=parse_endpoint(body), actor=owner, now=now)
    settle(made)
    assert sandbox.requests("models")[-1]["key"] == "first"
    builder = SnapshotBuilder()

    def key() -> str:
        entity = builder.build().endpoints["chat"].entities[0]
        return str(entity.config.secrets()[("openai_api_key",)].reveal())

    assert key() == "first"
    before = changes.current_revision()
    vault.put_secret(scope="prod", key="openai", value="second", actor=owner, now=clock.now())
    assert changes.current_revision() > before
    assert key() == "second"


def test_a_deleted_reference_fails_with_advice(owner: User, stranger: User, sandbox: SandboxServer):
    from serving_ui.catalogue.problems import SpecErrors

    body = openai_body(base=sandbox.base)
    block = body["config"]["served_entities"][0]["external_model"]["openai_config"]
    block.clear()
    block.update(openai_api_key="{{secrets/prod/openai}}", openai_api_base=sandbox.base)
    with pytest.raises(SpecErrors):
        commands.create_endpoint(spec=parse_endpoint(body), actor=owner, now=clock.now())
    vault.create_scope(name="prod", actor=owner, now=clock.now())
    vault.put_secret(scope="prod", key="openai", value="v", actor=owner, now=clock.now())
    with pytest.raises(SpecErrors):
        commands.create_endpoint(spec=parse_endpoint(body), actor=stranger, now=clock.now())
    made = commands.create_endpoint(spec=parse_endpoint(body), actor=owner, now=clock.now())
    vault.delete_secret(scope="prod", key="openai", actor=owner, now=clock.now())
    failed = settle(made)
    assert failed.config_update == "UPDATE_FAILED"
    message = failed.versions.get().message
    assert "{{secrets/prod/openai}}" in message
    assert "deleted" in message
    assert owner.email in message


def test_a_row_that_raises_fails_with_a_reason_and_does_not_stop_others(owner: User, sandbox: SandboxServer):
    poisonous = create(owner, sandbox.base)
    version = poisonous.versions.get()
    version.spec = {"served_entities": 7}
    version.save()
    for _ in range(MAX_UNEXPECTED_ERRORS):
        after = settle(poisonous)
    assert after.config_update == "UPDATE_FAILED"
    assert "log" in after.versions.get().message
    healthy = commands.create_endpoint(spec=spec("healthy", base=sandbox.base), actor=owner, now=clock.now())
    assert settle(healthy).ready == "READY"


def test_due_rows_are_sent_once_and_again_without_progress(owner: User, sandbox: SandboxServer):
    made = create(owner, sandbox.base)
    assert leases.due() == [made.pk]
    assert leases.due() == []
    pass_time(2)
    assert leases.due() == [made.pk]


def test_a_row_far_in_the_future_after_a_clock_change_is_due(owner: User, sandbox: SandboxServer):
    sandbox.set_faults(on="models", status=503)
    made = settle(create(owner, sandbox.base))
    assert leases.due() == []
    pass_time(-HOUR)
    assert leases.due() == [made.pk]
    first = leases.claim(endpoint_id=made.pk)
    assert first is not None
    pass_time(-HOUR)  # the lease's holder died while its clock was ahead
    assert leases.due() == [made.pk]
    assert leases.claim(endpoint_id=made.pk) is not None


def test_a_leased_row_is_not_claimed_before_its_lease_ends(owner: User, sandbox: SandboxServer):
    made = create(owner, sandbox.base)
    first = leases.claim(endpoint_id=made.pk)
    assert first is not None
    assert leases.claim(endpoint_id=made.pk) is None
    pass_time(3)
    second = leases.claim(endpoint_id=made.pk)
    assert second is not None
    assert second > first
