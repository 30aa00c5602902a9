"""An unexpected IntegrityError is a server error and is not reported as a duplicate name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import IntegrityError, connection

from serving_ui.accounts import commands
from tests.api.conftest import Caller
from tests.architecture.sources import ROOT
from tests.conftest import openai_body

pytestmark = pytest.mark.django_db(transaction=True)
SCIM = "/preview/scim/v2"
USER = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "new@example.com"}
GROUP = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "new"}
MODEL = {"name": "new", "kind": "deployment", "location": "team.models:New"}
HOST = {"name": "new", "base_url": "http://127.0.0.1:9/v1"}
CREATES = {
    "endpoints_endpoint": ("/serving-endpoints", openai_body()),
    "endpoints_configversion": ("/serving-endpoints", openai_body()),
    "registered_models_registeredmodel": ("/registered-models", MODEL),
    "model_hosts_modelhost": ("/model-hosts", HOST),
    "vault_scope": ("/secrets/scopes/create", {"scope": "new"}),
    "accounts_user": (f"{SCIM}/Users", USER),
    "accounts_group": (f"{SCIM}/Groups", GROUP),
    "api_idempotentreply": ("/secrets/scopes/create", {"scope": "new"}),
}


@contextmanager
def refused(table: str) -> Iterator[None]:
    """The database accepts no new rows of the model, as if a newer version had added a required column."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'NOT NULL'); END"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER refuse")


@pytest.mark.parametrize("table", CREATES)
def test_an_unknown_integrity_error_is_not_reported_as_a_duplicate_name(as_admin: Caller, table: str):
    path, body = CREATES[table]
    with refused(table):
        answer = as_admin.request("POST", path, body, Idempotency_Key="key-1")
    assert answer.error == (500, "INTERNAL_ERROR")
    assert as_admin.request("POST", path, body, Idempotency_Key="key-2").status in (200, 201)


def test_an_unknown_integrity_error_in_a_command_is_not_reported_as_a_duplicate_name():
    with refused("accounts_user"), pytest.raises(IntegrityError):
        commands.ensure_user(email="new@example.com")


def test_all_places_that_catch_integrity_errors_are_tested_here():
    found = set()
    for path in (ROOT / "serving_ui").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.ExceptHandler)
                and node.type
                and ast.unparse(node.type) == "IntegrityError"
            ):
                found.add(str(path.relative_to(ROOT / "serving_ui")))
    assert found == {
        "accounts/commands.py",
        "accounts/directory.py",
        "api/idempotency.py",
        "endpoints/commands.py",
        "model_hosts/commands.py",
        "registered_models/commands.py",
        "vault/commands.py",
    }
