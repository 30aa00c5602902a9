"""Credential checks of an endpoint with several served entities: each provider has its own timeout."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from threading import Thread
from typing import Any

import pytest

from serving_ui.accounts.models import User
from serving_ui.backends import transport
from serving_ui.catalogue.spec import parse_endpoint
from serving_ui.endpoints import commands
from serving_ui.endpoints import reconcile as reconciling
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.models import EndpointEvent
from serving_ui.lib import clock
from tests.conftest import openai_body
from tests.endpoints.conftest import settle
from tests.endpoints.test_rules import settle_in_thread
from tests.support.sandbox import SandboxServer
from tests.support.vendor import Answer, Vendor, running_vendor
from tests.support.waiting import DEADLINE, free_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def silent_vendor() -> Iterator[Vendor]:
    """A provider that does not answer."""
    with running_vendor() as server:
        server.set_answers(Answer(gate=threading.Event()))
        yield server


def two_entities(first: str, second: str) -> dict[str, Any]:
    """The body of an endpoint with the entities `first` and `second` at these base URLs."""
    entities = [
        openai_body(base=base)["config"]["served_entities"][0] | {"name": name}
        for name, base in (("first", first), ("second", second))
    ]
    routes = [{"served_entity_name": each["name"], "traffic_percentage": 50} for each in entities]
    config = {"served_entities": entities, "traffic_config": {"routes": routes}}
    return openai_body() | {"config": config}


def test_every_entity_is_checked_and_the_failed_one_is_named(owner: User, sandbox: SandboxServer):
    made = parse_endpoint(two_entities(sandbox.base, f"http://127.0.0.1:{free_port()}/v1"), several=True)
    waiting = settle(commands.create_endpoint(spec=made, actor=owner, now=clock.now()))
    assert waiting.config_update == "IN_PROGRESS"
    assert waiting.versions.get().message.startswith("second: ")
    commands.cancel_update(name="chat", actor=owner, now=clock.now())
    config = parse_endpoint(two_entities(sandbox.base, sandbox.base), several=True).config
    commands.edit_endpoint(name="chat", changes=EndpointChanges(config=config), actor=owner, now=clock.now())
    ready = settle(waiting)
    verified = EndpointEvent.objects.filter(endpoint=ready, type="SERVED_ENTITY_VERIFIED_EVENT")
    assert sorted(verified.values_list("entity", flat=True)) == ["first", "second"]


@pytest.fixture
def short_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "Calls", partial(transport.Calls, seconds=4))


@pytest.mark.usefixtures("short_checks")
@pytest.mark.parametrize(("status", "state"), [(200, "IN_PROGRESS"), (401, "UPDATE_FAILED")])
def test_a_provider_that_does_not_answer_leaves_the_next_one_its_full_timeout(
    owner: User, sandbox: SandboxServer, silent_vendor: Vendor, status: int, state: str
):
    sandbox.set_faults(on="models", status=status)
    body = two_entities(f"{silent_vendor.url}/v1", sandbox.base)
    made = commands.create_endpoint(spec=parse_endpoint(body, several=True), actor=owner, now=clock.now())
    after = settle(made)
    assert len(sandbox.requests("models")) == 1
    assert after.config_update == state
    assert after.versions.get().message.startswith("first: " if status == 200 else "second: ")


def test_after_a_cancelled_update_no_further_provider_is_called(
    owner: User, sandbox: SandboxServer, silent_vendor: Vendor
):
    body = two_entities(f"{silent_vendor.url}/v1", sandbox.base)
    made = commands.create_endpoint(spec=parse_endpoint(body, several=True), actor=owner, now=clock.now())
    step = Thread(target=settle_in_thread, args=(made,))
    step.start()
    (request,) = silent_vendor.wait_for(1)
    commands.cancel_update(name="chat", actor=owner, now=clock.now())
    assert request.gone.wait(DEADLINE)
    step.join(DEADLINE)
    assert not sandbox.requests("models")
