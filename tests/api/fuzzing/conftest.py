"""The server alone, on a port and a data folder of its own. No worker: nothing that is made up here may be connected to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.architecture.sources import ROOT
from tests.start.running import running
from tests.start.waiting import free_port, until

API = "/api/2.0"
REFERENCE = "{{secrets/known-scope/known-key}}"
MODEL = {
    "name": "gpt-4o",
    "provider": "openai",
    "task": "llm/v1/chat",
    "openai_config": {"openai_api_key": REFERENCE},
}
ENDPOINT = {
    "name": "known",
    "config": {"served_entities": [{"name": "known-entity", "external_model": MODEL}]},
}


KINDS: dict[str, dict[str, Any]] = {
    "Users": {"userName": "known@example.com"},
    "ServicePrincipals": {"displayName": "Known program"},
    "Groups": {"displayName": "Known"},
}


@dataclass
class Server:
    """Its address, and the tokens of an admin, of somebody who is none, and of nobody."""

    url: str
    tokens: Mapping[str, str] = field(repr=False)
    known: dict[str, str] = field(default_factory=dict)

    def headers(self, caller: str) -> dict[str, str]:
        token = self.tokens[caller]
        return {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body: Any = None, *, caller: str = "admin") -> requests.Response:
        return requests.request(
            method, self.url + API + path, json=body, headers=self.headers(caller), timeout=30
        )

    def furnish(self) -> None:
        """Makes sure of one thing of each kind, whatever a test has done to it."""
        if not self._has("/secrets/get?scope=known-scope&key=known-key"):
            self.ask("POST", "/secrets/scopes/create", {"scope": "known-scope"})
            secret = {"scope": "known-scope", "key": "known-key", "string_value": "sk-known"}
            self.ask("POST", "/secrets/put", secret)
        if not self._has("/serving-endpoints/known"):
            self.known["endpoint"] = self.ask("POST", "/serving-endpoints", ENDPOINT).json()["id"]
        if not self._has(f"/token-management/tokens/{self.known.get('token', '-')}"):
            made = self.ask("POST", "/token/create", {"comment": "known"}).json()
            self.known["token"] = made["token_info"]["token_id"]
        for kind, body in KINDS.items():
            if not self._has(f"/preview/scim/v2/{kind}/{self.known.get(kind, '-')}"):
                self.known[kind] = self.ask("POST", f"/preview/scim/v2/{kind}", body).json()["id"]

    def _has(self, path: str) -> bool:
        return self.ask("GET", path).status_code == 200


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data, port = tmp_path_factory.mktemp("fuzzing"), free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}
    env = {**clean, "SERVING_UI_DATA": str(data), "SERVING_UI_PORT": str(port)}
    _manage(env, "migrate", "--verbosity", "0")
    tokens = {
        "admin": _manage(env, "create_token", "admin@example.com", "--admin"),
        "member": _manage(env, "create_token", "member@example.com"),
        "nobody": "",
    }
    command = [sys.executable, "-m", "uvicorn", "serving_ui.asgi:application", "--port", str(port)]
    with running([*command, "--log-level", "warning", "--no-access-log"], cwd=ROOT, env=env) as program:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _is_ready(url) or program.process.poll() is not None, what="the server", seconds=30)
        assert program.process.poll() is None, program.text
        yield Server(url, tokens)


def _manage(env: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(Path(ROOT) / "manage.py"), *arguments],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=2).status_code == 200
    except requests.RequestException:
        return False
