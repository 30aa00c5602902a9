"""A model host on a port of its own, whose answers a test sets, and functions that check it and deploy its endpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from serving_ui.accounts.models import User
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.reconcile import reconcile
from serving_ui.lib import clock
from serving_ui.model_hosts import commands, discovery
from serving_ui.model_hosts.host_spec import HostSpec
from serving_ui.model_hosts.models import FoundationModel, ModelHost
from tests.support.raw_server import RawServer, raw_server


class FakeHost:
    """An OpenAI-compatible server that lists the models that a test sets."""

    def __init__(self, server: RawServer) -> None:
        self.server = server
        self.lists("llama-3.1-8b", "nomic-embed-text")

    @property
    def base_url(self) -> str:
        return f"{self.server.url}/v1"

    @property
    def requests(self) -> list[bytes]:
        return self.server.requests

    def lists(self, *models: Any) -> None:
        entries = [each if isinstance(each, dict) else {"id": each, "object": "model"} for each in models]
        self.answers({"object": "list", "data": entries})

    def answers(self, content: Any, *, status: int = 200, head: str = "") -> None:
        """Bytes as they are, everything else as JSON."""
        is_raw = isinstance(content, bytes)
        body = content if is_raw else json.dumps(content).encode()
        kind = "" if is_raw else "Content-Type: application/json\r\n"
        start = f"HTTP/1.1 {status} X\r\n{kind}{head}Content-Length: {len(body)}\r\n\r\n"
        self.server.answer(start.encode() + body)


@pytest.fixture
def fake() -> Iterator[FakeHost]:
    with raw_server() as server:
        yield FakeHost(server)


@pytest.fixture
def add_host(admin: User, fake: FakeHost) -> Callable[..., ModelHost]:
    """A function that creates a host at the fake server."""

    def add(name: str = "gpu", **fields: Any) -> ModelHost:
        fields.setdefault("base_url", fake.base_url)
        return commands.create_host(
            spec=HostSpec.parsed({"name": name, **fields}), actor=admin, now=clock.now()
        )

    return add


def check(host: ModelHost) -> ModelHost:
    """Check the host once; returns its current row."""
    discovery.check_host(host.pk)
    return ModelHost.objects.get(pk=host.pk)


def deploy() -> None:
    """Run one reconcile step of every endpoint that is being updated."""
    for endpoint in Endpoint.objects.filter(pending__isnull=False):
        reconcile(endpoint_id=endpoint.pk, clock=clock.now)


def states() -> dict[str, str]:
    """`ready` by name of the endpoint, of all foundation models."""
    return dict(FoundationModel.objects.values_list("endpoint__name", "endpoint__ready"))


def age_models(**span: float) -> None:
    """Move the times at which models went into the past."""
    FoundationModel.objects.update(gone_since=F("gone_since") - timedelta(**span))
