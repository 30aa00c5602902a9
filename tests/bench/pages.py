"""Server time of the pages at 1,000 endpoints: `python -m tests.bench.pages`. Prints medians; asserts nothing.

Requests go through Django's whole stack (sessions, policy, templates) in one process, on SQLite in a file, so that the time
is only that of the server's code. The budgets are those of the README.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

ENDPOINTS = 1_000
ROUNDS = 60


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        os.environ["SERVING_UI_DATA"] = data
        os.environ["DJANGO_SETTINGS_MODULE"] = "serving_ui.settings"
        import django

        django.setup()
        from django.conf import settings
        from django.core.management import call_command
        from django.db import connection
        from django.test import Client

        settings.ALLOWED_HOSTS.append("testserver")
        call_command("migrate", verbosity=0)
        call_command("collectstatic", verbosity=0, interactive=False)
        user = fill()
        client = Client()
        client.force_login(user)
        print(f"{'page':28}{'median ms':>10}{'p95 ms':>10}{'budget ms':>11}{'kB':>8}")
        for name, budget, call in calls(client):
            times, size = measure(call)
            p95 = times[int(len(times) * 0.95)]
            print(f"{name:28}{statistics.median(times):10.1f}{p95:10.1f}{budget:11.0f}{size / 1000:8.1f}")
        connection.close()


def calls(client: Any) -> list[tuple[str, float, Callable[[], object]]]:
    """(name, budget in milliseconds, request) of each measurement."""
    form = {
        "name": "new",
        "provider": "openai",
        "task": "llm/v1/chat",
        "openai__openai_api_type": "azure",
    }
    return [
        (
            "form redraw",
            15,
            lambda: client.post("/ml/endpoints/create/fields", form, headers={"HX-Request": "true"}),
        ),
        ("list", 40, lambda: client.get("/ml/endpoints")),
        ("list, searched", 40, lambda: client.get("/ml/endpoints?search=endpoint-77")),
        ("endpoint's page", 40, lambda: client.get("/ml/endpoints/endpoint-500")),
        ("polled state, unchanged", 40, lambda: client.get("/ml/endpoints/endpoint-500/state?v=1")),
    ]


def measure(call: Callable[[], object]) -> tuple[list[float], int]:
    """Sorted milliseconds of each round after a warm-up, and the size of the answer in bytes."""
    answer = call()
    assert getattr(answer, "status_code", 0) in (200, 204), answer
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return sorted(times), len(getattr(answer, "content", b""))


def fill() -> Any:
    """A person with ENDPOINTS endpoints, each with an active config, tags and events."""
    from serving_ui.accounts.commands import ensure_user
    from serving_ui.catalogue.spec import parse_endpoint
    from serving_ui.endpoints import commands
    from serving_ui.endpoints.models import ConfigVersion
    from serving_ui.endpoints.transitions import succeed
    from serving_ui.lib import clock
    from serving_ui.revisions.changes import bump_revision

    user = ensure_user(email="owner@example.com", admin=True)
    block = {"openai_api_key_plaintext": "sk-bench"}
    model = {"provider": "openai", "name": "gpt-4o", "task": "llm/v1/chat", "openai_config": block}
    for number in range(ENDPOINTS):
        body = {
            "name": f"endpoint-{number}",
            "config": {"served_entities": [{"name": "chat", "external_model": model}]},
            "tags": [{"key": "team", "value": str(number % 7)}],
        }
        made = commands.create_endpoint(spec=parse_endpoint(body), actor=user, now=clock.now())
        version = ConfigVersion.objects.get(endpoint=made)
        succeed(made, version, now=clock.now())
    bump_revision()
    return user


if __name__ == "__main__":
    main()
