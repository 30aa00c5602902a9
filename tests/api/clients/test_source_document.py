"""Runs the examples of the source document, as the documentation shows them, with their assertions.

Ids and times differ, so only their types are compared; `{...}` and `[...]` match any object and any list. In its update the document
expects `chats`, the name of the served entity, as the name of the endpoint; Databricks does not rename endpoints, so `chat` is
expected here.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.clients.bodies import B, wait_until_settled
from tests.api.clients.conftest import Account
from tests.support.documentation import DOCS, blocks

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]

PAGE = DOCS / "creating-and-updating-endpoints.md"
CREATE, CREATED, UPDATE = (block.code for block in blocks(PAGE, "json"))
MAKE_SECRET, SEND_CREATE, SEND_UPDATE = (block.code for block in blocks(PAGE, "sh"))
CONNECT, CREATE_WITH_MLFLOW, UPDATE_WITH_MLFLOW = (block.code for block in blocks(PAGE, "python"))
ANY_OBJECT, ANY_LIST = {...}, [...]
FORMS = {"id": r"[0-9a-f]{32}", "creation_timestamp": r"\d{13}", "last_updated_timestamp": r"\d{13}"}


def run_in_shell(code: str, folder: Path, account: Account) -> Any:
    """Runs a shell block of the page; returns the last response."""
    (folder / "create.json").write_text(CREATE)
    (folder / "update.json").write_text(UPDATE)
    env = {**os.environ, "DATABRICKS_HOST": account.url, "DATABRICKS_TOKEN": account.token}
    command = ["bash", "-euc", code]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.JSONDecoder().raw_decode(done.stdout)[0]


def compare(actual: Any, expected: Any, at: str = "") -> None:
    """Assert that the response contains all values of the example; it may contain more."""
    if expected == ANY_OBJECT:
        assert isinstance(actual, dict), at
    elif expected == ANY_LIST:
        assert isinstance(actual, list), at
    elif isinstance(expected, dict):
        assert expected.keys() <= actual.keys(), at
        for key, value in expected.items():
            if key in FORMS:
                assert re.fullmatch(FORMS[key], str(actual[key])), f"{at}.{key}"
            else:
                compare(actual[key], value, f"{at}.{key}")
    elif isinstance(expected, list):
        assert len(actual) == len(expected), at
        for number, (one, other) in enumerate(zip(actual, expected, strict=True)):
            compare(one, other, f"{at}[{number}]")
    else:
        assert actual == expected, at


class Comparing(ast.NodeTransformer):
    """Replaces each `assert a == b` by `compare(a, b)`."""

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        assert isinstance(node.test, ast.Compare)
        arguments = [node.test.left, *node.test.comparators]
        return ast.Expr(ast.Call(ast.Name("compare", ast.Load()), arguments, []))


def run(code: str, compare: Callable[[Any, Any], None] = compare) -> dict[str, Any]:
    """Runs a Python block of the page; returns its global variables."""
    tree = ast.fix_missing_locations(Comparing().visit(ast.parse(code)))
    names: dict[str, Any] = {"compare": compare}
    exec(compile(tree, PAGE.name, "exec"), names)
    return names


def put_secret(account: Account, scope: str, key: str) -> None:
    workspace = account.client()
    workspace.secrets.create_scope(scope)
    workspace.secrets.put_secret(scope, key, string_value="sk-of-the-document")


def test_the_examples_of_the_rest_api(account: Callable[..., Account], tmp_path: Path):
    user = account("user@email.com")
    run_in_shell(MAKE_SECRET, tmp_path, user)
    assert run_in_shell(SEND_CREATE, tmp_path, user)["state"]["ready"] == "NOT_READY"
    wait_until_settled(user.client(), "openai_endpoint")
    made = user.call("GET", f"{B}/openai_endpoint").json()
    compare(made, json.loads(CREATED))
    assert made["rate_limits"] == json.loads(CREATE)["rate_limits"]
    assert made["endpoint_type"] == "EXTERNAL_MODEL"

    run_in_shell(SEND_UPDATE, tmp_path, user)
    wait_until_settled(user.client(), "openai_endpoint")
    updated = user.call("GET", f"{B}/openai_endpoint").json()
    compare(updated["config"]["served_entities"], json.loads(UPDATE)["served_entities"])
    assert updated["config"]["config_version"] == 2
    assert updated["task"] == "llm/v1/chat"


def test_the_examples_of_the_mlflow_deployments_sdk(
    account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
):
    alice = account("alice@company.com")
    put_secret(alice, "scope", "key")
    monkeypatch.setenv("DATABRICKS_HOST", alice.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", alice.token)
    client = run(CONNECT)["client"]
    run(CREATE_WITH_MLFLOW)
    wait_until_settled(alice.client(), "chat")
    compared: list[Any] = []

    def compare_update(actual: Any, expected: Any) -> None:
        compared.append(actual)
        if "rate_limits" in expected:
            assert actual == expected
        else:
            compare(actual, {**expected, "name": "chat"})

    run(UPDATE_WITH_MLFLOW, compare_update)
    assert len(compared) == 2
    wait_until_settled(alice.client(), "chat")
    after = client.get_endpoint("chat")
    assert [each["name"] for each in after["config"]["served_entities"]] == ["chats"]
    assert after["rate_limits"] == compared[1]["rate_limits"]
    answer = client.predict(endpoint="chat", inputs={"messages": [{"role": "user", "content": "Hello"}]})
    assert answer["model"] == "gpt-4"
