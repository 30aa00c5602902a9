"""Runs the examples of the documentation, unchanged, against a running product."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.clients.bodies import B, config, wait_until_settled
from tests.api.clients.conftest import Account
from tests.support.documentation import DOCS, Block, blocks

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]
QUERY_EXAMPLES = blocks(DOCS / "querying-from-programs.md", "sh", "python")


def run(block: Block, folder: Path, **variables: str) -> str:
    """The output of the example. Fails if the example fails."""
    program = ["bash", "-euc"] if block.language == "sh" else [sys.executable, "-c"]
    env = {**os.environ, "DO_NOT_TRACK": "true", **variables}
    done = subprocess.run(
        [*program, block.code], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{block.file}:\n{block.code}\n{done.stdout}{done.stderr}"
    return done.stdout


def variables(account: Account) -> dict[str, str]:
    return {"DATABRICKS_HOST": account.url, "DATABRICKS_TOKEN": account.token}


@pytest.mark.parametrize(
    "block", QUERY_EXAMPLES, ids=[f"{n}-{each.language}" for n, each in enumerate(QUERY_EXAMPLES)]
)
def test_an_example_of_querying_is_answered(block: Block, owner: Account, tmp_path: Path):
    assert run(block, tmp_path, **variables(owner)).strip()


def test_the_examples_of_secrets_and_limits_work(account: Callable[..., Account], tmp_path: Path):
    someone = account("docs@example.com")
    for block in blocks(DOCS / "secrets.md", "sh"):
        run(block, tmp_path, **variables(someone))
    body = {"name": "my_endpoint", "config": config("{{secrets/team/openai}}")}
    assert someone.call("POST", B, body).status_code == 200
    wait_until_settled(someone.client(), "my_endpoint")
    for block in blocks(DOCS / "limits.md", "sh"):
        run(block, tmp_path, **variables(someone))
    limits = someone.call("GET", f"{B}/my_endpoint").json()["rate_limits"]
    assert [limit["calls"] for limit in limits] == [10]


def test_the_metrics_are_read_with_the_token_of_an_admin(admin: Account, tmp_path: Path):
    (block,) = (each for each in blocks(DOCS / "usage-and-metrics.md", "sh") if "curl" in each.code)
    output = run(block, tmp_path, DATABRICKS_HOST=admin.url, ADMIN_TOKEN=admin.token)
    assert "serving_ui_" in output
