"""Rate limits of two servers: they count in one Redis, and each admits its share while Redis is stopped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any

import pytest

from tests.organisation.conftest import Broker
from tests.support.product import Person
from tests.support.sandbox import SandboxServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
MOST, QUERIES = 10, 40


def deployed(owner: Person, second: Person, provider: SandboxServer, name: str) -> str:
    owner.create(name, base=provider.base)
    owner.wait_for_state(name, "Ready")
    limits = owner.session.put(
        f"{owner.product.url}/api/2.0/serving-endpoints/{name}/rate-limits",
        json={"rate_limits": [{"key": "endpoint", "calls": MOST}]},
        headers={"Authorization": f"Bearer {owner.token}"},
        timeout=60,
    )
    assert limits.status_code == 200
    assert degraded(owner) == degraded(second) == []
    return name


def degraded(person: Person) -> list[Any]:
    """The problems that the server reports in `/readyz`."""
    found: list[Any] = person.get("/readyz").json()["degraded"]
    return found


def admitted(name: str, *people: Person) -> int:
    """The number of admitted queries of QUERIES concurrent ones to these servers in turn."""
    with ThreadPoolExecutor(8) as callers:
        statuses = list(callers.map(lambda who: who.query(name).status, islice(cycle(people), QUERIES)))
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


def test_two_servers_together_admit_exactly_the_limit(owner: Person, second: Person, provider: SandboxServer):
    name = deployed(owner, second, provider, "together")
    assert admitted(name, owner, second) == MOST
    assert admitted(name, second) == 0


def test_while_redis_is_stopped_each_server_admits_its_share_and_reports_it(
    broker: Broker, owner: Person, second: Person, provider: SandboxServer
):
    name = deployed(owner, second, provider, "shares")
    broker.service.stop()
    try:
        wait_until(lambda: degraded(owner) and degraded(second), what="both servers to notice")
        assert "share" in str(degraded(owner))
        assert [admitted(name, owner), admitted(name, second)] == [MOST / 2, MOST / 2]
        wait_until(
            lambda: "redis-is-down" in owner.get(f"/ml/endpoints/{name}").text, what="the warning on the page"
        )
    finally:
        broker.service.start()
    wait_until(lambda: not degraded(owner) and not degraded(second), what="both servers to be back")
    # Redis is empty after its restart; the calls that were admitted meanwhile still count.
    assert admitted(name, owner, second) == 0
