"""Checks that the tests of this folder call every public method of the SDK's services and of MLflow's client."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.mixins.open_ai_client import ServingEndpointsExt
from databricks.sdk.service.iam import CurrentUserAPI, PermissionsAPI
from databricks.sdk.service.settings import TokensAPI
from databricks.sdk.service.workspace import SecretsAPI
from mlflow.deployments.databricks import DatabricksDeploymentClient

OFFERED = {
    "serving_endpoints": ServingEndpointsExt,
    "secrets": SecretsAPI,
    "permissions": PermissionsAPI,
    "tokens": TokensAPI,
    "current_user": CurrentUserAPI,
    "deployments": DatabricksDeploymentClient,
}
# Not implemented for this target: one test checks in a loop that MLflow raises NotImplementedError.
OF_OTHER_TARGETS = {
    "create_deployment",
    "delete_deployment",
    "get_deployment",
    "update_deployment",
    "explain",
}


@pytest.mark.parametrize("service", OFFERED)
def test_every_public_method_is_called(service: str):
    methods = {name for name, _ in inspect.getmembers(OFFERED[service], inspect.isfunction)}
    public = {name for name in methods - OF_OTHER_TARGETS if not name.startswith("_")}
    assert public - {method for owner, method in calls() if owner == service} == set()


def calls() -> Iterator[tuple[str, str]]:
    """(service, method) of every call in this folder, also through local variables."""
    for path in Path(__file__).parent.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                yield from calls_of(function)


def calls_of(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    named = {name: service for node in ast.walk(function) for name, service in names(node)}
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute):
            owner = last(node.value)
            yield named.get(owner, owner), node.attr


def names(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Local variables that hold a service, such as both of `api, theirs = workspace.secrets, other.client().secrets`."""
    if isinstance(node, ast.Assign):
        target: Any = node.targets[0]
        pairs = zip(target.elts, node.value.elts, strict=True) if has_parts(node) else [(target, node.value)]  # type: ignore[attr-defined]
        for one, value in pairs:
            if last(value) in OFFERED:
                yield last(one), last(value)


def has_parts(node: ast.Assign) -> bool:
    return isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple)


def last(node: ast.AST) -> str:
    """The last part of a dotted name: `c` for `a.b.c`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
