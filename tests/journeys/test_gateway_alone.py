"""`manage.py gateway`: its processes are stopped, killed and restarted without a failed request."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import requests

from tests.journeys.conftest import Deploy
from tests.support.gateways import Gateways, running_gateways
from tests.support.product import Person, Product
from tests.support.sandbox import SandboxServer
from tests.support.waiting import is_alive, wait_until

pytestmark = pytest.mark.slow
CALLERS = 4


@pytest.fixture
def gateways(product: Product) -> Iterator[Gateways]:
    env = {**product.env, "SERVING_UI_PORT": str(product.port)}
    with running_gateways(env=env) as started:
        yield started


@dataclass
class Load:
    """Callers that query repeatedly on keep-alive connections, every second time for a stream."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    closed_connections: int = 0

    def wait_for_more(self, count: int = 40) -> None:
        goal = self.answered + count
        wait_until(lambda: self.answered >= goal or self.failures, what=f"{count} more answers", seconds=120)


@contextmanager
def load(gateways: Gateways, name: str, token: str) -> Iterator[Load]:
    seen, over, lock = Load(), threading.Event(), threading.Lock()

    def call() -> None:
        with requests.Session() as session:
            turn = 0
            while not over.is_set():
                turn += 1
                fault = ""
                try:
                    answer = gateways.query(name, token, session=session, stream=turn % 2 == 0)
                    if answer.status_code != 200 or (turn % 2 == 0 and "data: [DONE]" not in answer.text):
                        fault = f"{answer.status_code} {answer.text[-200:]}"
                except requests.RequestException as error:
                    fault = repr(error)
                with lock:
                    seen.answered += 1
                    seen.closed_connections += not fault and answer.headers.get("connection") == "close"
                    if fault:
                        seen.failures.append(fault)

    callers = [threading.Thread(target=call, daemon=True) for _each in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield seen
    finally:
        over.set()
        for caller in callers:
            caller.join(30)


def test_a_rolling_restart_under_load_fails_no_request(gateways: Gateways, owner: Person, deploy: Deploy):
    name = deploy()
    with load(gateways, name, owner.token) as callers:
        callers.wait_for_more()
        for _round in range(2):
            before = gateways.workers()
            gateways.program.signal(signal.SIGHUP)
            wait_until(
                lambda before=before: len(now := gateways.workers()) == 2 and now.isdisjoint(before),  # type: ignore[misc]
                what="two other workers alone",
                seconds=120,
            )
            callers.wait_for_more()
    assert callers.failures == []
    assert callers.closed_connections > 0


def test_after_sigterm_a_running_answer_is_finished_and_no_connection_is_accepted(
    gateways: Gateways, owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    provider.hold("chat/completions")
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(gateways.query, name, owner.token)
        provider.wait_for("chat/completions")
        gateways.program.signal(signal.SIGTERM)
        wait_until(lambda: is_refused(gateways), what="the port to be closed")
        assert not late.done()
        provider.release("chat/completions")
        answer = late.result(timeout=60)
    assert answer.status_code == 200
    assert gateways.program.wait_for_exit(seconds=120) == 0
    assert "Traceback" not in gateways.program.text


def test_a_killed_worker_is_replaced(gateways: Gateways, owner: Person, deploy: Deploy):
    name = deploy()
    before = gateways.workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(gateways.workers() - before) == 1, what="another worker")
    with gateways.sessions() as sessions:
        for session in sessions.values():
            assert gateways.query(name, owner.token, session=session).status_code == 200
    assert "A worker was ended by SIGKILL; starting another." in gateways.program.err


def test_the_workers_of_a_killed_parent_end(gateways: Gateways):
    left = gateways.workers()
    gateways.program.signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, left)), what="every worker to be gone")


def test_another_path_is_404_with_an_explanation(gateways: Gateways):
    answer = requests.get(f"{gateways.url}/ml/endpoints", timeout=60)
    assert answer.status_code == 404
    assert "gateway only" in json.loads(answer.text)["message"]


def is_refused(gateways: Gateways) -> bool:
    try:
        gateways.readiness()
    except requests.ConnectionError:
        return True
    return False
