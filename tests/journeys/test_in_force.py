"""When the API call of a change returns, every gateway process serves the change. Tested with three processes."""

from __future__ import annotations

import contextlib
import json
import select
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import pytest
import requests

from tests.journeys.conftest import Deploy
from tests.support.gateways import Gateways, running_gateways
from tests.support.product import CHAT_REQUEST, Person, Product
from tests.support.sandbox import SandboxServer
from tests.support.suspending import suspended
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
ROUNDS = 3


@dataclass
class AllProcesses:
    """An admin at the API, and a connection to each process: the gateway in the server, and two of `manage.py gateway`."""

    product: Product
    session: requests.Session
    gateways: dict[str, tuple[str, requests.Session]]

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """An API call that must succeed, without a warning about a late gateway process."""
        answer = self.session.request(method, f"{self.product.url}/api/2.0/{path}", json=body, timeout=60)
        assert answer.ok, answer.text
        reply: dict[str, Any] = answer.json() if answer.content else {}
        assert "warnings" not in reply
        return reply

    def query(self, name: str, token: str) -> list[int]:
        """The status of one query at each process."""
        return [
            session.post(
                f"{url}/serving-endpoints/{name}/invocations",
                json=CHAT_REQUEST,
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,
            ).status_code
            for url, session in self.gateways.values()
        ]


@pytest.fixture
def gateways(product: Product) -> Iterator[Gateways]:
    with running_gateways(env={**product.env, "SERVING_UI_PORT": str(product.port)}) as started:
        yield started


@pytest.fixture
def processes(product: Product, gateways: Gateways) -> Iterator[AllProcesses]:
    token = product.command("create_token", "root@example.com", "--admin")
    with requests.Session() as admin, requests.Session() as server, gateways.sessions() as alone:
        admin.headers["Authorization"] = f"Bearer {token}"
        others = {name: (gateways.url, session) for name, session in alone.items()}
        yield AllProcesses(product, admin, {"server": (product.url, server), **others})


def test_a_limit_is_in_force_everywhere_when_the_call_returns(
    processes: AllProcesses, owner: Person, deploy: Deploy
):
    name = deploy()
    for _round in range(ROUNDS):
        processes.call(
            "PUT", f"serving-endpoints/{name}/rate-limits", rate_limits=[{"key": "user", "calls": 0}]
        )
        assert processes.query(name, owner.token) == [429] * 3
        processes.call("PUT", f"serving-endpoints/{name}/rate-limits", rate_limits=[])
        assert processes.query(name, owner.token) == [200] * 3


def test_a_token_is_in_force_everywhere_when_the_call_returns(processes: AllProcesses, deploy: Deploy):
    name = deploy()
    for _round in range(ROUNDS):
        made = processes.call("POST", "token/create", comment="short")
        assert processes.query(name, made["token_value"]) == [200] * 3
        processes.call("POST", "token/delete", token_id=made["token_info"]["token_id"])
        assert processes.query(name, made["token_value"]) == [401] * 3


def test_group_membership_is_in_force_everywhere_when_the_call_returns(
    processes: AllProcesses, deploy: Deploy
):
    name = deploy()
    token = processes.product.command("create_token", "member@example.com")
    users = processes.call("GET", "preview/scim/v2/Users")["Resources"]
    member = next(each["id"] for each in users if each["userName"] == "member@example.com")
    group = processes.call("POST", "preview/scim/v2/Groups", displayName=f"readers of {name}")["id"]
    endpoint_id = processes.call("GET", f"serving-endpoints/{name}")["id"]
    permissions = f"permissions/serving-endpoints/{endpoint_id}"
    access = {"group_name": f"readers of {name}", "permission_level": "CAN_QUERY"}
    processes.call("PATCH", permissions, access_control_list=[access])
    assert processes.query(name, token) == [404] * 3
    for _round in range(ROUNDS):
        _change_members(processes, group, "add", member)
        assert processes.query(name, token) == [200] * 3
        _change_members(processes, group, "remove", member)
        assert processes.query(name, token) == [404] * 3
    _change_members(processes, group, "add", member)
    processes.call("PUT", permissions, access_control_list=[])
    assert processes.query(name, token) == [404] * 3


def _change_members(processes: AllProcesses, group: str, op: str, member: str) -> None:
    change = {"op": op, "path": "members", "value": [{"value": member}]}
    if op == "remove":
        change = {"op": op, "path": f'members[value eq "{member}"]'}
    processes.call("PATCH", f"preview/scim/v2/Groups/{group}", Operations=[change])


