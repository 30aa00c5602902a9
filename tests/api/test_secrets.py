"""Secret scopes, keys and rights through the API."""

from __future__ import annotations

import base64

import pytest

from serving_ui.accounts.models import Group, Membership, User
from tests.api.conftest import Caller, Calling

pytestmark = pytest.mark.django_db
NAMES = ["", "a b", "a/b", "x" * 129]


@pytest.fixture(autouse=True)
def prod(api: Caller) -> None:
    api.request_json("POST", "/secrets/scopes/create", {"scope": "prod"})


def put(api: Caller, **value: str) -> dict[str, object]:
    return api.request_json("POST", "/secrets/put", {"scope": "prod", "key": "openai", **value})


def grant(api: Caller, principal: str, permission: str) -> dict[str, object]:
    body = {"scope": "prod", "principal": principal, "permission": permission}
    return api.request_json("POST", "/secrets/acls/put", body)


def value(api: Caller, key: str = "openai") -> bytes:
    return base64.b64decode(api.get(f"/secrets/get?scope=prod&key={key}")["value"])


def test_a_scope_is_listed_with_its_keys_and_dates(api: Caller):
    assert api.get("/secrets/scopes/list") == {"scopes": [{"name": "prod", "backend_type": "DATABRICKS"}]}
    assert api.get("/secrets/list?scope=prod") == {"secrets": []}
    assert put(api, string_value="v") == {}
    [secret] = api.get("/secrets/list?scope=prod")["secrets"]
    assert set(secret) == {"key", "last_updated_timestamp"}
    assert secret["last_updated_timestamp"] > 1_600_000_000_000


@pytest.mark.parametrize("content", [b"text", "秘密\n".encode(), bytes(range(256)), b"\x00"])
def test_bytes_read_back_as_they_were_put(api: Caller, content: bytes):
    put(api, bytes_value=base64.b64encode(content).decode())
    assert value(api) == content


def test_text_reads_back_in_base64(api: Caller):
    put(api, string_value="秘密")
    assert value(api).decode() == "秘密"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "string_value"),
        ({"string_value": "a", "bytes_value": "YQ=="}, "string_value"),
        ({"string_value": ""}, "value"),
        ({"bytes_value": "no base64!"}, "bytes_value"),
        ({"bytes_value": "ÅÅÅÅ"}, "bytes_value"),
        ({"bytes_value": ""}, "value"),
        ({"string_value": 1}, "string_value"),
    ],
)
def test_a_value_is_either_text_or_base64(api: Caller, fields: dict[str, object], field: str):
    reply = api.request("POST", "/secrets/put", {"scope": "prod", "key": "k", **fields})
    assert reply.error == (400, "INVALID_PARAMETER_VALUE")
    assert reply.body["details"][0]["field"] == field


@pytest.mark.parametrize("name", NAMES)
def test_bad_names_are_refused(api: Caller, name: str):
    assert api.request("POST", "/secrets/scopes/create", {"scope": name}).error == (
        400,
        "INVALID_PARAMETER_VALUE",
    )
    body = {"scope": "prod", "key": name, "string_value": "v"}
    assert api.request("POST", "/secrets/put", body).error == (400, "INVALID_PARAMETER_VALUE")


def test_a_duplicate_scope_is_refused(api: Caller):
    assert api.request("POST", "/secrets/scopes/create", {"scope": "prod"}).error == (
        400,
        "RESOURCE_ALREADY_EXISTS",
    )


def test_a_scope_in_another_backend_is_refused(api: Caller):
    body = {"scope": "vault", "scope_backend_type": "AZURE_KEYVAULT", "backend_azure_keyvault": {}}
    assert api.request("POST", "/secrets/scopes/create", body).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/secrets/list?scope=none",
        "/secrets/get?scope=none&key=k",
        "/secrets/get?scope=prod&key=none",
        "/secrets/acls/list?scope=none",
        "/secrets/acls/get?scope=prod&principal=nobody",
    ],
)
def test_unknown_scopes_and_keys_are_404(api: Caller, path: str):
    assert api.request("GET", path).error == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("path", ["/secrets/list", "/secrets/get?scope=prod", "/secrets/acls/get?scope=prod"])
def test_a_missing_parameter_is_named(api: Caller, path: str):
    reply = api.request("GET", path)
    assert reply.error == (400, "INVALID_PARAMETER_VALUE")
    assert "parameter" in reply.body["message"]


