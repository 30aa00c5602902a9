"""Concurrent changes by several programs, and repeated requests after a lost response."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from databricks.sdk import WorkspaceClient

from tests.api.clients.bodies import B, config, ready, wait_until_settled
from tests.api.clients.conftest import OWNER, Account
from tests.support.sandbox import SandboxServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]

MANY = 8


def all_at_once(call: Callable[[int], requests.Response]) -> list[requests.Response]:
    """The responses of calls that start at the same time."""
    barrier = threading.Barrier(MANY)

    def one(number: int) -> requests.Response:
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(one, range(MANY)))


def outcomes(answers: list[requests.Response]) -> Counter[str]:
    return Counter(str(answer.json().get("error_code", answer.status_code)) for answer in answers)


def test_exactly_one_of_several_concurrent_creates_succeeds(
    workspace: WorkspaceClient, owner: Account, name: str, secret: str
):
    answers = all_at_once(
        lambda number: owner.call("POST", B, {"name": name, "config": config(secret, model=f"gpt-{number}")})
    )
    assert outcomes(answers) == {"200": 1, "RESOURCE_ALREADY_EXISTS": MANY - 1}
    [won] = [answer.json() for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} == {200, 409}
    assert all(OWNER in answer.json()["message"] for answer in answers if answer.status_code == 409)
    assert wait_until_settled(workspace, name).id == won["id"]
    versions = owner.call("GET", f"{B}/{name}/config-versions").json()["config_versions"]
    assert len(versions) == 1


def test_exactly_one_of_several_concurrent_updates_succeeds(
    workspace: WorkspaceClient, owner: Account, provider: SandboxServer, name: str, secret: str
):
    ready(workspace, name, secret)
    provider.hold("models")
    answers = all_at_once(
        lambda number: owner.call("PUT", f"{B}/{name}/config", config(secret, model=f"gpt-{number}"))
    )
    assert outcomes(answers) == {"200": 1, "RESOURCE_CONFLICT": MANY - 1}
    [won] = [answer.json() for answer in answers if answer.status_code == 200]
    provider.release("models")
    wait_until_settled(workspace, name)
    now = owner.call("GET", f"{B}/{name}").json()
    assert now["config"]["config_version"] == 2
    models = [each["external_model"]["name"] for each in now["config"]["served_entities"]]
    assert models == [each["external_model"]["name"] for each in won["pending_config"]["served_entities"]]


def test_concurrent_changes_of_tags_are_all_applied(
    workspace: WorkspaceClient, owner: Account, name: str, secret: str
):
    ready(workspace, name, secret)
    answers = all_at_once(
        lambda number: owner.call(
            "PATCH", f"{B}/{name}/tags", {"add_tags": [{"key": f"t{number}", "value": "x"}]}
        )
    )
    assert outcomes(answers) == {"200": MANY}
    tags = owner.call("GET", f"{B}/{name}").json()["tags"]
    assert [tag["key"] for tag in tags] == [f"t{number}" for number in range(MANY)]


def test_a_repeated_create_says_that_the_endpoint_exists_with_the_same_config(
    workspace: WorkspaceClient, owner: Account, other: Account, name: str, secret: str
):
    ready(workspace, name, secret)
    same = owner.call("POST", B, {"name": name, "config": config(secret)})
    assert (same.status_code, same.json()["error_code"]) == (409, "RESOURCE_ALREADY_EXISTS")
    assert OWNER in same.json()["message"]
    assert "is the same" in same.json()["message"]
    differs = owner.call("POST", B, {"name": name, "config": config(secret, model="gpt-4o")})
    assert "differs" in differs.json()["message"]
    theirs = config("")
    theirs["served_entities"][0]["external_model"]["openai_config"] = {"openai_api_key_plaintext": "sk-other"}
    hidden = other.call("POST", B, {"name": name, "config": theirs})
    assert (hidden.status_code, OWNER in hidden.text) == (409, False)


def test_repeated_creates_with_an_idempotency_key_create_one_endpoint(
    workspace: WorkspaceClient, owner: Account, name: str, secret: str
):
    body = {"name": name, "config": config(secret)}
    key = {"Idempotency-Key": f"key-of-{name}"}
    first = owner.call("POST", B, body, headers=key)
    assert first.status_code == 200
    again = owner.call("POST", B, body, headers=key)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    changed = owner.call("POST", B, {**body, "description": "another"}, headers=key)
    assert changed.status_code == 400
    assert "Idempotency-Key" in changed.json()["message"]
    wait_until_settled(workspace, name)
    late = owner.call("POST", B, body, headers=key)
    assert (late.status_code, late.json()["id"]) == (200, first.json()["id"])


def test_concurrent_creates_with_one_idempotency_key_create_one_endpoint(
    owner: Account, name: str, secret: str
):
    body, key = {"name": name, "config": config(secret)}, {"Idempotency-Key": f"race-of-{name}"}
    answers = all_at_once(lambda _number: owner.call("POST", B, body, headers=key))
    made = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    assert len(made) >= 1
    assert len(set(made)) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
