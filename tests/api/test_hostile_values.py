"""No hostile value at any place of a request causes a server error, for every operation."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest

from serving_ui.accounts.models import User
from serving_ui.api.operation import Operation
from serving_ui.api.reference.code_samples import EXAMPLE, example_body
from serving_ui.api.urls import OPERATIONS
from tests.api.conftest import API, Caller
from tests.api.hostile_values import TEXTS, bodies_with_hostile_values, path_and_query_values

pytestmark = pytest.mark.django_db
API_OPERATIONS = [each for each in OPERATIONS if each.path.startswith(API)]
ENDPOINT = {
    "name": "known",
    "config": {
        "served_entities": [
            {
                "name": "known-entity",
                "external_model": {
                    "name": "gpt-4o",
                    "provider": "openai",
                    "task": "llm/v1/chat",
                    "openai_config": {"openai_api_key_plaintext": "sk-known"},
                },
            }
        ]
    },
}


@pytest.fixture
def known(as_admin: Caller, admin: User) -> dict[str, str]:
    """Existing objects of each kind: names by path parameter, and ids by kind."""
    as_admin.request_json("POST", "/secrets/scopes/create", {"scope": "known"})
    as_admin.request_json(
        "POST", "/secrets/put", {"scope": "known", "key": "known", "string_value": "sk-known"}
    )
    made = as_admin.request_json("POST", "/serving-endpoints", ENDPOINT)
    group = as_admin.request_json("POST", "/preview/scim/v2/Groups", {"displayName": "Known"})
    service_principal = as_admin.request_json(
        "POST", "/preview/scim/v2/ServicePrincipals", {"displayName": "Known"}
    )
    person = as_admin.request_json("POST", "/preview/scim/v2/Users", {"userName": "known@example.com"})
    token = as_admin.request_json("POST", "/token/create", {"comment": "known"})
    model = {"name": "known", "kind": "deployment", "location": "team.models:Known"}
    as_admin.request_json("POST", "/registered-models", model)
    host = {"name": "known", "base_url": "http://127.0.0.1:9/v1"}
    as_admin.request_json("POST", "/model-hosts", host)
    return {
        "name": "known",
        "served_model_name": "known-entity",
        "model_name": "known",
        "model_version": "1",
        "host": "known",
        "scope": "known",
        "key": "known",
        "principal": "users",
        "permissions": made["id"],
        "Groups": group["id"],
        "ServicePrincipals": service_principal["id"],
        "Users": person["id"],
        "token": token["token_info"]["token_id"],
    }


def values_for(operation: Operation, known: dict[str, str]) -> dict[str, str]:
    """The values of path parameters for an operation."""
    kind = next((kind for kind in known if f"/{kind}" in operation.path), "")
    return {**known, "id": known.get(kind, "none")}


def address(operation: Operation, parts: dict[str, str]) -> str:
    path, query = operation.path, dict(parts)
    for hole in operation.path_names:
        path = path.replace(f"{{{hole}}}", quoted(query.pop(hole)))
    query_string = urlencode(query, errors="surrogatepass")
    return path.removeprefix(API) + (f"?{query_string}" if query_string else "")


def quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


def server_error(caller: Caller, operation: Operation, path: str, body: Any = None) -> str:
    reply = caller.request(operation.method, path, body)
    return "" if reply.status < 500 else f"{reply.status} {reply.content[:200]!r}"


@pytest.mark.parametrize("operation", API_OPERATIONS, ids=lambda each: each.name)
def test_no_path_or_query_causes_a_server_error(
    operation: Operation, as_admin: Caller, known: dict[str, str]
):
    body = example_body(operation, EXAMPLE)
    wrong = {}
    for parts in path_and_query_values(operation, values_for(operation, known)):
        if found := server_error(as_admin, operation, address(operation, parts), body):
            wrong[str(parts)[:200]] = found
    assert not wrong


WITH_BODY = [each for each in API_OPERATIONS if each.body]


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda each: each.name)
def test_no_body_causes_a_server_error(operation: Operation, as_admin: Caller, known: dict[str, str]):
    path = address(operation, next(path_and_query_values(operation, values_for(operation, known))))
    assert operation.body is not None
    wrong = {}
    for what, body in bodies_with_hostile_values(example_body(operation, EXAMPLE) or {}, operation.body):
        if found := server_error(as_admin, operation, path, body):
            wrong[what] = found
    assert not wrong


@pytest.mark.parametrize("name", ["Idempotency-Key", "Authorization", "Accept-Language", "Content-Type"])
def test_no_header_causes_a_server_error(name: str, as_admin: Caller):
    for text in [*TEXTS, "Bearer " + "x" * 10_000, "Bearer \x80\xff", "application/json; charset=none"]:
        value = text.encode(errors="surrogatepass").decode("latin-1")
        headers = {name.upper().replace("-", "_"): value}
        assert as_admin.request("POST", "/token/create", {"comment": "a"}, **headers).status < 500, text[:80]


LONG = "x" * 60_000  # longer than the patterns that SQLite accepts for LIKE


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/secrets/scopes/create", {"scope": "a", "initial_manage_principal": LONG}),
        ("POST", "/secrets/acls/put", {"scope": "known", "principal": LONG, "permission": "READ"}),
        ("POST", "/token-management/on-behalf-of/tokens", {"application_id": LONG}),
        ("POST", "/preview/scim/v2/Users", {"userName": f"{LONG}@example.com"}),
    ],
)
def test_a_name_that_is_too_long_is_refused(
    method: str, path: str, body: dict[str, Any], as_admin: Caller, known: dict[str, str]
):
    assert as_admin.request(method, path, body).status in (400, 404)


def test_a_permission_for_a_name_that_is_too_long_is_refused(as_admin: Caller, known: dict[str, str]):
    access = [{"user_name": LONG, "permission_level": "CAN_VIEW"}]
    path = f"/permissions/serving-endpoints/{known['permissions']}"
    assert as_admin.request("PATCH", path, {"access_control_list": access}).status in (400, 404)


@pytest.mark.parametrize("name", ["created_by_username", "created_by_id"])
def test_a_filter_by_a_name_that_is_too_long_finds_no_tokens(name: str, as_admin: Caller):
    assert as_admin.get(f"/token-management/tokens?{name}={LONG}") == {"token_infos": []}


def test_a_group_with_the_largest_number_of_unknown_members_is_refused(as_admin: Caller):
    body = {"displayName": "All", "members": [{"value": f"{number:032x}"} for number in range(10_000)]}
    assert as_admin.request("POST", "/preview/scim/v2/Groups", body).error == (404, "RESOURCE_DOES_NOT_EXIST")
