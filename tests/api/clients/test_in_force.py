"""A change is in force when the API call returns: the next query is answered accordingly."""

from __future__ import annotations

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel
from databricks.sdk.service.serving import RateLimit, RateLimitKey, RateLimitRenewalPeriod

from tests.api.clients.bodies import MESSAGES, ready
from tests.api.clients.conftest import KEY, OTHER, OWNER, SCOPE, Account
from tests.support.sandbox import SandboxServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]


def query_status(account: Account, name: str) -> int:
    """The status of one query."""
    body = {"messages": MESSAGES}
    return account.call("POST", f"/serving-endpoints/{name}/invocations", body).status_code


def test_a_revoked_token_is_refused_by_the_next_query(
    workspace: WorkspaceClient, owner: Account, name: str, secret: str
):
    ready(workspace, name, secret)
    made = workspace.tokens.create(comment="for one query")
    account = Account(OWNER, owner.url, made.token_value or "")
    assert query_status(account, name) == 200
    assert made.token_info is not None
    workspace.tokens.delete(made.token_info.token_id or "")
    assert query_status(account, name) == 401


def test_a_changed_permission_applies_to_the_next_query(
    workspace: WorkspaceClient, other: Account, name: str, secret: str
):
    endpoint_id = ready(workspace, name, secret).id or ""
    assert query_status(other, name) == 404
    for level, status in (
        (PermissionLevel.CAN_QUERY, 200),
        (PermissionLevel.CAN_VIEW, 403),
        (PermissionLevel.CAN_MANAGE, 200),
    ):
        access = AccessControlRequest(user_name=OTHER, permission_level=level)
        workspace.permissions.set("serving-endpoints", endpoint_id, access_control_list=[access])
        assert query_status(other, name) == status
    everyone = AccessControlRequest(group_name="users", permission_level=PermissionLevel.CAN_QUERY)
    workspace.permissions.set("serving-endpoints", endpoint_id, access_control_list=[everyone])
    assert query_status(other, name) == 200
    workspace.permissions.set("serving-endpoints", endpoint_id, access_control_list=[])
    assert query_status(other, name) == 404


def test_a_changed_limit_and_a_deletion_apply_to_the_next_query(
    workspace: WorkspaceClient, owner: Account, name: str, secret: str
):
    ready(workspace, name, secret)
    none = RateLimit(calls=0, key=RateLimitKey.ENDPOINT, renewal_period=RateLimitRenewalPeriod.MINUTE)
    workspace.serving_endpoints.put(name, rate_limits=[none])
    assert query_status(owner, name) == 429
    workspace.serving_endpoints.put(name, rate_limits=[])
    assert query_status(owner, name) == 200
    workspace.serving_endpoints.delete(name)
    assert query_status(owner, name) == 404


def test_a_changed_secret_is_used_by_the_next_query(
    workspace: WorkspaceClient, owner: Account, provider: SandboxServer, name: str, secret: str
):
    ready(workspace, name, secret)
    for value in ("sk-the-next", "sk-the-one-after"):
        workspace.secrets.put_secret(SCOPE, KEY, string_value=value)
        assert query_status(owner, name) == 200
        assert provider.requests("chat/completions")[-1]["key"] == value


def test_a_ready_endpoint_answers_the_next_query(
    workspace: WorkspaceClient, owner: Account, name: str, secret: str
):
    ready(workspace, name, secret)
    assert query_status(owner, name) == 200
