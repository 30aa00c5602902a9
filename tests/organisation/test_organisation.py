"""The life of an endpoint on PostgreSQL and Redis, also while one of them is away, and with two gateways."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.organisation.conftest import Broker, Database
from tests.support.background_queries import query_in_background
from tests.support.product import WORKER, Person, Product
from tests.support.sandbox import SandboxServer
from tests.support.suspending import suspended
from tests.support.waiting import wait_until
from tests.usage.test_killed_worker import kill_at_every_step

pytestmark = pytest.mark.slow
SOON = 45.0
"""Seconds; less than CHECK_DEADLINE_SECONDS, after which an update that nobody drives would fail."""


def deployed(owner: Person, provider: SandboxServer, name: str) -> str:
    owner.create(name, base=provider.base)
    owner.wait_for_state(name, "Ready")
    return name


def test_the_rules_of_the_domain_hold_on_postgresql(postgresql: Database):
    tests = [
        "tests/endpoints",
        "tests/revisions",
        "tests/snapshots",
        "tests/accounts",
        "tests/vault",
        "tests/usage",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, "TEST_DATABASE_URL": postgresql.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]


def test_a_worker_may_be_killed_at_every_step_of_taking_usage_in(postgresql: Database, tmp_path: Path):
    kill_at_every_step(
        SERVING_UI_DATA=str(tmp_path), SERVING_UI_DATABASE_URL=postgresql.another("killed_at_every_step")
    )


def test_an_endpoint_lives_its_life(owner: Person, provider: SandboxServer):
    name = deployed(owner, provider, "life")
    with query_in_background(owner, name) as queries:
        provider.hold("models")
        owner.edit(name, base=provider.base, model="gpt-4o")
        provider.wait_for("models")
        queries.wait_for_more(50)
        assert queries.models == ["gpt-4"]
        owner.cancel(name)
        provider.release("models")
        wait_until(lambda: provider.report()["open"] == 0, what="the late worker to have its answer")
        assert owner.state(name) == "Ready (Update canceled)"
        owner.edit(name, base=provider.base, model="gpt-5")
        queries.wait_for_model("gpt-5")
    assert queries.models == ["gpt-4", "gpt-5"]
    assert queries.statuses == {200}


def test_a_killed_worker_costs_a_moment(product: Product, owner: Person, provider: SandboxServer):
    name = deployed(owner, provider, "killed")
    provider.hold("models")
    owner.edit(name, base=provider.base, model="gpt-4o")
    provider.wait_for("models")
    product.kill(WORKER)
    provider.release("models")
    assert owner.wait_for_state(name, "Ready") < SOON
    assert owner.query(name).model == "gpt-4o"


def test_gateways_answer_while_postgresql_is_away_and_follow_when_it_is_back(
    postgresql: Database, owner: Person, provider: SandboxServer
):
    name = deployed(owner, provider, "away")
    with query_in_background(owner, name) as queries:
        postgresql.service.stop()
        try:
            queries.wait_for_more(200)
            assert owner.get("/ml/endpoints").status_code >= 500
        finally:
            postgresql.service.start()
        owner.edit(name, base=provider.base, model="gpt-4o")
        owner.wait_for_state(name, "Ready")
        queries.wait_for_more()
    assert queries.models == ["gpt-4", "gpt-4o"]
    assert queries.statuses == {200}


def test_an_update_outlives_a_restart_of_postgresql_in_its_middle(
    postgresql: Database, owner: Person, provider: SandboxServer
):
    name = deployed(owner, provider, "restarted")
    provider.hold("models")
    owner.edit(name, base=provider.base, model="gpt-4o")
    provider.wait_for("models")
    postgresql.service.stop()
    try:
        provider.release("models")
        wait_until(lambda: provider.report()["open"] == 0, what="the worker to have its answer")
    finally:
        postgresql.service.start()
    owner.wait_for_state(name, "Ready")
    assert owner.query(name).model == "gpt-4o"


def test_an_update_is_accepted_while_redis_is_away_and_settles_when_it_is_back(
    broker: Broker, owner: Person, provider: SandboxServer
):
    name = deployed(owner, provider, "unheard")
    broker.service.stop(signal.SIGTERM)
    try:
        owner.edit(name, base=provider.base, model="gpt-4o")
        assert owner.state(name) == "Ready (Updating)"
    finally:
        broker.service.start()
    owner.wait_for_state(name, "Ready", seconds=120)
    assert owner.query(name).model == "gpt-4o"


def test_an_update_is_accepted_while_redis_takes_everything_and_says_nothing(
    broker: Broker, owner: Person, provider: SandboxServer
):
    name = deployed(owner, provider, "unanswered")
    with broker.service.suspended():
        owner.edit(name, base=provider.base, model="gpt-4o")
        assert owner.state(name) == "Ready (Updating)"
    owner.wait_for_state(name, "Ready", seconds=120)
    assert owner.query(name).model == "gpt-4o"


def test_ready_means_that_every_gateway_serves_the_new_config(
    owner: Person, second: Person, provider: SandboxServer
):
    name = deployed(owner, provider, "both")
    for model in ("gpt-4o", "gpt-5", "gpt-4"):
        owner.edit(name, base=provider.base, model=model)
        wait_until(lambda: owner.state(name) != "Ready (Updating)", what="the update to settle")
        assert second.query(name).model == owner.query(name).model == model


def test_a_gateway_that_stands_still_holds_an_update_up_for_a_moment_only(
    owner: Person, second: Person, provider: SandboxServer
):
    name = deployed(owner, provider, "still")
    process = second.product.program.process.pid
    with suspended(process):
        owner.edit(name, base=provider.base, model="gpt-4o")
        assert owner.wait_for_state(name, "Ready") < SOON
    wait_until(lambda: second.query(name).model == "gpt-4o", what="the other gateway to catch up")


def test_an_ended_token_is_refused_by_every_gateway_at_once(owner: Person, second: Person):
    for number in range(5):
        token = owner.new_token(f"short {number}")
        assert [each.query("sandbox-chat", token=token).status for each in (owner, second)] == [200, 200]
        owner.revoke_token(f"short {number}")
        assert [each.query("sandbox-chat", token=token).status for each in (owner, second)] == [401, 401]
