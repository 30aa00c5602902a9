"""The code samples at /docs/api, copied with their button, run unchanged with the environment variables that the page names."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.form_client import FormClient
from tests.support.sandbox import SandboxServer

NAME = "documented"
PROGRAMS = [
    ("query", "curl", '"usage"'),
    ("query", "sdk", "QueryEndpointResponse"),
    ("query", "mlflow", "usage"),
    ("update_config", "curl", '"config_version"'),
    ("update_config", "sdk", "ServingEndpointDetailed"),
    ("update_config", "mlflow", "config_version"),
]


@pytest.fixture
def page(open_page: OpenPage, owner: FormClient, upstream: SandboxServer) -> Page:
    owner.create(NAME, upstream)
    owner.wait_for_state(NAME, "Ready")
    return open_page(f"/docs/api?endpoint={NAME}", permissions=["clipboard-read", "clipboard-write"])


@pytest.mark.browser
@pytest.mark.slow
def test_copied_code_samples_run_unchanged(page: Page, owner: FormClient, token: str):
    expect(page.get_by_text("Put it into a secret first")).to_be_visible()
    owner.post("/ml/secrets/scopes", scope="my_scope")
    owner.post("/ml/secrets/my_scope/put", key="my_key", value="sk-documented")
    env = {**os.environ, "DATABRICKS_HOST": owner.url, "DATABRICKS_TOKEN": token, "DO_NOT_TRACK": "true"}
    for operation, key, answer in PROGRAMS:
        owner.wait_for_state(NAME, "Ready")
        page.locator(f"#tab-{operation}-{key}").click()
        panel = page.locator(f"#panel-{operation}-{key}")
        panel.get_by_role("button", name="Copy").click()
        expect(page.get_by_text("Copied.")).to_be_visible()
        code = page.evaluate("navigator.clipboard.readText()")
        assert NAME in code
        command = ["bash", "-c", code] if key == "curl" else [sys.executable, "-c", code]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=180)
        assert (done.returncode, answer in done.stdout) == (0, True), (
            operation,
            key,
            done.stdout,
            done.stderr,
        )
