"""Machines whose clocks differ: liveness, leases and due times are measured by the database's clock alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest
import requests

from serving_ui.endpoints import leases
from tests.organisation.conftest import Broker, Database
from tests.support import separate_processes
from tests.support.clocks import Clock
from tests.support.gateways import Gateways, running_gateways
from tests.support.product import Person, Product
from tests.support.sandbox import SandboxServer
from tests.support.suspending import suspended
from tests.support.waiting import is_alive, pass_time, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
HOUR = 3600.0
SOON = 120.0
_NUMBERS = count(1)


@contextmanager
def gateways(product: Product, folder: Path, *, ahead: float) -> Iterator[Gateways]:
    """Two processes on a machine with another clock."""
    env = {**product.env, "SERVING_UI_PORT": str(product.port), **Clock(folder, ahead=ahead).env}
    with running_gateways(env=env) as started:
        yield started


class Changes:
    """Changes a rate limit through the API, and returns the warnings."""

    def __init__(self, product: Product, name: str) -> None:
        self._url = f"{product.url}/api/2.0/serving-endpoints/{name}/rate-limits"
        self._head = {
            "Authorization": f"Bearer {product.command('create_token', 'a@example.com', '--admin')}"
        }

    def make(self) -> list[str]:
        limits = {"rate_limits": [{"key": "user", "calls": 1000 + next(_NUMBERS)}]}
        answer = requests.put(self._url, json=limits, headers=self._head, timeout=60)
        assert answer.status_code == 200, answer.text
        warnings: list[str] = answer.json().get("warnings", [])
        return warnings


def deploy(owner: Person, provider: SandboxServer) -> str:
    name = f"clocks-{next(_NUMBERS)}"
    owner.create(name, base=provider.base)
    owner.wait_for_state(name, "Ready", seconds=SOON)
    return name


@pytest.mark.parametrize("ahead", [HOUR, 300.0])
def test_a_killed_gateway_whose_clock_was_ahead_is_not_waited_for(
    product: Product, owner: Person, provider: SandboxServer, tmp_path: Path, ahead: float
):
    changes = Changes(product, deploy(owner, provider))
    with gateways(product, tmp_path, ahead=ahead) as started:
        killed = started.program.descendants()
        started.program.signal(signal.SIGKILL)
        for process in killed:
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, killed)), what="the exit of all processes")
    wait_until(lambda: not changes.make(), what="the killed processes not to be waited for", seconds=SOON)
    assert not changes.make()
    assert deploy(owner, provider)


@pytest.mark.parametrize("ahead", [-3.5, -HOUR, HOUR])
def test_a_gateway_with_another_clock_is_waited_for(
    product: Product, owner: Person, provider: SandboxServer, tmp_path: Path, ahead: float
):
    """A process whose last heartbeat is more than a second older than the change is not named, so the test may need several attempts."""
    changes = Changes(product, deploy(owner, provider))
    with gateways(product, tmp_path, ahead=ahead) as started:
        assert not changes.make()
        process = min(started.workers())

        def is_named() -> bool:
            wait_until(lambda: not changes.make(), what="no late process")
            with suspended(started.program.process.pid, process):
                return any(f"-{process}-" in each for each in changes.make())

        wait_until(is_named, what="the process to be suspended just after a heartbeat", seconds=SOON)


@pytest.fixture
def server_only_product(postgresql: Database, broker: Broker, tmp_path: Path) -> Iterator[Product]:
    """A product of the test's own, of which only the server runs, with the right time."""
    settings = {
        "SERVING_UI_DATABASE_URL": postgresql.another(f"clocks_{next(_NUMBERS)}"),
        "SERVING_UI_BROKER_URL": broker.url.removesuffix("/0") + "/7",
    }
    made = Product(tmp_path, **settings)
    separate_processes.prepare(made)
    with separate_processes.running_server(made):
        yield made


@pytest.mark.parametrize("ahead", [90.0, -90.0, HOUR, -HOUR])
def test_a_worker_with_another_clock_deploys_and_retries(
    server_only_product: Product, provider: SandboxServer, tmp_path: Path, ahead: float
):
    wrong = Clock(tmp_path, ahead=ahead)
    with ExitStack() as started:
        started.enter_context(
            separate_processes.run_process(server_only_product, separate_processes.WORKER, env=wrong.env)
        )
        started.enter_context(separate_processes.run_process(server_only_product, separate_processes.BEAT))
        owner = started.enter_context(server_only_product.person("a@example.com"))
        name = deploy(owner, provider)
        provider.set_faults(on="models", status=503)
        owner.edit(name, base=provider.base, model="gpt-4o")
        provider.wait_for("models", count=3, seconds=SOON)
        provider.reset()
        owner.wait_for_state(name, "Ready", seconds=SOON)
        assert owner.query(name).model == "gpt-4o"


@pytest.mark.smoke
def test_two_workers_whose_clocks_differ_check_each_endpoint_once(
    server_only_product: Product, provider: SandboxServer, tmp_path: Path
):
    """Neither takes over an update that the other one is working on."""
    wrong = Clock(tmp_path, ahead=HOUR)
    with ExitStack() as started:
        for env in (wrong.env, {}):
            started.enter_context(
                separate_processes.run_process(server_only_product, separate_processes.WORKER, env=env)
            )
            started.enter_context(
                separate_processes.run_process(server_only_product, separate_processes.BEAT, env=env)
            )
        owner = started.enter_context(server_only_product.person("a@example.com"))
        names = [f"shared-{number}" for number in range(4)]
        provider.hold("models")
        before = len(provider.requests("models"))
        for name in names:
            owner.create(name, base=provider.base)
        provider.wait_for("models", count=before + len(names), seconds=SOON)
        pass_time(3 * leases.LEASE.total_seconds())
        provider.release("models")
        for name in names:
            owner.wait_for_state(name, "Ready", seconds=SOON)
        assert len(provider.requests("models")) == before + len(names)
