"""Updates complete although processes are killed and messages are lost."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.conftest import Deploy
from tests.support.background_queries import query_in_background
from tests.support.product import BEAT, SERVER, WORKER, Person, Product
from tests.support.sandbox import SandboxServer
from tests.support.suspending import suspended
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


def messages(product: Product) -> list[Path]:
    return list((product.data / "broker" / "messages").glob("*.msg"))


def test_a_deployment_continues_after_its_worker_was_killed(
    product: Product, owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    before = len(provider.requests("models"))
    provider.hold("models")
    owner.edit(name, base=provider.base, model="gpt-4o")
    provider.wait_for("models", count=before + 1)
    killed = product.kill(WORKER)
    wait_until(lambda: provider.requests("models")[-1]["gone"], what="the check to be abandoned")
    provider.release("models")
    assert owner.state(name) == "Ready (Updating)"
    owner.wait_for_state(name, "Ready")
    assert product.process(WORKER) != killed
    assert owner.query(name).model == "gpt-4o"
    assert owner.get(f"/ml/endpoints/{name}?tab=versions").text.count("Replaced") == 1


def test_an_update_completes_after_the_server_was_killed(
    product: Product, owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    provider.hold("models")
    owner.edit(name, base=provider.base, model="gpt-4o")
    provider.wait_for("models")
    killed = product.kill(SERVER)
    provider.release("models")
    product.wait_for_replacement(SERVER, killed)
    wait_until(lambda: owner.query(name).status == 200, what="the gateway to answer again")
    owner.wait_for_state(name, "Ready")
    assert owner.query(name).model == "gpt-4o"


def test_a_killed_beat_is_replaced_and_the_sweep_continues(
    product: Product, owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    killed = product.kill(BEAT)
    product.wait_for_replacement(BEAT, killed)
    lose_messages_of(product, lambda: owner.edit(name, base=provider.base, model="gpt-4o"))
    owner.wait_for_state(name, "Ready")


def test_an_update_whose_message_was_lost_is_found_by_the_sweep(
    product: Product, owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    lose_messages_of(product, lambda: owner.edit(name, base=provider.base, model="gpt-4o"))
    owner.wait_for_state(name, "Ready")
    assert owner.query(name).model == "gpt-4o"


def lose_messages_of(product: Product, action: Callable[[], object]) -> None:
    """Performs the action while the worker is suspended, and deletes the messages that it sent to the worker."""
    with suspended(product.program.process.pid, product.process(WORKER)):
        action()
        assert messages(product)
        for message in messages(product):
            message.unlink()


@pytest.mark.parametrize("content", [b"", b'{"body":', b"\xff\xfe"])
def test_a_broken_message_does_not_stop_the_worker(
    product: Product, owner: Person, provider: SandboxServer, deploy: Deploy, content: bytes
):
    """A message file is broken when the server was killed while writing it, or has not finished writing it."""
    name = deploy()
    before = product.process(WORKER)
    with suspended(product.program.process.pid, before):
        broken = product.data / "broker" / "messages" / "1_broken.celery.msg"
        broken.write_bytes(content)
    wait_until(lambda: not broken.exists(), what="the message to be taken")
    owner.edit(name, base=provider.base, model="gpt-4o")
    owner.wait_for_state(name, "Ready")
    assert product.process(WORKER) == before


def test_an_update_completes_after_all_processes_were_killed_at_once(
    product: Product, owner: Person, provider: SandboxServer, deploy: Deploy
):
    name = deploy()
    provider.hold("models")
    owner.edit(name, base=provider.base, model="gpt-4o")
    provider.wait_for("models")
    for part in (BEAT, WORKER, SERVER):
        os.kill(product.process(part), signal.SIGKILL)
    provider.release("models")
    wait_until(lambda: owner.query(name).status == 200, what="the gateway to answer again")
    owner.wait_for_state(name, "Ready")
    assert owner.query(name).model == "gpt-4o"


def test_the_gateway_answers_while_the_database_is_locked(product: Product, owner: Person, deploy: Deploy):
    name = deploy()
    with sqlite3.connect(product.data / "serving_ui.sqlite3", isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        with query_in_background(owner, name) as queries:
            queries.wait_for_more(200)
        database.execute("ROLLBACK")
    database.close()
    assert queries.statuses == {200}
