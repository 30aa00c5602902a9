"""How long a change takes until all gateway processes serve it: `python -m tests.bench.in_force [--endpoints 10000] [--workers 2] [--postgresql]`.

First the parts, in one process: a complete snapshot, an incremental one, the snapshot cache on disk. Then over HTTP, with the
server and some gateway processes: how long a change waits until each of them serves it (the answer's Server-Timing header), and
the whole call. Asserts nothing about time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from tests.bench import api
from tests.support.gateways import running_gateways
from tests.support.server_alone import ServerAlone
from tests.support.services import running_postgresql

ROUNDS = 40


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoints", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--postgresql", action="store_true")
    options = parser.parse_args()
    api.ENDPOINTS = options.endpoints
    with tempfile.TemporaryDirectory() as data, database(options.postgresql) as url:
        if url:
            os.environ["SERVING_UI_DATABASE_URL"] = url
        alone = Server(Path(data))
        alone.command("migrate", "--verbosity", "0")
        token = alone.command("create_token", "owner@example.com", "--admin")
        os.environ["SERVING_UI_DATA"] = data
        os.environ["DJANGO_SETTINGS_MODULE"] = "serving_ui.settings"
        import django

        django.setup()
        api.fill()
        print(f"{options.endpoints:,} endpoints, {'PostgreSQL' if url else 'SQLite'}")
        measure_parts()
        with alone.up(), running_gateways(env=alone.env, size=options.workers):
            measure_from_outside(alone.url, token, processes=options.workers + 1)


class Server(ServerAlone):
    """With the database of this run."""

    @property
    def env(self) -> dict[str, str]:
        url = os.environ.get("SERVING_UI_DATABASE_URL", "")
        return {**super().env, **({"SERVING_UI_DATABASE_URL": url} if url else {})}


@contextlib.contextmanager
def database(is_postgresql: bool) -> Iterator[str]:
    if not is_postgresql:
        yield ""
        return
    with running_postgresql() as (_service, url):
        yield url


def measure_parts() -> None:
    from django.conf import settings
    from django.db import connections

    from serving_ui.endpoints.models import Endpoint
    from serving_ui.revisions.changes import Subject, bump_revision
    from serving_ui.snapshots import snapshot_cache
    from serving_ui.snapshots.builder import SnapshotBuilder

    builder = SnapshotBuilder()
    row("a snapshot built whole", [timed(builder.build)])
    ids = list(Endpoint.objects.values_list("pk", flat=True)[:ROUNDS])
    following = []
    for pk in ids:
        bump_revision(Subject.ENDPOINT, pk)
        following.append(timed(builder.build))
    row("one that follows a change", following)
    made, path = builder.build(), settings.SNAPSHOT_CACHE
    row("the copy, written", [timed(lambda: snapshot_cache.save(made, path=path, pause=time.sleep))])
    row("the copy, read", [timed(lambda: snapshot_cache.load(path=path))])
    print(f"{'the copy':36}{path.stat().st_size / 1e6:7.1f} MB")
    connections.close_all()


def measure_from_outside(url: str, token: str, *, processes: int) -> None:
    print(f"changes from outside, {processes} gateway processes: waited for all of them, and the whole call")
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        session.post(f"{url}/api/2.0/secrets/scopes/create", json={"scope": "bench"}, timeout=30)
        for name, change in CHANGES.items():
            waits, calls = [], []
            for number in range(ROUNDS):
                method, path, body = change(number)
                began = time.perf_counter()
                answer = session.request(method, f"{url}/api/2.0/{path}", json=body, timeout=30)
                calls.append((time.perf_counter() - began) * 1000)
                assert answer.ok, answer.text
                assert "warnings" not in answer.json(), answer.text
                found = re.search(r"in-force;dur=([\d.]+)", answer.headers["server-timing"])
                assert found
                waits.append(float(found[1]))
            row(f"  {name}, waited", waits)
            row(f"  {name}, whole", calls)


CHANGES: dict[str, Callable[[int], tuple[str, str, dict[str, Any]]]] = {
    "a limit": lambda n: (
        "PUT",
        f"serving-endpoints/endpoint-{n}/rate-limits",
        {"rate_limits": [{"key": "user", "calls": n}]},
    ),
    "a token": lambda n: ("POST", "token/create", {"comment": f"token {n}"}),
    "a secret": lambda n: (
        "POST",
        "secrets/put",
        {"scope": "bench", "key": "key", "string_value": f"value {n}"},
    ),
}


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def row(name: str, milliseconds: list[float]) -> None:
    worst = f"{max(milliseconds):10.1f} ms at most" if len(milliseconds) > 1 else ""
    print(f"{name:36}{statistics.median(milliseconds):7.1f} ms{worst}")


if __name__ == "__main__":
    main()
