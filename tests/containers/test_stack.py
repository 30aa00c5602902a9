"""The image and compose.yaml, built and run with podman.

Takes minutes and needs root and the packages of tests/runner/debian.py, so only `manage.py test --all` and `pytest -m containers`
run it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from tests.containers.stack import SECONDS, Stack, podman
from tests.support.product import CHAT_REQUEST
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.xdist_group("containers")]
ROLES = ("web", "gateway", "worker", "beat")


class Client:
    """Calls the API through the proxy with the token of an admin."""

    def __init__(self, site: str, token: str) -> None:
        self.site = site
        self._headers = {"Authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(
            method, self.site + path, json=body, headers=self._headers, timeout=60, allow_redirects=False
        )

    def create(self, name: str) -> None:
        """Creates an endpoint of the Sandbox provider and waits until it is ready."""
        model = {"name": "sandbox-chat", "provider": "sandbox", "task": "llm/v1/chat", "sandbox_config": {}}
        config = {"served_entities": [{"name": "entity", "external_model": model}]}
        reply = self.call("POST", "/api/2.0/serving-endpoints", {"name": name, "config": config})
        assert reply.status_code == 200, reply.text
        wait_until(lambda: self._is_ready(name), what=f"{name} to be ready", seconds=SECONDS)

    def _is_ready(self, name: str) -> bool:
        state = self.call("GET", f"/api/2.0/serving-endpoints/{name}").json()["state"]
        assert state["config_update"] != "UPDATE_FAILED", state
        return bool(state["ready"] == "READY")

    def answers(self, name: str) -> bool:
        """Whether the endpoint answers a query. While services start it may be refused with 503 or 504, and with 404 while a gateway
        has not noticed that PostgreSQL is back."""
        reply = self.call("POST", f"/serving-endpoints/{name}/invocations", CHAT_REQUEST)
        assert reply.status_code in (200, 404, 502, 503, 504), reply.text
        return reply.status_code == 200 and bool(reply.json()["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def client(stack: Stack, site: str) -> Client:
    token = stack.exec("web", "python", "manage.py", "create_token", "--admin", "admin@example.com")
    client = Client(site, token.stdout.strip())
    client.create("first")
    return client


def test_an_endpoint_answers_through_the_proxy(client: Client):
    wait_until(lambda: client.answers("first"), what="a query to be answered", seconds=SECONDS)


def test_a_stream_comes_through_the_proxy(client: Client):
    reply = client.call("POST", "/serving-endpoints/first/invocations", {**CHAT_REQUEST, "stream": True})
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    assert reply.text.rstrip().endswith("data: [DONE]")


def test_a_person_signs_in_through_the_proxy(stack: Stack, client: Client):
    link = stack.exec("web", "python", "manage.py", "sign_in_link", "person@example.com").stdout.strip()
    page = client.call("GET", link)
    assert page.status_code == 200
    assert "csrfmiddlewaretoken" in page.text
    sheet = client.call("GET", page.text.partition('<link rel="stylesheet" href="')[2].partition('"')[0])
    assert sheet.headers["Content-Type"].startswith("text/css")


@pytest.mark.parametrize("role", ["gateway", "web", "worker", "beat", "redis", "postgres"])
def test_a_service_can_be_restarted(stack: Stack, client: Client, role: str):
    stack.restart(role)
    if role not in ("worker", "beat"):
        stack.wait_until_healthy(role)
    api = "/api/2.0/serving-endpoints"
    wait_until(lambda: client.call("GET", api).status_code == 200, what="the API to answer", seconds=SECONDS)
    client.create(f"after-{role}")
    wait_until(lambda: client.answers(f"after-{role}"), what="a query to be answered", seconds=SECONDS)


@pytest.mark.parametrize("role", ROLES)
def test_a_running_role_has_no_capabilities_and_writes_only_its_data(stack: Stack, role: str):
    script = (
        "id -u; grep CapBnd /proc/self/status; touch /data/x /tmp/x && rm /data/x && echo writable;"
        " touch /app/x /x /app/.venv/x; ls -A /app"
    )
    done = stack.exec(role, "sh", "-c", script)
    assert done.stdout.split("\n")[:3] == ["10001", f"CapBnd:\t{0:016x}", "writable"]
    assert done.stderr.count("Read-only file system") == 3


def test_the_roles_share_key_files_readable_by_their_user_only(stack: Stack):
    keys = stack.exec("web", "stat", "--format", "%n %a", "/data/session.key", "/data/vault.key").stdout
    assert keys.split("\n")[:2] == ["/data/session.key 600", "/data/vault.key 600"]
    digests = {stack.exec(role, "sha256sum", "/data/vault.key").stdout for role in ROLES}
    assert len(digests) == 1


def test_usage_is_ingested_into_the_database(stack: Stack, client: Client):
    wait_until(lambda: client.answers("first"), what="a query to be answered", seconds=SECONDS)

    def is_complete() -> bool:
        return stack.exec("worker", "python", "manage.py", "check_usage", check=False).returncode == 0

    wait_until(is_complete, what="check_usage to find every request in the database", seconds=SECONDS)
    wait_until(
        lambda: client.call("GET", "/readyz").json()["degraded"] == [],
        what="/readyz to report no problem",
        seconds=SECONDS,
    )


def test_keys_can_be_read_from_files(image: str, key_files: Path):
    names = podman(
        "run", "--rm", "--no-healthcheck", "--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp",
        f"--volume={key_files}:/run/keys:ro", "--env=SERVING_UI_SECRET_KEY_FILE=/run/keys/secret_key",
        "--env=SERVING_UI_VAULT_KEYS_FILE=/run/keys/vault_keys", image,
        "sh", "-c", "python manage.py migrate >/dev/null && ls /data",
    ).stdout.split()  # fmt: skip
    assert "serving_ui.sqlite3" in names
    assert not [name for name in names if name.endswith(".key")]


def test_one_container_of_the_image_runs_the_whole_product(image: str):
    name = "serving-ui-test-alone"
    podman(
        "run", "--detach", "--init", "--name", name, "--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp",
        "--env=SERVING_UI_PUBLIC_URL=http://localhost:8080", image,
    )  # fmt: skip
    try:
        wait_until(
            lambda: podman("healthcheck", "run", name, check=False).returncode == 0,
            what="the image alone to be healthy",
            seconds=SECONDS,
        )
        assert "http://localhost:8080/welcome/" in podman("logs", name).stdout
    finally:
        podman("rm", "--force", "--time", "20", "--volumes", name)
