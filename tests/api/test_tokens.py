"""Access tokens through the API: the caller's own, and for admins those of all users."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from serving_ui.accounts.commands import create_access_token
from serving_ui.accounts.models import AccessToken, User
from serving_ui.lib import clock
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db
ALL = "/token-management/tokens"


def made(api: Caller, **body: Any) -> dict[str, Any]:
    return api.request_json("POST", "/token/create", body)


def test_a_token_is_created_used_listed_and_revoked(api: Caller):
    token = made(api, comment="nightly", lifetime_seconds=3600)
    info = token["token_info"]
    assert info["expiry_time"] - info["creation_time"] == 3_600_000
    mine = Caller(token["token_value"])
    assert info in mine.get("/token/list")["token_infos"]
    assert api.request_json("POST", "/token/delete", {"token_id": info["token_id"]}) == {}
    assert mine.request("GET", "/token/list").error == (401, "UNAUTHENTICATED")
    again = api.request("POST", "/token/delete", {"token_id": info["token_id"]})
    assert again.error == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_token_without_a_lifetime_does_not_expire(api: Caller):
    assert made(api)["token_info"]["expiry_time"] == -1


def test_the_value_is_in_no_other_response(api: Caller, as_admin: Caller):
    value = made(api)["token_value"]
    assert value not in str(api.get("/token/list"))
    assert value not in str(as_admin.get(ALL))


@pytest.mark.parametrize(
    "body",
    [
        {"lifetime_seconds": 0},
        {"lifetime_seconds": -5},
        {"lifetime_seconds": 10**12},
        {"lifetime_seconds": "3600"},
        {"lifetime_seconds": True},
        {"comment": "x" * 201},
        {"comment": 1},
        {"scopes": ["sql"]},
        {"autoscope_enabled": True},
    ],
)
def test_an_invalid_token_request_is_refused(api: Caller, body: dict[str, Any]):
    before = AccessToken.objects.count()
    assert api.request("POST", "/token/create", body).error == (400, "INVALID_PARAMETER_VALUE")
    assert AccessToken.objects.count() == before


def test_an_expired_token_is_not_listed(api: Caller, owner: User):
    past = clock.now() - timedelta(hours=2)
    token, value = create_access_token(user=owner, lifetime=timedelta(hours=1), now=past)
    assert token.pk not in {each["token_id"] for each in api.get("/token/list")["token_infos"]}
    assert Caller(value).request("GET", "/token/list").status == 401


def test_only_the_comment_can_be_changed(api: Caller, as_stranger: Caller):
    token_id = made(api, comment="old")["token_info"]["token_id"]
    change = {"token": {"comment": "new"}, "update_mask": "comment"}
    assert api.request_json("PATCH", f"/token/{token_id}", change) == {}
    assert "new" in {each["comment"] for each in api.get("/token/list")["token_infos"]}
    wider = {"token": {"lifetime_seconds": 9}, "update_mask": "lifetime_seconds"}
    assert api.request("PATCH", f"/token/{token_id}", wider).status == 400
    scoped = {"token": {"scopes": ["sql"]}, "update_mask": "scopes"}
    assert api.request("PATCH", f"/token/{token_id}", scoped).status == 400
    assert as_stranger.request("PATCH", f"/token/{token_id}", change).error == (
        404,
        "RESOURCE_DOES_NOT_EXIST",
    )


def test_the_token_of_another_person_cannot_be_revoked(api: Caller, as_stranger: Caller):
    token_id = made(api)["token_info"]["token_id"]
    assert as_stranger.request("POST", "/token/delete", {"token_id": token_id}).status == 404
    assert AccessToken.objects.filter(pk=token_id).exists()


def test_admins_manage_all_tokens(api: Caller, as_admin: Caller, owner: User):
    token_id = made(api, comment="nightly")["token_info"]["token_id"]
    of_owner = as_admin.get(f"{ALL}?created_by_username=OWNER@example.com")["token_infos"]
    assert {each["created_by_username"] for each in of_owner} == {owner.email}
    [mine] = [each for each in of_owner if each["token_id"] == token_id]
    by_number = as_admin.get(f"{ALL}?created_by_id={mine['created_by_id']}")["token_infos"]
    assert by_number == of_owner == as_admin.get(f"{ALL}?created_by_id={owner.pk}")["token_infos"]
    assert as_admin.get(f"{ALL}/{token_id}") == {"token_info": mine}
    change = {"token": {"comment": "looked at"}, "update_mask": "comment"}
    assert as_admin.request_json("PATCH", f"{ALL}/{token_id}", change)["comment"] == "looked at"
    assert as_admin.request_json("DELETE", f"{ALL}/{token_id}") == {}
    assert as_admin.request("GET", f"{ALL}/{token_id}").status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ALL), ("GET", f"{ALL}/x"), ("PATCH", f"{ALL}/x"), ("DELETE", f"{ALL}/x")],
)
def test_only_admins_manage_all_tokens(api: Caller, method: str, path: str):
    assert api.request(method, path).error == (403, "PERMISSION_DENIED")


def test_an_admin_creates_a_token_for_a_service_principal(as_admin: Caller, api: Caller, admin: User):
    path, application_id = "/token-management/on-behalf-of/tokens", "0b5f8d2e-1111-4222-8333-444455556666"
    body = {"application_id": application_id, "comment": "deploys", "lifetime_seconds": 60}
    assert as_admin.request("POST", path, body).error == (404, "RESOURCE_DOES_NOT_EXIST")
    as_admin.request_json("POST", "/preview/scim/v2/ServicePrincipals", {"applicationId": application_id})
    token = as_admin.request_json("POST", path, body)
    assert token["token_info"]["created_by_username"] == admin.email
    assert Caller(token["token_value"]).get("/preview/scim/v2/Me")["userName"] == application_id
    assert api.request("POST", path, body).error == (403, "PERMISSION_DENIED")
    assert as_admin.request("POST", path, {**body, "application_id": "owner@example.com"}).status == 404


def test_an_unknown_field_is_named_in_a_warning(api: Caller):
    assert "colour" in made(api, colour="red")["warnings"][0]
