"""Concurrent changes of all kinds: each is applied or refused with a message."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from typing import Any

import pytest
from django.db import connection

from serving_ui.accounts import directory
from serving_ui.accounts.models import User
from serving_ui.catalogue.spec import EndpointSpec, parse_field
from serving_ui.endpoints import commands, revocation, takeover
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.endpoints.reconcile import reconcile
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal
from tests.conftest import spec
from tests.endpoints import secret_scenario
from tests.endpoints.conftest import settle
from tests.endpoints.test_rules import config
from tests.support.sandbox import SandboxServer

pytestmark = pytest.mark.django_db(transaction=True)


def test_concurrent_changes_of_one_endpoint_are_applied_or_refused(
    deployed: Callable[..., Endpoint], owner: User, teammate: User, sandbox: SandboxServer
):
    endpoint = deployed()
    to_chat: dict[str, Any] = {"name": "chat", "actor": owner}
    limits = parse_field("rate_limits", [{"key": "user", "calls": 5}])
    kinds: list[Callable[[], object]] = [
        lambda: commands.edit_endpoint(
            changes=EndpointChanges(config=config(sandbox.base)), now=clock.now(), **to_chat
        ),
        lambda: reconcile(endpoint_id=endpoint.pk, clock=clock.now),
        lambda: commands.edit_endpoint(
            changes=EndpointChanges(rate_limits=limits), now=clock.now(), **to_chat
        ),
        lambda: commands.edit_endpoint(
            changes=EndpointChanges(tags=parse_field("tags", [{"key": "a"}])), now=clock.now(), **to_chat
        ),
        lambda: commands.cancel_update(now=clock.now(), **to_chat),
        lambda: grant(to=teammate.email, level=Level.CAN_QUERY, now=clock.now(), **to_chat),
    ]

    def race(change: Callable[[], object]) -> None:
        try:
            change()
        except Refusal as refusal:
            assert str(refusal).endswith((".", "first."))
        finally:
            connection.close()

    with ThreadPoolExecutor(len(kinds)) as pool:
        list(pool.map(race, chain.from_iterable(repeat(kinds, 12))))
    after = settle(endpoint) if Endpoint.objects.get(pk=endpoint.pk).is_updating else endpoint
    after = Endpoint.objects.get(pk=after.pk)
    assert (after.ready, after.is_updating) == ("READY", False)
    assert after.tags == [{"key": "a", "value": ""}]


def test_concurrent_creates_of_different_names_all_succeed(owner: User):
    def create(number: int) -> None:
        try:
            commands.create_endpoint(spec=spec(f"chat-{number}"), actor=owner, now=clock.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(24)))
    assert Endpoint.objects.count() == 24


def test_concurrent_changes_of_rights_are_applied_without_deadlock(
    owner: User, teammate: User, admin: User, sandbox: SandboxServer
):
    """Changes of rights, users and secrets lock rows in one order, so that PostgreSQL detects no deadlock."""
    secret_scenario.make_scope(owner)
    secret_scenario.let_read(owner, teammate)
    for name in ("chat", "other"):
        made = EndpointSpec(name=name, config=secret_scenario.config(sandbox.base))
        settle(commands.create_endpoint(spec=made, actor=teammate, now=clock.now()))
        secret_scenario.let_manage(teammate, owner, name)
    group = directory.create_group(name="readers", actor=admin)
    secret_scenario.let_read(owner, group)
    kinds: list[Callable[[], object]] = [
        lambda: directory.change_principal(user=teammate, active=False, actor=admin),
        lambda: directory.change_principal(user=teammate, active=True, actor=admin),
        lambda: secret_scenario.rotate(owner, "second"),
        lambda: secret_scenario.withdraw(owner, teammate),
        lambda: secret_scenario.let_read(owner, teammate),
        lambda: directory.change_members(group=group, add=[teammate.pk], actor=admin),
        lambda: directory.change_members(group=group, remove=[teammate.pk], actor=admin),
        lambda: takeover.take_over(name="chat", actor=owner, now=clock.now()),
        lambda: revocation.apply_secret_rights(now=clock.now()),
    ]

    def race(change: Callable[[], object]) -> None:
        try:
            change()
        except Refusal as refusal:
            assert str(refusal).endswith(".")
        finally:
            connection.close()

    with ThreadPoolExecutor(len(kinds)) as pool:
        list(pool.map(race, chain.from_iterable(repeat(kinds, 8))))
    directory.change_principal(user=teammate, active=True, actor=admin)
    secret_scenario.let_read(owner, teammate)
    secret_scenario.rotate(owner, "last")
    assert revocation.apply_secret_rights(now=clock.now())
    for name in ("chat", "other"):
        assert (secret_scenario.sent_key(name), Endpoint.objects.get(name=name).ready) == ("last", "READY")
