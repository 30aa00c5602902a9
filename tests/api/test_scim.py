"""SCIM: users, service principals and groups."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from serving_ui.accounts.models import Group, User
from tests.api.conftest import Caller, Calling

pytestmark = pytest.mark.django_db
SCIM = "/preview/scim/v2"
USERS, GROUPS, SERVICE_PRINCIPALS = f"{SCIM}/Users", f"{SCIM}/Groups", f"{SCIM}/ServicePrincipals"


def group(api: Caller, name: str = "Analysts", *members: User) -> dict[str, Any]:
    body = {"displayName": name, "members": [{"value": member.pk} for member in members]}
    return api.request_json("POST", GROUPS, body)


def patched(api: Caller, path: str, *operations: dict[str, Any]) -> dict[str, Any]:
    return api.request_json("PATCH", path, {"Operations": list(operations)})


def members(shown: dict[str, Any]) -> set[str]:
    return {member["value"] for member in shown["members"]}


def names(api: Caller, path: str, field: str = "userName") -> list[str]:
    return [each[field] for each in api.get(path)["Resources"]]


def test_me_returns_the_caller(api: Caller, owner: User, as_admin: Caller):
    me = api.get(f"{SCIM}/Me")
    assert (me["id"], me["userName"], me["active"], me["name"]) == (owner.pk, owner.email, True, {})
    assert me["emails"] == [{"value": owner.email, "type": "work", "primary": True}]
    assert [each["display"] for each in me["groups"]] == ["users"]
    assert [each["display"] for each in as_admin.get(f"{SCIM}/Me")["groups"]] == ["admins", "users"]


def test_a_user_is_created_read_changed_and_deleted(as_admin: Caller, api: Caller):
    name = {"givenName": "Ada", "familyName": "Lovelace"}
    made = as_admin.request_json(
        "POST", USERS, {"userName": "ada@example.com", "name": name, "externalId": "42"}
    )
    path = f"{USERS}/{made['id']}"
    assert api.get(path) == made
    assert (made["displayName"], made["name"], made["externalId"]) == ("Ada Lovelace", name, "42")
    changed = patched(
        as_admin,
        path,
        {"op": "Replace", "path": "name.familyName", "value": "King"},
        {"op": "replace", "value": {"active": False, "externalId": "43"}},
    )
    assert (changed["displayName"], changed["active"], changed["externalId"]) == ("Ada King", False, "43")
    replaced = as_admin.request_json("PUT", path, {"userName": "ada@example.com", "displayName": "Ada"})
    assert (replaced["displayName"], replaced["active"], "externalId" in replaced) == ("Ada", True, False)
    assert as_admin.request_json("DELETE", path) == {}
    assert api.request("GET", path).error == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", USERS, {"userName": "new@example.com"}),
        ("POST", GROUPS, {"displayName": "new"}),
        ("POST", SERVICE_PRINCIPALS, {}),
        ("PATCH", USERS + "/{owner}", {"Operations": [{"op": "replace", "path": "active", "value": True}]}),
        ("PATCH", GROUPS + "/{admins}", {"Operations": [{"op": "add", "path": "members", "value": []}]}),
        ("PUT", USERS + "/{owner}", {"displayName": "Me"}),
        ("PUT", GROUPS + "/{admins}", {"displayName": "admins"}),
        ("DELETE", USERS + "/{owner}", None),
        ("DELETE", GROUPS + "/{admins}", None),
    ],
)
def test_only_admins_can_change_users_and_groups(
    api: Caller, owner: User, method: str, path: str, body: dict[str, Any] | None
):
    path = path.format(owner=owner.pk, admins=Group.built_in("admins").pk)
    assert api.request(method, path, body).error == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"userName": "not an e-mail"}, 400),
        ({"userName": "OWNER@example.com"}, 409),
        ({"userName": "a@example.com", "active": "yes"}, 400),
        ({"userName": "a@example.com", "displayName": "x" * 201}, 400),
        ({"userName": 1}, 400),
    ],
)
def test_an_invalid_user_is_refused(as_admin: Caller, owner: User, body: dict[str, Any], status: int):
    assert as_admin.request("POST", USERS, body).status == status
    assert User.objects.count() == 2


def test_ignored_attributes_are_named_in_a_warning(as_admin: Caller):
    body = {"userName": "a@example.com", "entitlements": [{"value": "workspace-access"}]}
    made = as_admin.request_json("POST", USERS, body)
    assert "entitlements" in made["warnings"][0]
    operation = {"op": "add", "path": "entitlements", "value": [{"value": "workspace-access"}]}
    assert "entitlements" in patched(as_admin, f"{USERS}/{made['id']}", operation)["warnings"][0]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "move", "path": "displayName", "value": "x"},
        {"op": "replace", "value": "x"},
        {"op": "replace", "path": "displayName", "value": 1},
        {"op": "replace", "path": "active", "value": "perhaps"},
        {"op": "replace", "path": "userName", "value": "other@example.com"},
        {"op": "replace", "path": "shoeSize", "value": 44},
        {"path": "displayName"},
    ],
)
def test_an_invalid_operation_is_refused(as_admin: Caller, owner: User, operation: dict[str, Any]):
    reply = as_admin.request("PATCH", f"{USERS}/{owner.pk}", {"Operations": [operation]})
    assert reply.error == (400, "INVALID_PARAMETER_VALUE")


def test_the_last_admin_cannot_be_removed(as_admin: Caller, admin: User, owner: User):
    out = {"op": "replace", "path": "active", "value": False}
    mine = f"{USERS}/{admin.pk}"
    assert as_admin.request("PATCH", mine, {"Operations": [out]}).error == (409, "RESOURCE_CONFLICT")
    assert as_admin.request("DELETE", mine).error == (409, "RESOURCE_CONFLICT")
    admins = f"{GROUPS}/{Group.built_in('admins').pk}"
    gone = {"op": "remove", "path": f'members[value eq "{admin.pk}"]'}
    assert as_admin.request("PATCH", admins, {"Operations": [gone]}).error == (409, "RESOURCE_CONFLICT")
    both = patched(as_admin, admins, {"op": "add", "path": "members", "value": [{"value": owner.pk}]})
    assert members(both) == {admin.pk, owner.pk}
    assert members(patched(as_admin, admins, gone)) == {owner.pk}
    assert as_admin.request("DELETE", f"{USERS}/{owner.pk}").error == (403, "PERMISSION_DENIED")


def test_a_user_who_owns_something_can_only_be_deactivated(api: Caller, as_admin: Caller, owner: User):
    api.request_json("POST", "/secrets/scopes/create", {"scope": "prod"})
    path = f"{USERS}/{owner.pk}"
    refused = as_admin.request("DELETE", path)
    assert refused.error == (409, "RESOURCE_CONFLICT")
    assert "active" in refused.body["message"]
    patched(as_admin, path, {"op": "replace", "path": "active", "value": "False"})
    assert api.request("GET", f"{SCIM}/Me").error == (401, "UNAUTHENTICATED")


def test_a_group_is_created_read_changed_and_deleted(
    as_admin: Caller, api: Caller, owner: User, teammate: User
):
    made = group(as_admin, "Analysts", owner)
    path = f"{GROUPS}/{made['id']}"
    assert api.get(path) == made
    assert [each["display"] for each in api.get(f"{SCIM}/Me")["groups"]] == ["users", "Analysts"]
    join = {"op": "add", "path": "members", "value": [{"value": teammate.pk}, {"value": owner.pk}]}
    assert members(patched(as_admin, path, join)) == {owner.pk, teammate.pk}
    leave = {"op": "remove", "path": f'members[value eq "{owner.pk}"]'}
    rename = {"op": "replace", "path": "displayName", "value": "Readers"}
    changed = patched(as_admin, path, leave, rename)
    assert (members(changed), changed["displayName"]) == ({teammate.pk}, "Readers")
    only = {"op": "replace", "value": {"members": [{"value": owner.pk}]}}
    assert members(patched(as_admin, path, only)) == {owner.pk}
    assert members(patched(as_admin, path, {"op": "remove", "path": "members"})) == set()
    replaced = as_admin.request_json("PUT", path, {"displayName": "All", "members": [{"value": owner.pk}]})
    assert (members(replaced), replaced["displayName"]) == ({owner.pk}, "All")
    assert as_admin.request_json("DELETE", path) == {}
    assert api.request("GET", path).error == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("operation", "warned"),
    [
        pytest.param(
            {"op": "Remove", "path": "members", "value": [{"value": "{owner}"}]}, False, id="entra-members"
        ),
        pytest.param(
            {"op": "remove", "path": 'members[value eq "{owner}"]'}, False, id="okta-and-databricks-members"
        ),
        pytest.param(
            {"op": "replace", "value": {"id": "{group}", "displayName": "Analysts", "members": []}},
            True,
            id="okta-group",
        ),
    ],
)
def test_every_way_of_removing_members_is_supported(
    as_admin: Caller, owner: User, operation: dict[str, Any], warned: bool
):
    path = f"{GROUPS}/{group(as_admin, 'Analysts', owner)['id']}"
    text = json.dumps(operation).replace("{owner}", owner.pk).replace("{group}", path.rpartition("/")[2])
    changed = patched(as_admin, path, json.loads(text))
    assert (changed["members"], "warnings" in changed) == ([], warned)


def test_a_patch_is_atomic(as_admin: Caller, owner: User):
    path = f"{GROUPS}/{group(as_admin)['id']}"
    join = {"op": "add", "path": "members", "value": [{"value": owner.pk}]}
    unknown = {"op": "add", "path": "members", "value": [{"value": "nobody"}]}
    refused = as_admin.request("PATCH", path, {"Operations": [join, unknown]})
    assert refused.error == (404, "RESOURCE_DOES_NOT_EXIST")
    assert as_admin.get(path)["members"] == []


@pytest.mark.parametrize(
    ("name", "status"), [("", 400), ("a@b", 400), ("analysts", 409), ("ADMINS", 409), ("x" * 201, 400)]
)
def test_an_invalid_group_is_refused(as_admin: Caller, name: str, status: int):
    group(as_admin)
    Group.built_in("admins")
    assert as_admin.request("POST", GROUPS, {"displayName": name}).status == status


def test_the_built_in_groups_cannot_be_changed(as_admin: Caller, api: Caller, owner: User):
    found = {each["displayName"]: each for each in api.get(GROUPS)["Resources"]}
    assert set(found) == {"admins", "users"}
    assert owner.pk in members(found["users"])
    for each in found.values():
        path = f"{GROUPS}/{each['id']}"
        assert as_admin.request("DELETE", path).status == 400
        rename = {"op": "replace", "path": "displayName", "value": "others"}
        assert as_admin.request("PATCH", path, {"Operations": [rename]}).status == 400
    leave = {"op": "remove", "path": "members", "value": [{"value": owner.pk}]}
    everyone = f"{GROUPS}/{found['users']['id']}"
    assert as_admin.request("PATCH", everyone, {"Operations": [leave]}).status == 400


def test_a_service_principal_is_created_read_and_deleted(as_admin: Caller, api: Caller):
    made = as_admin.request_json("POST", SERVICE_PRINCIPALS, {"displayName": "Deploys"})
    path = f"{SERVICE_PRINCIPALS}/{made['id']}"
    assert api.get(path) == made
    assert len(made["applicationId"]) == 36
    assert names(api, SERVICE_PRINCIPALS, "displayName") == ["Deploys"]
    assert made["id"] not in [each["id"] for each in api.get(USERS)["Resources"]]
    assert api.request("GET", f"{USERS}/{made['id']}").status == 404
    assert as_admin.request("POST", SERVICE_PRINCIPALS, {"applicationId": "no uuid"}).status == 400
    assert (
        as_admin.request("POST", SERVICE_PRINCIPALS, {"applicationId": made["applicationId"]}).status == 409
    )
    renamed = patched(as_admin, path, {"op": "replace", "path": "displayName", "value": "Robot"})
    assert renamed["displayName"] == "Robot"
    assert as_admin.request_json("PUT", path, {"displayName": "R2"})["displayName"] == "R2"
    assert as_admin.request_json("DELETE", path) == {}


@pytest.mark.parametrize(
    ("filter_text", "found"),
    [
        ('userName eq "OWNER@example.com"', {"owner"}),
        ('userName co "ner"', {"owner"}),
        ('userName sw "t"', {"teammate"}),
        ('userName ew "example.com" and userName ne "owner@example.com"', {"teammate"}),
        ('userName eq "x" or userName sw "owner" and active eq true', {"owner"}),
        ("active eq false", set()),
        ("externalId pr", set()),
        ('displayName eq "a \\"b\\""', set()),
        ('emails.value eq "owner@example.com"', {"owner"}),
    ],
)
def test_a_filter_narrows_the_list(api: Caller, teammate: User, filter_text: str, found: set[str]):
    assert {name.split("@")[0] for name in names(api, f"{USERS}?filter={quote(filter_text)}")} == found


@pytest.mark.parametrize(
    "query",
    [
        "filter=userName",
        "filter=" + quote('userName eq "a" and'),
        "filter=" + quote('(userName eq "a")'),
        "filter=" + quote('userName gt "a"'),
        "filter=" + quote('shoeSize eq "44"'),
        "filter=" + quote('active eq "x"'),
        "filter=" + quote("userName eq true"),
        "filter=" + quote('userName eq "\\u0000"'),
        "filter=" + "a" * 3000,
        "count=many",
        "startIndex=-1",
    ],
)
def test_an_invalid_list_query_is_refused(api: Caller, query: str):
    assert api.request("GET", f"{USERS}?{query}").error == (400, "INVALID_PARAMETER_VALUE")


def test_a_list_is_paged(api: Caller, teammate: User, stranger: User):
    first = api.get(f"{USERS}?startIndex=1&count=2")
    assert (first["totalResults"], first["startIndex"], first["itemsPerPage"]) == (3, 1, 2)
    second = api.get(f"{USERS}?startIndex=3&count=10000")
    assert [each["userName"] for each in second["Resources"]] == ["stranger@example.com"]
    assert api.get(f"{USERS}?startIndex=4")["Resources"] == []
    backwards = names(api, f"{USERS}?sortBy=userName&sortOrder=descending")
    assert backwards == ["teammate@example.com", "stranger@example.com", "owner@example.com"]


def test_attributes_can_be_selected_and_excluded(api: Caller):
    [user] = api.get(f"{USERS}?attributes=userName,name.givenName")["Resources"]
    assert set(user) == {"schemas", "id", "userName", "name"}
    for found in api.get(f"{GROUPS}?excludedAttributes=members")["Resources"]:
        assert "members" not in found


def test_a_list_needs_a_constant_number_of_queries(
    api: Caller, as_admin: Caller, django_assert_num_queries: Any
):
    people = [User.objects.create(email=f"p{number}@example.com") for number in range(20)]
    group(as_admin, "Small", *people[:1])
    group(as_admin, "Large", *people)
    for query in ("", "?startIndex=2&count=5", "?cursor=&count=5"):
        with django_assert_num_queries(5):
            assert api.get(USERS + query)["totalResults"] == 22
    with django_assert_num_queries(6):
        assert api.get(GROUPS)["totalResults"] == 4


def test_a_service_principal_authenticates_with_its_own_token(calling: Calling, as_admin: Caller):
    made = as_admin.request_json("POST", SERVICE_PRINCIPALS, {"displayName": "Deploys"})
    me = calling(User.objects.get(pk=made["id"])).get(f"{SCIM}/Me")
    assert (me["userName"], me["emails"]) == (made["applicationId"], [])
