"""Endpoints on PostgreSQL and Redis with two servers, also while one of the services is stopped."""

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
"""Seconds; less than CHECK_DEADLINE_SECONDS, after which an update that no worker resumes would fail."""


def deployed(owner: Person, provider: SandboxServer, name: str) -> str:
    owner.create(name, base=provider.base)
    owner.wait_for_state(name, "Ready")
    return name


def test_the_tests_of_the_domain_pass_on_postgresql(postgresql: Database):
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


def test_usage_is_ingested_once_although_the_worker_is_killed_at_every_step(
    postgresql: Database, tmp_path: Path
):
    kill_at_every_step(
        SERVING_UI_DATA=str(tmp_path), SERVING_UI_DATABASE_URL=postgresql.another("killed_at_every_step")
    )


def test_an_endpoint_is_created_updated_and_cancelled(owner: Person, provider: SandboxServer):
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


def test_a_deployment_continues_after_its_worker_was_killed(
    product: Product, owner: Person, provider: SandboxServer
):
    name = deployed(owner, provider, "killed")
    provider.hold("models")
    owner.edit(name, base=provider.base, model="gpt-4o")
    provider.wait_for("models")
    product.kill(WORKER)
    provider.release("models")
    assert owner.wait_for_state(name, "Ready") < SOON
    assert owner.query(name).model == "gpt-4o"


def test_gateways_answer_while_postgresql_is_stopped_and_follow_it_afterwards(
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


def test_an_update_survives_a_restart_of_postgresql(
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


def test_an_update_is_accepted_while_redis_is_stopped_and_completes_afterwards(
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


def test_an_update_is_accepted_while_redis_is_suspended_and_completes_afterwards(
    broker: Broker, owner: Person, provider: SandboxServer
):
    name = deployed(owner, provider, "unanswered")
    with broker.service.suspended():
        owner.edit(name, base=provider.base, model="gpt-4o")
        assert owner.state(name) == "Ready (Updating)"
    owner.wait_for_state(name, "Ready", seconds=120)
    assert owner.query(name).model == "gpt-4o"


def test_every_gateway_serves_the_new_config_when_the_endpoint_is_ready(
    owner: Person, second: Person, provider: SandboxServer
):
    name = deployed(owner, provider, "both")
    for model in ("gpt-4o", "gpt-5", "gpt-4"):
        owner.edit(name, base=provider.base, model=model)
        wait_until(lambda: owner.state(name) != "Ready (Updating)", what="the update to settle")
        assert second.query(name).model == owner.query(name).model == model


def test_a_suspended_gateway_does_not_block_an_update(owner: Person, second: Person, provider: SandboxServer):
    name = deployed(owner, provider, "still")
    process = second.product.program.process.pid
    with suspended(process):
        owner.edit(name, base=provider.base, model="gpt-4o")
        assert owner.wait_for_state(name, "Ready") < SOON
    wait_until(lambda: second.query(name).model == "gpt-4o", what="the other gateway to catch up")


def test_a_revoked_token_is_refused_by_every_gateway_when_the_call_returns(owner: Person, second: Person):
    for number in range(5):
        token = owner.new_token(f"short {number}")
        assert [each.query("sandbox-chat", token=token).status for each in (owner, second)] == [200, 200]
        owner.revoke_token(f"short {number}")
        assert [each.query("sandbox-chat", token=token).status for each in (owner, second)] == [401, 401]
