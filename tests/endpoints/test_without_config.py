"""Endpoints that were created with a name alone, and reasons for which an endpoint is not ready."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction

from serving_ui.accounts.models import User
from serving_ui.catalogue.served_entity import Kind
from serving_ui.catalogue.spec import parse_config, parse_endpoint
from serving_ui.endpoints import commands
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.lifecycle import NEW, IllegalTransition
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.revocation import apply_secret_rights
from serving_ui.endpoints.transitions import lose_health, regain_health, stop
from serving_ui.lib import clock
from serving_ui.snapshots.builder import SnapshotBuilder
from tests.conftest import openai_body
from tests.endpoints.conftest import settle
from tests.support.sandbox import SandboxServer

Make = Callable[..., Endpoint]
pytestmark = pytest.mark.django_db(transaction=True)


def test_rule_1_a_name_alone_makes_no_version(owner: User):
    made = commands.create_endpoint(spec=parse_endpoint({"name": "later"}), actor=owner, now=clock.now())
    assert (made.state, made.kind, made.shown_version, made.versions.count()) == (NEW, "", None, 0)
    assert SnapshotBuilder().build().endpoints["later"].ready is False
    assert [event.sentence for event in made.events.all()] == [
        f"Created by {owner.email} without a configuration."
    ]


def test_rule_6_the_first_config_fixes_the_kind(owner: User, sandbox: SandboxServer):
    commands.create_endpoint(spec=parse_endpoint({"name": "chat"}), actor=owner, now=clock.now())
    config = parse_config(openai_body(base=sandbox.base)["config"])
    settle(
        commands.edit_endpoint(
            name="chat", changes=EndpointChanges(config=config), actor=owner, now=clock.now()
        )
    )
    after = Endpoint.objects.get(name="chat")
    assert (after.kind, after.ready, after.active and after.active.number) == (
        Kind.EXTERNAL_MODEL,
        "READY",
        1,
    )


def test_an_unhealthy_endpoint_is_ready_again_only_by_its_health(deployed: Make):
    endpoint = Endpoint.objects.get(pk=deployed().pk)
    with transaction.atomic():
        lose_health(endpoint, message="The host does not answer.", now=clock.now())
    assert apply_secret_rights(now=clock.now())
    endpoint = Endpoint.objects.get(pk=endpoint.pk)
    assert endpoint.ready == "NOT_READY"
    with transaction.atomic():
        regain_health(endpoint, now=clock.now())
    assert Endpoint.objects.get(pk=endpoint.pk).ready == "READY"
    assert [event.type for event in endpoint.events.order_by("-pk")[:2]] == [
        "ENDPOINT_HEALTHY_EVENT",
        "ENDPOINT_UNHEALTHY_EVENT",
    ]


def test_a_stopped_endpoint_stays_stopped(deployed: Make, owner: User):
    endpoint = Endpoint.objects.get(pk=deployed().pk)
    with transaction.atomic():
        stop(endpoint, actor=owner, now=clock.now())
    assert apply_secret_rights(now=clock.now())
    endpoint = Endpoint.objects.get(pk=endpoint.pk)
    assert (endpoint.state, endpoint.unready_because) == (NEW, "stopped")


def test_an_endpoint_is_not_stopped_while_an_update_runs(make_endpoint: Make, owner: User):
    endpoint = Endpoint.objects.get(pk=make_endpoint().pk)
    with pytest.raises(IllegalTransition), transaction.atomic():
        stop(endpoint, actor=owner, now=clock.now())