def test_a_secret_is_in_force_everywhere_when_the_call_returns(
    processes: AllProcesses, owner: Person, provider: SandboxServer
):
    processes.call("POST", "secrets/scopes/create", scope="rotated")
    processes.call("POST", "secrets/put", scope="rotated", key="key", string_value="key-0")
    config = {"openai_api_key": "{{secrets/rotated/key}}", "openai_api_base": provider.base}
    model = {"provider": "openai", "name": "gpt-4", "task": "llm/v1/chat", "openai_config": config}
    served = {"served_entities": [{"name": "entity", "external_model": model}]}
    processes.call("POST", "serving-endpoints", name="rotated", config=served)
    with processes.product.person("root@example.com") as root:
        root.wait_for_state("rotated", "Ready")
        for number in range(1, ROUNDS + 1):
            processes.call("POST", "secrets/put", scope="rotated", key="key", string_value=f"key-{number}")
            assert processes.query("rotated", root.token) == [200] * 3
            keys = [each["key"] for each in provider.requests("chat/completions")][-3:]
            assert keys == [f"key-{number}"] * 3


def test_deletion_and_deactivation_are_in_force_everywhere_when_the_call_returns(
    processes: AllProcesses, owner: Person, deploy: Deploy
):
    name, other = deploy(), deploy()
    processes.call("DELETE", f"serving-endpoints/{name}")
    assert processes.query(name, owner.token) == [404] * 3
    token = processes.product.command("create_token", "leaver@example.com")
    endpoint_id = processes.call("GET", f"serving-endpoints/{other}")["id"]
    access = {"user_name": "leaver@example.com", "permission_level": "CAN_QUERY"}
    processes.call("PATCH", f"permissions/serving-endpoints/{endpoint_id}", access_control_list=[access])
    assert processes.query(other, token) == [200] * 3
    users = processes.call("GET", "preview/scim/v2/Users")["Resources"]
    pk = next(each["id"] for each in users if each["userName"] == "leaver@example.com")
    for active in (False, True):  # a token stays revoked when its user is activated again
        change = {"op": "replace", "path": "active", "value": active}
        processes.call("PATCH", f"preview/scim/v2/Users/{pk}", Operations=[change])
        assert processes.query(other, token) == [401] * 3
    token = processes.product.command("create_token", "leaver@example.com")
    assert processes.query(other, token) == [200] * 3


def test_a_process_that_was_silent_for_too_long_applies_all_changes_before_it_answers(
    processes: AllProcesses, gateways: Gateways, owner: Person, deploy: Deploy
):
    name = deploy()
    url = f"{processes.product.url}/api/2.0/serving-endpoints/{name}/rate-limits"
    blocked = {"rate_limits": [{"key": "user", "calls": 0}]}
    head = {"Authorization": f"Bearer {owner.token}", "Content-Type": "application/json"}
    host = gateways.url.removeprefix("http://")
    with contextlib.ExitStack() as opened:
        callers = [
            opened.enter_context(contextlib.closing(HTTPConnection(host, timeout=120))) for _ in range(24)
        ]
        for caller in callers:
            caller.connect()
        with suspended(gateways.program.process.pid, min(gateways.workers())):
            for caller in callers:
                caller.request(
                    "POST", f"/serving-endpoints/{name}/invocations", json.dumps(CHAT_REQUEST), head
                )
            wait_until(
                lambda: "warnings" not in processes.session.put(url, json=blocked, timeout=60).json(),
                what="the suspended process to count as not live",
            )
            answered = select.select([caller.sock for caller in callers], [], [], 0)[0]
            waiting = [caller for caller in callers if caller.sock not in answered]
        assert waiting
        assert {caller.getresponse().status for caller in waiting} == {429}


def test_a_suspended_process_is_named_in_the_warnings(
    processes: AllProcesses, gateways: Gateways, owner: Person, deploy: Deploy
):
    """A process sends a heartbeat every second. If its last one is more than a second older than the change, it counts as not live
    (3 s) before the call returns (2 s), and is not named, so the test may need several attempts."""
    name = deploy()
    url = f"{processes.product.url}/api/2.0/serving-endpoints/{name}/rate-limits"
    limits = {"rate_limits": [{"key": "user", "calls": 1000}]}
    warnings: list[str] = []
    process = min(gateways.workers())

    def is_named() -> bool:
        assert processes.query(name, owner.token) == [200] * 3  # every process is live again
        with suspended(gateways.program.process.pid, process):
            warnings[:] = processes.session.put(url, json=limits, timeout=60).json().get("warnings", [])
        return bool(warnings)

    wait_until(is_named, what="the process to be suspended just after a heartbeat", seconds=120)
    assert len(warnings) == 1
    assert f"-{process}-" in warnings[0]
    assert "does not serve this change yet" in warnings[0]
