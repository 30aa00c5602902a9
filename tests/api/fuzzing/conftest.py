"""A server without a worker, so that it connects to none of the generated addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.server_alone import ServerAlone

API = "/api/2.0"
REFERENCE = "{{secrets/known-scope/known-key}}"
MODEL = {
    "name": "gpt-4o",
    "provider": "openai",
    "task": "llm/v1/chat",
    "openai_config": {"openai_api_key": REFERENCE},
}
CONFIG: dict[str, Any] = {"served_entities": [{"name": "known-entity", "external_model": MODEL}]}
ENDPOINT = {"name": "known", "config": CONFIG}


KINDS: dict[str, dict[str, Any]] = {
    "Users": {"userName": "known@example.com"},
    "ServicePrincipals": {"displayName": "Known program"},
    "Groups": {"displayName": "Known"},
}


@dataclass
class Server:
    """Its address, the tokens of an admin and of a member, and the ids of existing objects. The caller `nobody` has no token."""

    url: str
    tokens: Mapping[str, str] = field(repr=False)
    known: dict[str, str] = field(default_factory=dict)

    def headers(self, caller: str) -> dict[str, str]:
        token = self.tokens[caller]
        return {"Authorization": f"Bearer {token}"} if token else {}

    def request(
        self, method: str, path: str, body: Any = None, *, caller: str = "admin"
    ) -> requests.Response:
        return requests.request(
            method, self.url + API + path, json=body, headers=self.headers(caller), timeout=30
        )

    def ensure_objects(self) -> None:
        """Create one object of each kind if it does not exist, because tests may have deleted it."""
        for kind, body in KINDS.items():
            if not self._exists(f"/preview/scim/v2/{kind}/{self.known.get(kind, '-')}"):
                made = self.request("POST", f"/preview/scim/v2/{kind}", body).json()
                self.known[kind] = made["id"]
                self.known["application"] = made.get("applicationId", self.known.get("application", ""))
        if not self._exists("/secrets/get?scope=known-scope&key=known-key"):
            self.request("POST", "/secrets/scopes/create", {"scope": "known-scope"})
            secret = {"scope": "known-scope", "key": "known-key", "string_value": "sk-known"}
            self.request("POST", "/secrets/put", secret)
            acl = {"scope": "known-scope", "principal": "known@example.com", "permission": "READ"}
            self.request("POST", "/secrets/acls/put", acl)
        if not self._exists("/serving-endpoints/known"):
            self.known["endpoint"] = self.request("POST", "/serving-endpoints", ENDPOINT).json()["id"]
        if not self._exists("/registered-models/known/versions/1"):
            model = {"name": "known", "version": "1", "kind": "deployment", "location": "team.models:Known"}
            self.request("POST", "/registered-models", model)
        if not self._exists("/model-hosts/known"):
            self.request("POST", "/model-hosts", {"name": "known", "base_url": "http://127.0.0.1:9/v1"})
        if not self._exists(f"/token-management/tokens/{self.known.get('token', '-')}"):
            made = self.request("POST", "/token/create", {"comment": "known"}).json()
            self.known["token"] = made["token_info"]["token_id"]

    def _exists(self, path: str) -> bool:
        return self.request("GET", path).status_code == 200


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests of this folder, which share one server, so that they run in the same order even if the tests are shuffled."""
    ours = [place for place, item in enumerate(items) if Path(__file__).parent in item.path.parents]
    for place, item in zip(
        ours, sorted((items[place] for place in ours), key=lambda item: item.nodeid), strict=True
    ):
        items[place] = item


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    alone = ServerAlone(tmp_path_factory.mktemp("fuzzing"))
    alone.command("migrate", "--verbosity", "0")
    tokens = {
        "admin": alone.command("create_token", "admin@example.com", "--admin"),
        "member": alone.command("create_token", "member@example.com"),
        "nobody": "",
    }
    with alone.up():
        yield Server(alone.url, tokens)
