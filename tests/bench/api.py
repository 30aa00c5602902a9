"""The API at 10,000 endpoints, over HTTP: `python -m tests.bench.api`. Prints times beside their budgets; asserts nothing.

The server runs in its own process on a SQLite file, without a worker. The client reads the whole response; the time of the first
byte shows that the list is streamed.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.support.server_alone import ServerAlone

ENDPOINTS = 10_000
ROUNDS = 300
LISTS = 7


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        alone = ServerAlone(Path(data))
        alone.command("migrate", "--verbosity", "0")
        token = alone.command("create_token", "owner@example.com")
        os.environ["SERVING_UI_DATA"] = data
        os.environ["DJANGO_SETTINGS_MODULE"] = "serving_ui.settings"
        import django

        django.setup()
        fill()
        with alone.up(), requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {token}"
            address = f"{alone.url}/api/2.0/serving-endpoints"
            lists = [listed(session, address) for _ in range(LISTS)]
            gets = [got(session, f"{address}/endpoint-{number * 31 % ENDPOINTS}") for number in range(ROUNDS)]
    print(f"{ENDPOINTS:,} endpoints, {lists[0][2] / 1e6:.1f} MB")
    print(f"{'':24}{'median':>10}{'worst':>10}{'budget':>10}")
    row("list, first byte", [first for first, _whole, _size in lists], None)
    row("list, whole", [whole for _first, whole, _size in lists], 1500)
    row("get", sorted(gets), 15)


def row(name: str, milliseconds: list[float], budget: float | None) -> None:
    shown = f"{budget:8.0f} ms" if budget else ""
    print(f"{name:24}{statistics.median(milliseconds):7.1f} ms{max(milliseconds):7.1f} ms{shown:>10}")


def listed(session: requests.Session, address: str) -> tuple[float, float, int]:
    """Milliseconds until the first and until the last byte, and the size."""
    start, first, size = time.perf_counter(), 0.0, 0
    with session.get(address, stream=True, timeout=60) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_content(65536):
            first = first or time.perf_counter()
            size += len(piece)
    return (first - start) * 1000, (time.perf_counter() - start) * 1000, size


def got(session: requests.Session, address: str) -> float:
    start = time.perf_counter()
    answer = session.get(address, timeout=60)
    assert answer.status_code == 200, answer.text
    return (time.perf_counter() - start) * 1000


def fill() -> None:
    """Create one endpoint through the API; the others are copies of its rows."""
    from serving_ui.accounts.models import User
    from serving_ui.catalogue.spec import parse_endpoint
    from serving_ui.endpoints import commands
    from serving_ui.endpoints.models import ConfigVersion, Endpoint, new_id
    from serving_ui.endpoints.transitions import succeed
    from serving_ui.lib import clock

    made = commands.create_endpoint(
        spec=parse_endpoint(BODY), actor=User.objects.get(email="owner@example.com"), now=clock.now()
    )
    succeed(made, ConfigVersion.objects.get(endpoint=made), now=clock.now())
    original = Endpoint.objects.values().get(pk=made.pk)
    version = ConfigVersion.objects.values().get(endpoint=made)
    for numbers in (range(at, min(at + 1000, ENDPOINTS)) for at in range(1, ENDPOINTS, 1000)):
        rows = [
            _copy(Endpoint, original, id=new_id(), name=f"endpoint-{n}", active_id=None, latest_id=None)
            for n in numbers
        ]
        Endpoint.objects.bulk_create(rows)
        versions = [_copy(ConfigVersion, version, id=None, endpoint_id=each.pk) for each in rows]
        for each, its in zip(rows, ConfigVersion.objects.bulk_create(versions), strict=True):
            each.active_id = each.latest_id = its.pk
        Endpoint.objects.bulk_update(rows, ["active", "latest"], batch_size=200)


def _copy(model: Any, values: Mapping[str, Any], **changes: Any) -> Any:
    return model(**{**values, **changes})


MODEL = {
    "provider": "openai",
    "name": "gpt-4o",
    "task": "llm/v1/chat",
    "openai_config": {"openai_api_key_plaintext": "sk-bench"},
}
BODY = {
    "name": "endpoint-0",
    "config": {"served_entities": [{"name": "chat", "external_model": MODEL}]},
    "tags": [{"key": "team", "value": "search"}],
    "rate_limits": [{"calls": 100, "key": "user"}],
}

if __name__ == "__main__":
    main()
