"""Usage of several gateway processes that are restarted and killed: every answer is counted exactly once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.journeys.conftest import Deploy
from tests.journeys.test_gateway_alone import load
from tests.journeys.test_usage import SOON, different, in_minutes, rows, spool_is_empty
from tests.support.gateways import Gateways, running_gateways
from tests.support.product import Person, Product
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def gateways(product: Product) -> Iterator[Gateways]:
    env = {**product.env, "SERVING_UI_PORT": str(product.port)}
    with running_gateways(env=env) as started:
        yield started


def counted(session: requests.Session, url: str, token: str, name: str) -> float:
    """The number of requests of an endpoint in the metrics of all processes, read from one of them."""
    answer = session.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=60)
    answer.raise_for_status()
    return sum(
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "serving_ui_requests_total" and sample.labels["endpoint"] == name
    )


def test_a_rolling_restart_loses_no_row_and_no_count(
    product: Product, gateways: Gateways, owner: Person, deploy: Deploy
):
    name = deploy()
    admin = product.command("create_token", "metrics@example.com", "--admin")
    with load(gateways, name, owner.token) as callers:
        callers.wait_for_more()
        before = gateways.workers()
        gateways.program.signal(signal.SIGHUP)
        wait_until(lambda: gateways.workers().isdisjoint(before), what="other workers alone", seconds=SOON)
        callers.wait_for_more()
    assert callers.failures == []
    wait_until(lambda: rows(product, name) >= callers.answered, what="all rows", seconds=SOON)
    assert rows(product, name) == different(product, name) == in_minutes(product, name) == callers.answered
    with gateways.sessions() as sessions:
        for session in sessions.values():
            wait_until(
                lambda session=session: counted(session, gateways.url, admin, name) == callers.answered,  # type: ignore[misc]
                what="the sum of all processes",
            )


def test_every_answer_of_a_killed_gateway_has_a_row(
    product: Product, gateways: Gateways, owner: Person, deploy: Deploy
):
    """A row is written before the last byte of the answer, so each kill may leave a row without a complete answer for each caller."""
    name = deploy()
    with load(gateways, name, owner.token) as callers:
        for _kill in range(2):
            goal = callers.answered + 40
            wait_until(lambda goal=goal: callers.answered >= goal, what="40 more answers", seconds=SOON)  # type: ignore[misc]
            victim = min(gateways.workers())
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda victim=victim: victim not in gateways.workers(), what="its exit")  # type: ignore[misc]
            wait_until(lambda: len(gateways.workers()) == 2, what="its successor", seconds=SOON)
    answered = callers.answered - len(callers.failures)
    wait_until(lambda: rows(product, name) >= answered, what="all rows", seconds=SOON)
    wait_until(lambda: spool_is_empty(product), what="an empty spool", seconds=SOON)
    assert rows(product, name) == different(product, name) == in_minutes(product, name)
    assert answered <= rows(product, name) <= callers.answered