def test_keys_and_scopes_are_deleted(api: Caller):
    put(api, string_value="v")
    gone = {"scope": "prod", "key": "openai"}
    assert api.request_json("POST", "/secrets/delete", gone) == {}
    assert api.request("POST", "/secrets/delete", gone).error == (404, "RESOURCE_DOES_NOT_EXIST")
    assert api.request_json("POST", "/secrets/scopes/delete", {"scope": "prod"}) == {}
    assert api.request("POST", "/secrets/scopes/delete", {"scope": "prod"}).status == 404


def test_each_right_includes_the_lower_ones(api: Caller, teammate: User, calling: Calling):
    put(api, string_value="v")
    theirs = calling(teammate)
    new = {"scope": "prod", "key": "k", "string_value": "v"}
    acl = {"scope": "prod", "principal": "users", "permission": "READ"}
    assert theirs.request("GET", "/secrets/get?scope=prod&key=openai").status == 404
    grant(api, teammate.email, "READ")
    assert value(theirs) == b"v"
    assert theirs.request("POST", "/secrets/put", new).error == (403, "PERMISSION_DENIED")
    assert theirs.request("GET", "/secrets/acls/list?scope=prod").status == 403
    grant(api, teammate.email, "WRITE")
    theirs.request_json("POST", "/secrets/put", new)
    assert theirs.request("POST", "/secrets/acls/put", acl).status == 403
    assert theirs.request("POST", "/secrets/scopes/delete", {"scope": "prod"}).status == 403
    grant(api, teammate.email, "MANAGE")
    theirs.request_json("POST", "/secrets/acls/put", acl)
    theirs.request_json("POST", "/secrets/scopes/delete", {"scope": "prod"})


def test_rights_are_listed_and_revoked(api: Caller, owner: User, teammate: User, as_stranger: Caller):
    Membership.objects.create(group=Group.objects.create(name="Analysts"), user=teammate)
    grant(api, "analysts", "READ")
    grant(api, "users", "READ")
    assert api.get("/secrets/acls/list?scope=prod")["items"] == [
        {"principal": owner.email, "permission": "MANAGE"},
        {"principal": "Analysts", "permission": "READ"},
        {"principal": "users", "permission": "READ"},
    ]
    assert api.get("/secrets/acls/get?scope=prod&principal=ANALYSTS")["permission"] == "READ"
    assert as_stranger.get("/secrets/list?scope=prod") == {"secrets": []}
    assert api.request_json("POST", "/secrets/acls/delete", {"scope": "prod", "principal": "users"}) == {}
    assert as_stranger.request("GET", "/secrets/list?scope=prod").status == 404
    again = api.request("POST", "/secrets/acls/delete", {"scope": "prod", "principal": "users"})
    assert again.error == (404, "RESOURCE_DOES_NOT_EXIST")


def test_the_creators_right_to_manage_cannot_be_revoked(api: Caller, owner: User, as_admin: Caller):
    grant(as_admin, owner.email, "MANAGE")
    taken = {"scope": "prod", "principal": owner.email}
    assert as_admin.request("POST", "/secrets/acls/delete", taken).status == 400
    assert as_admin.request("POST", "/secrets/acls/put", {**taken, "permission": "READ"}).status == 400
    assert api.get("/secrets/acls/get?scope=prod&principal=" + owner.email)["permission"] == "MANAGE"


def test_a_scope_can_be_created_for_all_users(api: Caller, as_stranger: Caller):
    body = {"scope": "shared", "initial_manage_principal": "users"}
    api.request_json("POST", "/secrets/scopes/create", body)
    as_stranger.request_json("POST", "/secrets/put", {"scope": "shared", "key": "k", "string_value": "v"})


def test_a_right_for_an_unknown_principal_is_refused(api: Caller, as_stranger: Caller):
    body = {"scope": "prod", "principal": "nobody@example.com", "permission": "READ"}
    assert api.request("POST", "/secrets/acls/put", body).error == (404, "RESOURCE_DOES_NOT_EXIST")
    assert api.request("POST", "/secrets/acls/put", {**body, "permission": "OWN"}).status == 400
    foreign = as_stranger.request("POST", "/secrets/acls/put", body)
    assert "nobody@example.com" not in foreign.body["message"]


def test_requests_without_a_token_are_refused(anonymous: Caller):
    assert anonymous.request("GET", "/secrets/scopes/list").error == (401, "UNAUTHENTICATED")
    assert anonymous.request("POST", "/secrets/put", {}).error == (401, "UNAUTHENTICATED")
