"""The API shows secrets that may not be sent any more, and lets managers take over."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.accounts import directory
from serving_ui.accounts.models import User
from serving_ui.endpoints.models import Endpoint
from serving_ui.snapshots.builder import SnapshotBuilder
from tests.api.conftest import Caller, Calling
from tests.endpoints import secret_scenario
from tests.endpoints.conftest import settle
from tests.support.sandbox import SandboxServer

pytestmark = pytest.mark.django_db(transaction=True)
CHAT = "/serving-endpoints/chat"
TAKE_OVER = f"{CHAT}/config:take-over"


@pytest.fixture
def theirs(owner: User, teammate: User, calling: Calling, sandbox: SandboxServer) -> Caller:
    """A caller with the token of the teammate, whose endpoint uses the owner's secret; the owner may manage the endpoint."""
    secret_scenario.make_scope(owner)
    secret_scenario.let_read(owner, teammate)
    caller = calling(teammate)
    caller.request_json(
        "POST",
        "/serving-endpoints",
        {"name": "chat", "config": secret_scenario.config(sandbox.base).public()},
    )
    settle(Endpoint.objects.get(name="chat"))
    secret_scenario.let_manage(teammate, owner)
    return caller


def deployment(api: Caller) -> dict[str, Any]:
    found: dict[str, Any] = api.get(CHAT)["config"]["served_entities"][0]["state"]
    return found


def test_a_revoked_endpoint_shows_the_reason(api: Caller, theirs: Caller, owner: User, teammate: User):
    assert deployment(theirs) == {"deployment": "DEPLOYMENT_READY", "deployment_state_message": ""}
    theirs_by_name = {"scope": "prod", "principal": teammate.email}
    api.request_json("POST", "/secrets/acls/delete", theirs_by_name)
    secret_scenario.state_after_revocations()
    assert theirs.get(CHAT)["state"] == {"ready": "NOT_READY", "config_update": "NOT_UPDATING"}
    state = deployment(theirs)
    assert state["deployment"] == "DEPLOYMENT_FAILED"
    for word in (secret_scenario.REFERENCE, owner.email, teammate.email):
        assert word in state["deployment_state_message"]
    newest = theirs.get(f"{CHAT}/events")["events"][0]
    assert newest["type"] == "ENDPOINT_REVOKED_EVENT"
    assert secret_scenario.REFERENCE in newest["message"]
    [listed] = theirs.get("/serving-endpoints")["endpoints"]
    assert listed["state"]["ready"] == "NOT_READY"
    assert api.request_json("POST", TAKE_OVER)["state"]["ready"] == "READY"
    assert deployment(theirs)["deployment"] == "DEPLOYMENT_READY"
    assert secret_scenario.sent_key() == "first"


def test_endpoints_that_need_a_takeover_are_listed_for_their_managers(
    api: Caller, theirs: Caller, as_admin: Caller, as_stranger: Caller
):
    teammate, admin = (User.objects.get(email=f"{name}@example.com") for name in ("teammate", "admin"))
    assert as_admin.get("/secrets/takeovers/list") == {"takeovers": []}
    directory.change_principal(user=teammate, active=False, actor=admin)
    waiting = {"endpoint": "chat", "secret": secret_scenario.REFERENCE, "authorised_by": teammate.email}
    for caller in (api, as_admin):
        assert caller.get("/secrets/takeovers/list") == {"takeovers": [waiting]}
    assert as_stranger.get("/secrets/takeovers/list") == {"takeovers": []}
    assert theirs.request("GET", CHAT).error == (401, "UNAUTHENTICATED")
    as_admin.request_json("POST", TAKE_OVER)
    assert as_admin.get("/secrets/takeovers/list") == {"takeovers": []}


@pytest.mark.parametrize("level", ["CAN_VIEW", "CAN_MANAGE"])
def test_a_takeover_needs_the_right_to_manage_and_to_read_the_secret(
    api: Caller, theirs: Caller, as_stranger: Caller, level: str
):
    owner, teammate = (User.objects.get(email=f"{name}@example.com") for name in ("owner", "teammate"))
    secret_scenario.withdraw(owner, teammate)
    assert as_stranger.request("POST", TAKE_OVER).error == (404, "RESOURCE_DOES_NOT_EXIST")
    access = [{"user_name": "stranger@example.com", "permission_level": level}]
    endpoint_id = api.get(CHAT)["id"]
    api.request_json(
        "PATCH", f"/permissions/serving-endpoints/{endpoint_id}", {"access_control_list": access}
    )
    assert as_stranger.request("POST", TAKE_OVER).error == (403, "PERMISSION_DENIED")


def test_a_limit_does_not_apply_to_a_new_group_of_the_same_name(
    api: Caller, theirs: Caller, as_admin: Caller
):
    limits = [{"key": "user_group", "principal": "red", "calls": 1, "renewal_period": "minute"}]
    made = as_admin.request_json("POST", "/preview/scim/v2/Groups", {"displayName": "red"})
    answer = api.request_json("PUT", f"{CHAT}/rate-limits", {"rate_limits": limits})
    assert answer == {"rate_limits": limits} and api.get(CHAT)["rate_limits"] == limits
    as_admin.request_json("DELETE", f"/preview/scim/v2/Groups/{made['id']}")
    as_admin.request_json("POST", "/preview/scim/v2/Groups", {"displayName": "red"})
    assert SnapshotBuilder().build().endpoints["chat"].limits == ()
