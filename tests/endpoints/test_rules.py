"""The rules of an endpoint's lifecycle, with at least one test each that is named after the rule's number."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection

from serving_ui.accounts.models import User
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.spec import ConfigSpec, parse_config, parse_field
from serving_ui.endpoints import commands, leases, queries
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.errors import StaleEdit, UpdateInProgress, UpdateNotRunning
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.gateway.snapshot import Limit
from serving_ui.lib import clock
from serving_ui.lib.refusal import NotAllowed
from serving_ui.snapshots.builder import SnapshotBuilder
from tests.conftest import openai_body, spec
from tests.endpoints.conftest import pass_time, settle
from tests.support.canary import CANARY
from tests.support.sandbox import SandboxServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Endpoint]


def config(base: str, model: str = "gpt-4o", **secret: str) -> ConfigSpec:
    body = openai_body(base=base, model=model)["config"]
    if secret:
        block = body["served_entities"][0]["external_model"]["openai_config"]
        del block["openai_api_key_plaintext"]
        block.update(secret)
    return parse_config(body)


def update(name: str, base: str, actor: User, model: str = "gpt-4o", **options: Any) -> Endpoint:
    return commands.edit_endpoint(
        name=name,
        changes=EndpointChanges(config=config(base, model)),
        actor=actor,
        now=clock.now(),
        **options,
    )


def served_model(name: str = "chat") -> str | None:
    entity = SnapshotBuilder().build().endpoints[name].entity(None)
    return entity.model if entity else None


def settle_in_thread(endpoint: Endpoint) -> None:
    """Run one reconcile step in its own thread, as a worker does."""
    settle(endpoint)
    connection.close()


def test_rule_1_create_makes_a_not_ready_endpoint_with_pending_version_1(owner: User, sandbox: SandboxServer):
    made = commands.create_endpoint(spec=spec(base=sandbox.base), actor=owner, now=clock.now())
    assert (made.ready, made.config_update) == ("NOT_READY", "IN_PROGRESS")
    assert made.pending is not None
    assert made.pending.number == 1
    assert served_model() is None
    ready = settle(made)
    assert (ready.ready, ready.config_update, ready.pending) == ("READY", "NOT_UPDATING", None)
    assert served_model() == "gpt-4"


def test_rule_2_the_old_config_answers_until_the_new_one_is_ready(
    deployed: Make, owner: User, sandbox: SandboxServer
):
    deployed()
    sandbox.hold("models")
    updating = update("chat", sandbox.base, owner)
    thread = Thread(target=settle_in_thread, args=(updating,))
    thread.start()
    sandbox.wait_for("models", count=2)
    assert served_model() == "gpt-4"
    sandbox.release("models")
    thread.join(60)
    assert served_model() == "gpt-4o"


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_rule_2_ready_never_falls_back(deployed: Make, owner: User, sandbox: SandboxServer, end: str):
    deployed()
    updating = update("chat", sandbox.base, owner)
    if end == "fail":
        sandbox.set_faults(on="models", status=401)
        settle(updating)
    else:
        commands.cancel_update(name="chat", actor=owner, now=clock.now())
    after = Endpoint.objects.get(pk=updating.pk)
    assert after.ready == "READY"
    assert after.config_update == {"fail": "UPDATE_FAILED", "cancel": "UPDATE_CANCELED"}[end]
    assert served_model() == "gpt-4"


def test_rule_3_no_second_update_while_one_is_running(deployed: Make, owner: User, sandbox: SandboxServer):
    deployed()
    update("chat", sandbox.base, owner)
    with pytest.raises(UpdateInProgress) as refusal:
        update("chat", sandbox.base, owner, model="gpt-5")
    assert (refusal.value.status, refusal.value.code) == (409, "RESOURCE_CONFLICT")


def test_rule_3_exactly_one_of_several_concurrent_updates_succeeds(
    deployed: Make, owner: User, sandbox: SandboxServer
):
    endpoint = deployed()

    def race(number: int) -> bool:
        try:
            update("chat", sandbox.base, owner, model=f"gpt-{number}")
        except UpdateInProgress:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(race, range(16))) == 1
    assert endpoint.versions.count() == 2


def test_rule_3_exactly_one_of_several_concurrent_creates_succeeds(owner: User):
    def race(_: int) -> bool:
        try:
            commands.create_endpoint(spec=spec("raced"), actor=owner, now=clock.now())
        except SpecErrors as errors:
            assert [problem.path for problem in errors.problems] == [("name",)]
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(race, range(8))) == 1


def test_rule_4_a_late_worker_cannot_resurrect_a_cancelled_update(
    deployed: Make, owner: User, sandbox: SandboxServer
):
    deployed()
    sandbox.hold("models")
    updating = update("chat", sandbox.base, owner)
    thread = Thread(target=settle_in_thread, args=(updating,))
    thread.start()
    sandbox.wait_for("models", count=2)
    commands.cancel_update(name="chat", actor=owner, now=clock.now())
    sandbox.release("models")
    thread.join(60)
    after = Endpoint.objects.get(pk=updating.pk)
    assert (after.ready, after.config_update, after.pending) == ("READY", "UPDATE_CANCELED", None)
    assert after.active is not None
    assert after.active.number == 1
    assert served_model() == "gpt-4"


def test_rule_4_a_worker_whose_lease_was_taken_over_writes_nothing(
    deployed: Make, owner: User, sandbox: SandboxServer
):
    deployed()
    sandbox.hold("models")
    updating = update("chat", sandbox.base, owner)
    thread = Thread(target=settle_in_thread, args=(updating,))
    thread.start()
    sandbox.wait_for("models", count=2)
    taken: list[int] = []

    def take_lease_over() -> bool:
        """Take the lease over between two renewals by its holder."""
        pass_time(60)
        taken.extend(filter(None, [leases.claim(endpoint_id=updating.pk)]))
        return bool(taken)

    wait_until(take_lease_over, what="the lease to end")
    sandbox.release("models")
    thread.join(60)
    assert Endpoint.objects.get(pk=updating.pk).config_update == "IN_PROGRESS"
    leases.release(endpoint_id=updating.pk, token=taken[0], pause=timedelta(0))
    assert settle(updating).config_update == "NOT_UPDATING"


def test_rule_4_cancel_is_refused_when_nothing_is_pending(deployed: Make, owner: User):
    deployed()
    with pytest.raises(UpdateNotRunning):
        commands.cancel_update(name="chat", actor=owner, now=clock.now())


def test_rule_4_a_first_deployment_can_be_cancelled(make_endpoint: Make, owner: User):
    make_endpoint()
    after = commands.cancel_update(name="chat", actor=owner, now=clock.now())
    assert (after.ready, after.config_update) == ("NOT_READY", "UPDATE_CANCELED")


def test_rule_5_one_served_entity_with_an_external_model():
    body = openai_body()["config"]
    second = {**body["served_entities"][0], "name": "second"}
    with pytest.raises(SpecErrors):
        parse_config({"served_entities": [*body["served_entities"], second]})


def test_rule_6_name_creator_and_kind_never_change(deployed: Make, owner: User, sandbox: SandboxServer):
    before = deployed()
    settle(update("chat", sandbox.base, owner))
    after = Endpoint.objects.get(pk=before.pk)
    assert (after.name, after.creator_id) == (before.name, owner.pk)
    own = parse_config({"served_entities": [{"entity_name": "catalog.schema.model", "entity_version": "1"}]})
    with pytest.raises(SpecErrors) as refused:
        commands.edit_endpoint(name="chat", changes=EndpointChanges(config=own), actor=owner, now=clock.now())
    assert "kind" in {problem.code for problem in refused.value.problems}


def test_rule_7_tags_and_limits_change_at_once_and_make_no_version(deployed: Make, owner: User):
    endpoint = deployed()
    now = clock.now()
    limits = parse_field("rate_limits", [{"key": "user", "calls": 5}])
    commands.edit_endpoint(
        name="chat",
        changes=EndpointChanges(tags=parse_field("tags", [{"key": "team", "value": "x"}])),
        actor=owner,
        now=now,
    )
    commands.edit_endpoint(name="chat", changes=EndpointChanges(rate_limits=limits), actor=owner, now=now)
    after = Endpoint.objects.get(pk=endpoint.pk)
    assert after.tags == [{"key": "team", "value": "x"}]
    assert SnapshotBuilder().build().endpoints["chat"].limits == (Limit("user", 5),)
    assert (after.versions.count(), after.config_update) == (1, "NOT_UPDATING")


def test_rule_7_the_description_changes_at_once_also_while_an_update_runs(make_endpoint: Make, owner: User):
    made = make_endpoint()
    changed = commands.edit_endpoint(
        name="chat", changes=EndpointChanges(description="New"), actor=owner, now=clock.now()
    )
    assert changed.description == Endpoint.objects.get(pk=made.pk).description == "New"
    assert (changed.is_updating, changed.versions.count()) == (True, 1)


def test_rule_7_tags_change_also_while_an_update_runs(make_endpoint: Make, owner: User):
    made = make_endpoint()
    commands.edit_endpoint(
        name="chat",
        changes=EndpointChanges(tags=parse_field("tags", [{"key": "a"}])),
        actor=owner,
        now=clock.now(),
    )
    assert Endpoint.objects.get(pk=made.pk).is_updating


def test_rule_8_a_failure_says_why_stays_visible_and_can_be_retried(owner: User, sandbox: SandboxServer):
    sandbox.set_faults(on="models", status=401, message="Incorrect API key provided.")
    failed = settle(commands.create_endpoint(spec=spec(base=sandbox.base), actor=owner, now=clock.now()))
    assert (failed.ready, failed.config_update) == ("NOT_READY", "UPDATE_FAILED")
    version = failed.versions.get()
    assert version.outcome == "FAILED"
    assert "Incorrect API key provided." in version.message
    assert "update" in version.message
    sandbox.reset()
    retried = settle(commands.retry_update(name="chat", actor=owner, now=clock.now()))
    assert (retried.ready, retried.versions.count()) == ("READY", 2)


def test_rule_9_every_version_stays_and_can_be_made_pending_again(
    deployed: Make, owner: User, sandbox: SandboxServer
):
    deployed()
    settle(update("chat", sandbox.base, owner))
    commands.retry_update(name="chat", number=1, actor=owner, now=clock.now())
    commands.cancel_update(name="chat", actor=owner, now=clock.now())
    settle(commands.retry_update(name="chat", number=1, actor=owner, now=clock.now()))
    endpoint = queries.get_endpoint(name="chat", actor=owner)
    found = [
        (version.number, version.outcome, version.creator) for version in queries.versions(endpoint=endpoint)
    ]
    outcome = ConfigVersion.Outcome
    assert found == [
        (4, outcome.ACTIVE, owner),
        (3, outcome.CANCELED, owner),
        (2, outcome.REPLACED, owner),
        (1, outcome.REPLACED, owner),
    ]
    assert served_model() == "gpt-4"


def test_an_edit_of_an_outdated_form_is_refused_with_what_changed(
    deployed: Make, owner: User, admin: User, sandbox: SandboxServer
):
    opened = deployed().generation
    commands.edit_endpoint(
        name="chat",
        changes=EndpointChanges(tags=parse_field("tags", [{"key": "a"}])),
        actor=admin,
        now=clock.now(),
    )
    with pytest.raises(StaleEdit) as stale:
        update("chat", sandbox.base, owner, generation=opened)
    assert [change.sentence for change in stale.value.changes] == ["Tags changed by admin@example.com."]
    fresh = Endpoint.objects.get(name="chat").generation
    assert update("chat", sandbox.base, owner, generation=fresh).is_updating


def test_steps_of_the_worker_do_not_conflict_with_an_open_form(owner: User, sandbox: SandboxServer):
    made = commands.create_endpoint(spec=spec(base=sandbox.base), actor=owner, now=clock.now())
    opened = Endpoint.objects.get(pk=made.pk).generation
    settle(made)
    assert update("chat", sandbox.base, owner, generation=opened).is_updating


def test_a_stored_secret_is_kept_for_its_own_address_only(
    deployed: Make, owner: User, sandbox: SandboxServer
):
    endpoint = deployed()
    assert endpoint.active is not None
    active_config = endpoint.active.config
    elsewhere = openai_body(base="https://elsewhere.example.com/v1")["config"]
    moved = parse_config(elsewhere).with_secrets(active_config.secrets())
    with pytest.raises(SpecErrors) as refusal:
        commands.edit_endpoint(
            name="chat", changes=EndpointChanges(config=moved), actor=owner, now=clock.now()
        )
    assert [problem.code for problem in refusal.value.problems] == ["secret_bound"]
    assert refusal.value.problems[0].path[-1] == "openai_api_key"
    renamed = config(sandbox.base, "gpt-5").with_secrets(active_config.secrets())
    assert (
        settle(
            commands.edit_endpoint(
                name="chat", changes=EndpointChanges(config=renamed), actor=owner, now=clock.now()
            )
        ).config_update
        == "NOT_UPDATING"
    )


def test_the_stored_secret_of_another_endpoint_cannot_be_used(
    deployed: Make, owner: User, sandbox: SandboxServer
):
    other = deployed("other")
    assert other.active is not None
    deployed("mine")
    claimed = config(sandbox.base).with_secrets(other.active.config.secrets())
    with pytest.raises(SpecErrors):
        commands.edit_endpoint(
            name="mine", changes=EndpointChanges(config=claimed), actor=owner, now=clock.now()
        )


def test_owner_teammate_and_stranger_have_different_rights(
    deployed: Make, owner: User, teammate: User, stranger: User, sandbox: SandboxServer
):
    deployed()
    now = clock.now()
    grant(name="chat", to=teammate.email, level=Level.CAN_QUERY, actor=owner, now=now)
    assert queries.get_endpoint(name="chat", actor=teammate).level == Level.CAN_QUERY
    with pytest.raises(NotAllowed):
        update("chat", sandbox.base, teammate)
    with pytest.raises(NotAllowed):
        grant(name="chat", to=stranger.email, level=Level.CAN_VIEW, actor=teammate, now=now)
    assert queries.list_endpoints(actor=stranger).total == 0
    endpoint = SnapshotBuilder().build().endpoints["chat"]
    assert endpoint.users == {owner.pk, teammate.pk}
    grant(name="chat", to=teammate.email, level=Level.NONE, actor=owner, now=now)
    assert queries.list_endpoints(actor=teammate).total == 0


def test_delete_removes_pasted_secrets_and_published_configs(deployed: Make, owner: User):
    endpoint = deployed()
    assert CANARY not in repr(list(endpoint.versions.values()))
    commands.delete_endpoint(name="chat", actor=owner, now=clock.now())
    assert not Endpoint.objects.filter(name="chat").exists()
    assert "chat" not in SnapshotBuilder().build().endpoints
