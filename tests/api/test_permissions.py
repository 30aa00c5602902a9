"""The permissions API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serving_ui.accounts.models import Group, Membership, User
from serving_ui.endpoints.models import Endpoint, Grant
from tests.api.conftest import Caller, Calling

pytestmark = pytest.mark.django_db(transaction=True)
ADMINS = {
    "group_name": "admins",
    "display_name": "admins",
    "all_permissions": [
        {
            "permission_level": "CAN_MANAGE",
            "inherited": True,
            "inherited_from_object": ["/serving-endpoints/"],
        }
    ],
}


@pytest.fixture
def path(make_endpoint: Callable[..., Endpoint]) -> str:
    return f"/permissions/serving-endpoints/{make_endpoint().pk}"


def access(level: str = "CAN_QUERY", **named: str) -> dict[str, str]:
    return {**named, "permission_level": level}


def acl(*entries: dict[str, str]) -> dict[str, Any]:
    return {"access_control_list": list(entries)}


def levels(shown: dict[str, Any]) -> dict[str, str]:
    """The level of each principal in the response."""
    names = ("user_name", "group_name", "service_principal_name")
    return {
        next(each[name] for name in names if name in each): each["all_permissions"][0]["permission_level"]
        for each in shown["access_control_list"]
    }


def test_the_creator_and_admins_manage(api: Caller, owner: User, path: str):
    shown = api.get(path)
    assert shown["object_id"] == path.removeprefix("/permissions")
    assert shown["object_type"] == "serving-endpoint"
    creator = {
        "user_name": owner.email,
        "display_name": owner.email,
        "all_permissions": [{"permission_level": "CAN_MANAGE", "inherited": False}],
    }
    assert shown["access_control_list"] == [creator, ADMINS]


def test_patch_merges_and_put_replaces(api: Caller, owner: User, teammate: User, stranger: User, path: str):
    merged = api.request_json("PATCH", path, acl(access(user_name=teammate.email)))
    assert levels(merged) == {owner.email: "CAN_MANAGE", teammate.email: "CAN_QUERY", "admins": "CAN_MANAGE"}
    merged = api.request_json("PATCH", path, acl(access("CAN_VIEW", user_name=stranger.email)))
    assert set(levels(merged)) == {owner.email, teammate.email, stranger.email, "admins"}
    replaced = api.request_json("PUT", path, acl(access("CAN_MANAGE", user_name=stranger.email)))
    assert levels(replaced) == {
        owner.email: "CAN_MANAGE",
        stranger.email: "CAN_MANAGE",
        "admins": "CAN_MANAGE",
    }
    assert levels(api.request_json("PUT", path, {})) == {owner.email: "CAN_MANAGE", "admins": "CAN_MANAGE"}


def test_groups_and_service_principals_can_be_granted_levels(
    api: Caller, teammate: User, as_stranger: Caller, calling: Calling, path: str
):
    service_principal = User.objects.create(
        email="0b5f8d2e-1111-4222-8333-444455556666", kind="service_principal"
    )
    Membership.objects.create(group=Group.objects.create(name="Analysts"), user=teammate)
    wanted = acl(
        access(group_name="analysts"), access("CAN_VIEW", service_principal_name=service_principal.email)
    )
    assert levels(api.request_json("PUT", path, wanted))["Analysts"] == "CAN_QUERY"
    assert calling(teammate).get("/serving-endpoints/chat")["permission_level"] == "CAN_QUERY"
    assert calling(service_principal).get("/serving-endpoints/chat")["permission_level"] == "CAN_VIEW"
    assert as_stranger.request("GET", path).error == (404, "RESOURCE_DOES_NOT_EXIST")
    api.request_json("PATCH", path, acl(access("CAN_VIEW", group_name="users")))
    assert as_stranger.get("/serving-endpoints/chat")["permission_level"] == "CAN_VIEW"
    assert calling(teammate).get("/serving-endpoints/chat")["permission_level"] == "CAN_QUERY"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (access(user_name="nobody@example.com"), "access_control_list[0].user_name"),
        (access(group_name="owner@example.com"), "access_control_list[0].group_name"),
        (access(service_principal_name="owner@example.com"), "access_control_list[0].service_principal_name"),
        (access(), "access_control_list[0]"),
        (access(user_name="teammate@example.com", group_name="users"), "access_control_list[0]"),
        (access("CAN_RUN", group_name="users"), "access_control_list[0].permission_level"),
        ({"group_name": "users"}, "access_control_list[0].permission_level"),
        (access("CAN_VIEW", user_name="owner@example.com"), "access_control_list[0].user_name"),
        (access("CAN_VIEW", group_name="admins"), "access_control_list[0].group_name"),
    ],
)
def test_an_invalid_entry_is_refused_with_its_field(
    api: Caller, teammate: User, path: str, wrong: dict[str, str], field: str
):
    for method in ("PUT", "PATCH"):
        reply = api.request(method, path, acl(wrong))
        assert reply.error == (400, "INVALID_PARAMETER_VALUE")
        assert [detail["field"] for detail in reply.body["details"]] == [field]
    assert not Grant.objects.exists()


def test_a_duplicate_principal_is_refused(api: Caller, teammate: User, path: str):
    twice = acl(access(user_name=teammate.email), access("CAN_VIEW", user_name=teammate.email.upper()))
    assert api.request("PUT", path, twice).error == (400, "INVALID_PARAMETER_VALUE")


def test_inherent_rights_of_creator_and_admins_may_be_sent(api: Caller, owner: User, path: str):
    access_list = acl(access("CAN_MANAGE", user_name=owner.email), access("CAN_MANAGE", group_name="admins"))
    assert levels(api.request_json("PUT", path, access_list)) == {
        owner.email: "CAN_MANAGE",
        "admins": "CAN_MANAGE",
    }
    assert not Grant.objects.exists()


def test_only_managers_can_grant_permissions(api: Caller, teammate: User, calling: Calling, path: str):
    api.request_json("PATCH", path, acl(access(user_name=teammate.email)))
    theirs = calling(teammate)
    assert set(levels(theirs.get(path))) == {"owner@example.com", teammate.email, "admins"}
    wish = acl(access("CAN_MANAGE", user_name=teammate.email))
    assert theirs.request("PATCH", path, wish).error == (403, "PERMISSION_DENIED")
    assert theirs.request("PUT", path, acl(access(user_name="whoever@example.com"))).status == 403


def test_the_permission_levels_are_listed(api: Caller, path: str):
    found = api.get(f"{path}/permissionLevels")["permission_levels"]
    assert [each["permission_level"] for each in found] == ["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]
    assert all(each["description"].endswith(".") for each in found)


def test_an_unknown_id_and_another_kind_are_404(api: Caller, path: str):
    assert api.request("GET", "/permissions/serving-endpoints/chat").error == (404, "RESOURCE_DOES_NOT_EXIST")
    assert api.request("GET", "/permissions/jobs/1").error == (404, "ENDPOINT_NOT_FOUND")


def test_only_real_changes_are_recorded_as_events(api: Caller, teammate: User, path: str):
    for _twice in range(2):
        api.request_json("PUT", path, acl(access(user_name=teammate.email)))
    api.request_json("PUT", path, {})
    messages = [each["message"] for each in api.get("/serving-endpoints/chat/events")["events"]]
    assert [message for message in messages if "Permissions" in message] == [
        "Permissions changed by owner@example.com: teammate@example.com, NONE.",
        "Permissions changed by owner@example.com: teammate@example.com, CAN_QUERY.",
    ]
