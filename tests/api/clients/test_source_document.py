"""The examples of the document that the product is built from, verbatim as in `document/`, with what they assert.

Theirs are an id and moments of another day, so of these only the form is compared; `{...}` and `[...]` stand for any object and list.
In its update the document calls the endpoint by its served entity's name, `chats`: the original does not rename either, so there
`chat` is expected.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.clients.bodies import B, settle
from tests.api.clients.conftest import Account

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]

DOCUMENT = Path(__file__).parent / "document"
ANY_OBJECT, ANY_LIST = {...}, [...]
FORMS = {"id": r"[0-9a-f]{32}", "creation_timestamp": r"\d{13}", "last_updated_timestamp": r"\d{13}"}


def example(name: str) -> Any:
    return json.loads((DOCUMENT / name).read_text())


def compare(actual: Any, expected: Any, at: str = "") -> None:
    """What the example has is there and equal; more may be there, too."""
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
    """Makes of each `assert a == b` a call of `compare(a, b)`."""

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        assert isinstance(node.test, ast.Compare)
        arguments = [node.test.left, *node.test.comparators]
        return ast.Expr(ast.Call(ast.Name("compare", ast.Load()), arguments, []))


def run(name: str, compare: Callable[[Any, Any], None] = compare) -> dict[str, Any]:
    """Runs a block of the document; the names that it leaves behind."""
    tree = ast.fix_missing_locations(Comparing().visit(ast.parse((DOCUMENT / name).read_text())))
    names: dict[str, Any] = {"compare": compare}
    exec(compile(tree, name, "exec"), names)
    return names


def put_secret(account: Account, scope: str, key: str) -> None:
    workspace = account.client()
    workspace.secrets.create_scope(scope)
    workspace.secrets.put_secret(scope, key, string_value="sk-of-the-document")


def test_the_examples_of_the_rest_api(account: Callable[..., Account]):
    user = account("user@email.com")
    put_secret(user, "my_scope", "my_openai_api_key")
    assert user.call("POST", B, example("create.json")).status_code == 200
    settle(user.client(), "openai_endpoint")
    made = user.call("GET", f"{B}/openai_endpoint").json()
    compare(made, example("created.json"))
    assert made["rate_limits"] == example("create.json")["rate_limits"]
    assert made["endpoint_type"] == "EXTERNAL_MODEL"

    assert user.call("PUT", f"{B}/openai_endpoint/config", example("update.json")).status_code == 200
    settle(user.client(), "openai_endpoint")
    updated = user.call("GET", f"{B}/openai_endpoint").json()
    compare(updated["config"]["served_entities"], example("update.json")["served_entities"])
    assert updated["config"]["config_version"] == 2
    assert updated["task"] == "llm/v1/chat"


def test_the_examples_of_the_mlflow_deployments_sdk(
    account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
):
    alice = account("alice@company.com")
    put_secret(alice, "scope", "key")
    monkeypatch.setenv("DATABRICKS_HOST", alice.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", alice.token)
    client = run("connect.txt")["client"]
    run("create.txt")
    settle(alice.client(), "chat")
    compared: list[Any] = []

    def compare_update(actual: Any, expected: Any) -> None:
        compared.append(actual)
        if "rate_limits" in expected:
            assert actual == expected
        else:
            compare(actual, {**expected, "name": "chat"})

    run("update.txt", compare_update)
    assert len(compared) == 2
    settle(alice.client(), "chat")
    after = client.get_endpoint("chat")
    assert [each["name"] for each in after["config"]["served_entities"]] == ["chats"]
    assert after["rate_limits"] == compared[1]["rate_limits"]
    answer = client.predict(endpoint="chat", inputs={"messages": [{"role": "user", "content": "Hello"}]})
    assert answer["model"] == "gpt-4"
