"""A sandbox as provider, and reconcile steps in the test process. Other tests run a real worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from serving_ui.accounts.models import User
from serving_ui.endpoints import commands
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.endpoints.reconcile import reconcile
from serving_ui.lib import clock
from serving_ui.revisions.models import GatewayProcess
from tests.conftest import spec
from tests.support.sandbox import SandboxServer, running_sandbox


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with running_sandbox() as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: SandboxServer) -> Iterator[SandboxServer]:
    yield sandbox_server
    sandbox_server.reset()


def pass_time(seconds: float) -> None:
    """Move all stored times of updates and gateway processes into the past, as if time had passed."""
    span = timedelta(seconds=seconds)
    Endpoint.objects.update(next_poll_at=F("next_poll_at") - span, lease_until=F("lease_until") - span)
    ConfigVersion.objects.update(deadline=F("deadline") - span)
    GatewayProcess.objects.update(seen_at=F("seen_at") - span)


def settle(endpoint: Endpoint) -> Endpoint:
    """Run one reconcile step."""
    reconcile(endpoint_id=endpoint.pk, clock=clock.now)
    return Endpoint.objects.select_related("active", "pending", "latest").get(pk=endpoint.pk)


@pytest.fixture
def deployed(sandbox: SandboxServer, owner: User) -> Callable[..., Endpoint]:
    """A READY endpoint of the owner."""

    def make(name: str = "chat", **options: Any) -> Endpoint:
        options.setdefault("base", sandbox.base)
        made = commands.create_endpoint(spec=spec(name, **options), actor=owner, now=clock.now())
        return settle(made)

    return make
