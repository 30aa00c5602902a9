"""Runs the code samples of the query page with a real token."""

from __future__ import annotations

import os
import subprocess
import sys

import requests

TOKEN_PLACEHOLDER = "<token>"


def run(code: str, *, token: str, shell: bool) -> str:
    """What the code prints."""
    assert TOKEN_PLACEHOLDER in code
    command = ["bash", "-c"] if shell else [sys.executable, "-c"]
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    done = subprocess.run(
        [*command, code.replace(TOKEN_PLACEHOLDER, token)],
        env=env, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def query(url: str, name: str, token: str) -> requests.Response:
    """One query with a bearer token."""
    return requests.post(
        f"{url}/serving-endpoints/{name}/invocations",
        headers={"Authorization": f"Bearer {token}"},
        json={"messages": [{"role": "user", "content": "Who answers?"}]},
        timeout=60,
    )
