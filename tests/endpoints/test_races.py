"""Changes of every kind at the same moment: each one happens or is refused with a sentence, and none harms another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from typing import Any

import pytest
from django.db import connection

from serving_ui.accounts.models import User
from serving_ui.catalogue.spec import parse_rate_limits, parse_tags
from serving_ui.endpoints import commands
from serving_ui.endpoints.errors import EndpointError
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.endpoints.reconcile import reconcile
from serving_ui.lib import clock
from tests.conftest import spec
from tests.endpoints.conftest import settle
from tests.endpoints.test_rules import config
from tests.support.sandbox import SandboxServer

pytestmark = pytest.mark.django_db(transaction=True)


def test_racing_changes_of_one_endpoint_either_happen_or_are_refused(
    deployed: Callable[..., Endpoint], owner: User, teammate: User, sandbox: SandboxServer
):
    endpoint = deployed()
    to_chat: dict[str, Any] = {"name": "chat", "actor": owner}
    limits = parse_rate_limits([{"key": "user", "calls": 5}])
    kinds: list[Callable[[], object]] = [
        lambda: commands.update_config(config=config(sandbox.base), now=clock.now(), **to_chat),
        lambda: reconcile(endpoint_id=endpoint.pk, clock=clock.now),
        lambda: commands.set_rate_limits(rate_limits=limits, now=clock.now(), **to_chat),
        lambda: commands.set_tags(tags=parse_tags([{"key": "a"}]), now=clock.now(), **to_chat),
        lambda: commands.cancel_update(now=clock.now(), **to_chat),
        lambda: grant(to=teammate.email, level=Level.CAN_QUERY, now=clock.now(), **to_chat),
    ]

    def race(change: Callable[[], object]) -> None:
        try:
            change()
        except EndpointError as refusal:
            assert str(refusal).endswith((".", "first."))
        finally:
            connection.close()

    with ThreadPoolExecutor(len(kinds)) as pool:
        list(pool.map(race, chain.from_iterable(repeat(kinds, 12))))
    after = settle(endpoint) if Endpoint.objects.get(pk=endpoint.pk).is_updating else endpoint
    after = Endpoint.objects.get(pk=after.pk)
    assert (after.ready, after.is_updating) == ("READY", False)
    assert after.tags == [{"key": "a", "value": ""}]


def test_racing_creates_of_different_names_all_happen(owner: User):
    def create(number: int) -> None:
        try:
            commands.create_endpoint(spec=spec(f"chat-{number}"), actor=owner, now=clock.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(24)))
    assert Endpoint.objects.count() == 24
