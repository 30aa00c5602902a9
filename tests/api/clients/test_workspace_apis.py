"""Every method of the SDK's services secrets, permissions, tokens and current_user, and for admins token_management, users and groups."""

from __future__ import annotations

import base64

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.common.types.fieldmask import FieldMask
from databricks.sdk.errors import PermissionDenied, ResourceDoesNotExist, Unauthenticated
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel
from databricks.sdk.service.settings import PublicTokenInfo
from databricks.sdk.service.workspace import AclPermission, ScopeBackendType

from tests.api.clients.bodies import ready
from tests.api.clients.conftest import OTHER, OWNER, Account

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]


def test_secrets_are_stored_listed_and_deleted(workspace: WorkspaceClient, name: str):
    api = workspace.secrets
    api.create_scope(name)
    found = {scope.name: scope.backend_type for scope in api.list_scopes()}
    assert found[name] is ScopeBackendType.DATABRICKS
    api.put_secret(name, "text", string_value="geheim 秘密")
    api.put_secret(name, "bytes", bytes_value=base64.b64encode(b"of bytes").decode())
    listed = {each.key: each.last_updated_timestamp for each in api.list_secrets(name)}
    assert set(listed) == {"text", "bytes"}
    assert all((stamp or 0) > 1_600_000_000_000 for stamp in listed.values())
    assert base64.b64decode(api.get_secret(name, "text").value or "").decode() == "geheim 秘密"
    assert base64.b64decode(api.get_secret(name, "bytes").value or "") == b"of bytes"
    api.delete_secret(name, "text")
    with pytest.raises(ResourceDoesNotExist):
        api.get_secret(name, "text")
    with pytest.raises(DatabricksError) as again:
        api.create_scope(name)
    assert again.value.error_code == "RESOURCE_ALREADY_EXISTS"
    api.delete_scope(name)
    with pytest.raises(ResourceDoesNotExist):
        list(api.list_secrets(name))


def test_rights_on_a_scope_are_set_and_read(workspace: WorkspaceClient, other: Account, name: str):
    api, theirs = workspace.secrets, other.client().secrets
    api.create_scope(name)
    api.put_secret(name, "key", string_value="x")
    assert api.get_acl(name, OWNER).permission is AclPermission.MANAGE
    with pytest.raises(DatabricksError):
        theirs.get_secret(name, "key")
    api.put_acl(name, OTHER, AclPermission.READ)
    assert {item.principal: item.permission for item in api.list_acls(name)} == {
        OWNER: AclPermission.MANAGE,
        OTHER: AclPermission.READ,
    }
    assert base64.b64decode(theirs.get_secret(name, "key").value or "") == b"x"
    with pytest.raises(PermissionDenied):
        theirs.put_secret(name, "key", string_value="y")
    with pytest.raises(PermissionDenied):
        theirs.put_acl(name, OTHER, AclPermission.MANAGE)
    api.delete_acl(name, OTHER)
    with pytest.raises(ResourceDoesNotExist):
        api.get_acl(name, OTHER)
    with pytest.raises(DatabricksError):
        theirs.get_secret(name, "key")


def test_permissions_are_set_and_read(workspace: WorkspaceClient, other: Account, name: str, secret: str):
    api, kind = workspace.permissions, "serving-endpoints"
    endpoint_id = ready(workspace, name, secret).id or ""
    names = {
        each.permission_level for each in api.get_permission_levels(kind, endpoint_id).permission_levels or []
    }
    assert names == {PermissionLevel.CAN_VIEW, PermissionLevel.CAN_QUERY, PermissionLevel.CAN_MANAGE}
    view = AccessControlRequest(user_name=OTHER, permission_level=PermissionLevel.CAN_VIEW)
    assert api.update(kind, endpoint_id, access_control_list=[view]).object_id == f"/{kind}/{endpoint_id}"
    found = {each.user_name for each in api.get(kind, endpoint_id).access_control_list or []}
    assert {OWNER, OTHER} <= found
    with pytest.raises(PermissionDenied):
        other.client().permissions.set(kind, endpoint_id, access_control_list=[])
    group = AccessControlRequest(group_name="users", permission_level=PermissionLevel.CAN_QUERY)
    changed = api.set(kind, endpoint_id, access_control_list=[group]).access_control_list or []
    assert "users" in {each.group_name for each in changed}
    assert OTHER not in {each.user_name for each in changed}
    assert other.client().serving_endpoints.get(name).id == endpoint_id


def test_tokens_are_created_listed_and_deleted(workspace: WorkspaceClient, environment: Account):
    api = workspace.tokens
    made = api.create(comment="for a test", lifetime_seconds=3600)
    assert made.token_value
    assert made.token_info is not None
    token_id = made.token_info.token_id or ""
    lifetime = (made.token_info.expiry_time or 0) - (made.token_info.creation_time or 0)
    assert lifetime == pytest.approx(3_600_000, abs=2000)
    assert WorkspaceClient(host=environment.url, token=made.token_value).current_user.me().user_name == OWNER
    assert {each.token_id: each.comment for each in api.list()}[token_id] == "for a test"
    api.update(token_id, PublicTokenInfo(comment="renamed"), FieldMask(["comment"]))
    assert {each.token_id: each.comment for each in api.list()}[token_id] == "renamed"
    api.delete(token_id)
    assert token_id not in {each.token_id for each in api.list()}
    revoked = WorkspaceClient(host=environment.url, token=made.token_value)
    with pytest.raises(Unauthenticated):
        revoked.current_user.me()


def test_current_user_is_the_caller(workspace: WorkspaceClient, admin: Account):
    me = workspace.current_user.me()
    assert (me.user_name, me.active) == (OWNER, True)
    assert me.id
    assert [email.value for email in me.emails or []] == [OWNER]
    assert {group.display for group in me.groups or []} == {"users"}
    assert "admins" in {group.display for group in admin.client().current_user.me().groups or []}


def test_an_admin_manages_tokens_users_and_groups(workspace: WorkspaceClient, admin: Account, name: str):
    boss = admin.client()
    made = workspace.tokens.create(comment=name)
    assert made.token_info is not None
    token_id = made.token_info.token_id or ""
    found = {each.token_id: each for each in boss.token_management.list(created_by_username=OWNER)}
    assert found[token_id].created_by_username == OWNER
    got = boss.token_management.get(token_id).token_info
    assert got is not None
    assert got.comment == name
    boss.token_management.delete(token_id)
    assert token_id not in {each.token_id for each in workspace.tokens.list()}
    with pytest.raises(PermissionDenied):
        list(workspace.token_management.list())

    user = boss.users.create(user_name=f"{name}@example.com", display_name="Somebody")
    assert user.id is not None
    assert boss.users.get(user.id).user_name == f"{name}@example.com"
    assert user.user_name in {each.user_name for each in boss.users.list()}
    group = boss.groups.create(display_name=name)
    assert group.id is not None
    assert name in {each.display_name for each in boss.groups.list()}
    boss.groups.delete(group.id)
    boss.users.delete(user.id)
    with pytest.raises(PermissionDenied):
        workspace.users.create(user_name="nobody@example.com")
