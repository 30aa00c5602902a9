"""A secret is sent only while the submitter of the config may read it: not after its name was reused or the right was withdrawn.

A real server in the place of the provider records the keys that it receives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.support.product import CHAT_REQUEST, Product
from tests.support.vendor import Answer, Vendor, running_vendor
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

REPLY = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip


@dataclass
class Someone:
    """A person who uses the API and the gateway."""

    product: Product
    email: str
    token: str

    def call(self, method: str, path: str, *, status: int = 200, **body: Any) -> dict[str, Any]:
        """An API call that is answered with `status`, without a warning about a late gateway process."""
        answer = requests.request(
            method, f"{self.product.url}/api/2.0/{path}", json=body, headers=self._head, timeout=60
        )
        assert answer.status_code == status, answer.text
        reply: dict[str, Any] = answer.json()
        assert "warnings" not in reply
        return reply

    def query(self, name: str) -> requests.Response:
        url = f"{self.product.url}/serving-endpoints/{name}/invocations"
        return requests.post(url, json=CHAT_REQUEST, headers=self._head, timeout=60)

    def put(self, scope: str, key: str, value: str) -> None:
        self.call("POST", "secrets/put", scope=scope, key=key, string_value=value)

    def deploy(self, name: str, config: dict[str, Any]) -> None:
        """Creates an endpoint and waits until it is ready."""
        self.call("POST", "serving-endpoints", name=name, config=config)
        self.wait_for(name, "READY")

    def wait_for(self, name: str, ready: str) -> None:
        wait_until(
            lambda: self.state(name) == {"ready": ready, "config_update": "NOT_UPDATING"},
            what=f"{name} to be {ready}",
        )

    def state(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self.call("GET", f"serving-endpoints/{name}")["state"]
        return found

    def events(self, name: str) -> list[str]:
        return [each["type"] for each in self.call("GET", f"serving-endpoints/{name}/events")["events"]]

    @property
    def _head(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@pytest.fixture
def host() -> Iterator[Vendor]:
    with running_vendor() as vendor:
        vendor.set_answers(Answer.json(REPLY), at="/chat/completions")
        vendor.set_answers(Answer.json({"object": "list", "data": []}), at="/models")
        yield vendor


def someone(product: Product, name: str) -> Someone:
    email = f"{name}@example.com"
    return Someone(product, email, product.command("create_token", email))


def config(host: Vendor, reference: str) -> dict[str, Any]:
    block = {"openai_api_key": reference, "openai_api_base": f"{host.url}/v1"}
    model = {"provider": "openai", "name": "gpt-4", "task": "llm/v1/chat", "openai_config": block}
    return {"served_entities": [{"name": "entity", "external_model": model}]}


def received(host: Vendor) -> set[str]:
    """Every key that the host has received."""
    return {each.headers["authorization"].removeprefix("Bearer ") for each in host.requests}


def test_a_new_secret_with_the_name_of_a_deleted_one_is_not_sent(product: Product, host: Vendor):
    ann, bob = someone(product, "ann"), someone(product, "bob")
    ann.call("POST", "secrets/scopes/create", scope="prod")
    ann.put("prod", "openai", "anns-own")
    ann.deploy("trap", config(host, "{{secrets/prod/openai}}"))
    assert ann.query("trap").status_code == 200
    ann.call("POST", "secrets/scopes/delete", scope="prod")
    assert ann.query("trap").status_code == 400

    bob.call("POST", "secrets/scopes/create", scope="prod")
    bob.put("prod", "openai", "bobs-key")
    refused = ann.query("trap")
    assert refused.status_code == 400
    for word in ("{{secrets/prod/openai}}", "ann@example.com"):
        assert word in refused.json()["message"]
    ann.wait_for("trap", "NOT_READY")
    assert ann.events("trap")[0] == "ENDPOINT_REVOKED_EVENT"
    ann.call("PUT", "serving-endpoints/trap/config", status=400, **config(host, "{{secrets/prod/openai}}"))
    assert ann.query("trap").status_code == 400
    assert received(host) == {"anns-own"}


def test_a_secret_is_not_sent_while_the_submitter_has_no_right_to_read_it(product: Product, host: Vendor):
    owner, reader = someone(product, "olga"), someone(product, "rita")
    owner.call("POST", "secrets/scopes/create", scope="team")
    owner.put("team", "openai", "first")
    acl: dict[str, Any] = {"scope": "team", "principal": reader.email}
    owner.call("POST", "secrets/acls/put", **acl, permission="READ")
    reader.deploy("read", config(host, "{{secrets/team/openai}}"))
    assert reader.query("read").status_code == 200

    owner.call("POST", "secrets/acls/delete", **acl)
    refused = reader.query("read")
    assert refused.status_code == 400
    for word in ("{{secrets/team/openai}}", owner.email, reader.email):
        assert word in refused.json()["message"]
    owner.put("team", "openai", "second")
    assert reader.query("read").status_code == 400
    reader.wait_for("read", "NOT_READY")
    assert received(host) == {"first"}

    owner.call("POST", "secrets/acls/put", **acl, permission="READ")
    assert reader.query("read").status_code == 200
    reader.wait_for("read", "READY")
    assert received(host) == {"first", "second"}
    assert reader.events("read")[:2] == ["ENDPOINT_RESTORED_EVENT", "ENDPOINT_REVOKED_EVENT"]


def test_the_endpoint_of_a_deactivated_submitter_keeps_its_last_secret_until_a_takeover(
    product: Product, host: Vendor
):
    owner, leaver = someone(product, "oscar"), someone(product, "lena")
    admin = Someone(
        product, "root@example.com", product.command("create_token", "root@example.com", "--admin")
    )
    owner.call("POST", "secrets/scopes/create", scope="shared")
    owner.put("shared", "openai", "held")
    owner.call("POST", "secrets/acls/put", scope="shared", principal=leaver.email, permission="READ")
    leaver.deploy("left", config(host, "{{secrets/shared/openai}}"))
    permissions = f"permissions/serving-endpoints/{leaver.call('GET', 'serving-endpoints/left')['id']}"
    access: list[dict[str, str]] = [{"user_name": owner.email, "permission_level": "CAN_MANAGE"}]
    leaver.call("PATCH", permissions, access_control_list=access)

    people = admin.call("GET", "preview/scim/v2/Users")["Resources"]
    pk = next(each["id"] for each in people if each["userName"] == leaver.email)
    change = {"op": "replace", "path": "active", "value": False}
    admin.call("PATCH", f"preview/scim/v2/Users/{pk}", Operations=[change])
    assert leaver.query("left").status_code == 401
    owner.put("shared", "openai", "rotated")
    assert owner.query("left").status_code == 200
    assert owner.state("left")["ready"] == "READY"
    assert received(host) == {"held"}
    waiting = admin.call("GET", "secrets/takeovers/list")["takeovers"]
    assert [each["endpoint"] for each in waiting] == ["left"]

    owner.call("POST", "serving-endpoints/left/config:take-over")
    assert owner.query("left").status_code == 200
    assert received(host) == {"held", "rotated"}
    assert admin.call("GET", "secrets/takeovers/list") == {"takeovers": []}


def test_a_manager_without_the_right_to_read_a_secret_cannot_send_it_elsewhere(
    product: Product, host: Vendor
):
    owner, manager = someone(product, "mara"), someone(product, "milo")
    owner.call("POST", "secrets/scopes/create", scope="own")
    owner.put("own", "key", "maras-key")

    def sent(path: str, header: str) -> dict[str, Any]:
        key = {"key": header, "value": "{{secrets/own/key}}"}
        block = {"custom_provider_url": host.url + path, "api_key_auth": key}
        model = {"provider": "custom", "name": "m", "task": "llm/v1/chat", "custom_provider_config": block}
        return {"served_entities": [{"name": "entity", "external_model": model}]}

    owner.deploy("kept", sent("/v1", "X-Key"))
    permissions = f"permissions/serving-endpoints/{owner.call('GET', 'serving-endpoints/kept')['id']}"
    access: list[dict[str, str]] = [{"user_name": manager.email, "permission_level": "CAN_MANAGE"}]
    owner.call("PATCH", permissions, access_control_list=access)

    for path, header in (("/echo", "X-Key"), ("/v1", "X-Echo"), ("/echo", "X-Echo")):
        refused = manager.call("PUT", "serving-endpoints/kept/config", status=400, **sent(path, header))
        assert "You may not read secret scope own" in refused["message"]
    manager.call("PUT", "serving-endpoints/kept/config", **sent("/v1/", "X-Key"))
    manager.wait_for("kept", "READY")
    assert manager.query("kept").status_code == 200
    assert {each.path for each in host.requests} == {"/v1/models", "/v1/chat/completions"}
    assert {each.headers.get("x-key") for each in host.requests} == {"maras-key"}
