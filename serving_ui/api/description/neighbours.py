"""The operations beside serving endpoints: permissions, secrets, tokens, people, and the one that clients ask first."""

from __future__ import annotations

from serving_ui.api.description import neighbour_shapes as neighbours
from serving_ui.api.description.operation import PAGES, Operation, Parameter
from serving_ui.api.views import permissions, secrets, tokens
from serving_ui.catalogue.translatable import _

ACCESS = "/api/2.0/permissions/serving-endpoints/{id}"
SECRETS = "/api/2.0/secrets"
MANAGED = "/api/2.0/token-management/tokens"
SCIM = "/api/2.0/preview/scim/v2"
LIST = {"access_control_list": [{"user_name": "teammate@example.com", "permission_level": "CAN_QUERY"}]}
SCOPE = Parameter(name="scope", text=_("Name of the scope."), required=True)
PARTS = (
    Parameter(name="attributes", text=_("Names of the attributes to answer, with commas.")),
    Parameter(name="excludedAttributes", text=_("Names of the attributes to leave out.")),
)
PAGE = (
    Parameter(name="filter", text=_('Such as userName eq "a@example.com".')),
    Parameter(name="sortBy", text=_("Name of an attribute.")),
    Parameter(name="sortOrder", text=_("ascending or descending."), choices=("ascending", "descending")),
    Parameter(
        name="cursor",
        text=_(
            "Empty for the first page, then the nextCursor of the page before (RFC 9865). Meets everybody once, whoever comes or goes meanwhile."
        ),
    ),
    Parameter(
        name="startIndex",
        text=_(
            "Counts from 1, in the order of creation if no other is asked for. For a walk, cursor is the surer way."
        ),
        type="integer",
    ),
    Parameter(name="count", text=_("How many at most: 100 if not given, up to 10,000."), type="integer"),
)

PERMISSIONS = (
    Operation(
        method="GET", path=ACCESS, group="Permissions", name="get_permissions", summary=_("Get the permissions of an endpoint"),
        answer=neighbours.ObjectPermissions, refusals=(403, 404), sdk="serving_endpoints.get_permissions",
    ),
    Operation(
        method="PUT", path=ACCESS, group="Permissions", name="set_permissions", summary=_("Set the permissions of an endpoint"),
        text=_("Replaces all that was given. The creator and admins keep theirs."), body=permissions.AccessList,
        answer=neighbours.ObjectPermissions, refusals=(403, 404), example=LIST, sdk="serving_endpoints.set_permissions",
    ),
    Operation(
        method="PATCH", path=ACCESS, group="Permissions", name="update_permissions", summary=_("Add to the permissions of an endpoint"),
        body=permissions.AccessList, answer=neighbours.ObjectPermissions, refusals=(403, 404), example=LIST,
        sdk="serving_endpoints.update_permissions",
    ),
    Operation(
        method="GET", path=ACCESS + "/permissionLevels", group="Permissions", name="list_permission_levels",
        summary=_("List the levels that can be given"), answer=neighbours.LevelList, refusals=(403, 404),
        sdk="serving_endpoints.get_permission_levels",
    ),
)  # fmt: skip
SCOPES = (
    Operation(
        method="POST", path=SECRETS + "/scopes/create", group="Secrets", name="create_scope", summary=_("Create a secret scope"),
        body=secrets.NewScope, refusals=(403, 404), example={"scope": "my_scope"}, sdk="secrets.create_scope",
    ),
    Operation(
        method="GET", path=SECRETS + "/scopes/list", group="Secrets", name="list_scopes", summary=_("List secret scopes"),
        query=PAGES, answer=neighbours.ScopeList, sdk="secrets.list_scopes",
    ),
    Operation(
        method="POST", path=SECRETS + "/scopes/delete", group="Secrets", name="delete_scope", summary=_("Delete a secret scope"),
        text=_("With every key in it."), body=secrets.OfScope, refusals=(403, 404), example={"scope": "my_scope"}, sdk="secrets.delete_scope",
    ),
    Operation(
        method="POST", path=SECRETS + "/put", group="Secrets", name="put_secret", summary=_("Put a secret"),
        text=_("Makes the key, or replaces its value; endpoints that name it follow."), body=secrets.NewSecret,
        refusals=(403, 404), sdk="secrets.put_secret",
        example={"scope": "my_scope", "key": "my_openai_api_key", "string_value": "<the secret>"},
    ),
    Operation(
        method="GET", path=SECRETS + "/list", group="Secrets", name="list_secrets", summary=_("List the keys of a scope"),
        query=(SCOPE, *PAGES), answer=neighbours.SecretList, refusals=(403, 404), sdk="secrets.list_secrets",
    ),
    Operation(
        method="GET", path=SECRETS + "/get", group="Secrets", name="get_secret", summary=_("Get a secret"),
        query=(SCOPE, Parameter(name="key", text=_("Name of the key."), required=True)),
        answer=neighbours.SecretValue, refusals=(403, 404), sdk="secrets.get_secret",
    ),
    Operation(
        method="POST", path=SECRETS + "/delete", group="Secrets", name="delete_secret", summary=_("Delete a secret"),
        body=secrets.OfKey, refusals=(403, 404), example={"scope": "my_scope", "key": "my_openai_api_key"}, sdk="secrets.delete_secret",
    ),
)  # fmt: skip
ACLS = (
    Operation(
        method="POST", path=SECRETS + "/acls/put", group="Secrets", name="put_acl", summary=_("Give a right on a scope"),
        body=secrets.NewAcl, refusals=(403, 404), sdk="secrets.put_acl",
        example={"scope": "my_scope", "principal": "teammate@example.com", "permission": "READ"},
    ),
    Operation(
        method="GET", path=SECRETS + "/acls/get", group="Secrets", name="get_acl", summary=_("Get someone's right on a scope"),
        query=(SCOPE, Parameter(name="principal", text=_("E-mail of a person, or name of a group."), required=True)),
        answer=neighbours.AclItem, refusals=(403, 404), sdk="secrets.get_acl",
    ),
    Operation(
        method="GET", path=SECRETS + "/acls/list", group="Secrets", name="list_acls", summary=_("List the rights on a scope"),
        query=(SCOPE,), answer=neighbours.AclList, refusals=(403, 404), sdk="secrets.list_acls",
    ),
    Operation(
        method="POST", path=SECRETS + "/acls/delete", group="Secrets", name="delete_acl", summary=_("Take a right on a scope"),
        body=secrets.OfPrincipal, refusals=(403, 404), sdk="secrets.delete_acl",
        example={"scope": "my_scope", "principal": "teammate@example.com"},
    ),
    Operation(
        method="GET", path=SECRETS + "/takeovers/list", group="Secrets", name="list_takeovers",
        summary=_("List what waits to be taken over"), text=_("Secrets of endpoints that you manage which are sent on the right of somebody who is deactivated: as they were then, following no new value."),
        query=PAGES, answer=neighbours.TakeoverList, ours=True,
    ),
)  # fmt: skip
TOKENS = (
    Operation(
        method="POST", path="/api/2.0/token/create", group="Tokens", name="create_token", summary=_("Create an access token"),
        text=_("For yourself. Its value is in this answer and nowhere else."), body=tokens.NewToken, body_required=False,
        answer=neighbours.TokenMade, refusals=(403,),
        example={"comment": "for the nightly job", "lifetime_seconds": 2592000}, sdk="tokens.create",
    ),
    Operation(
        method="GET", path="/api/2.0/token/list", group="Tokens", name="list_tokens", summary=_("List your access tokens"),
        query=PAGES, answer=neighbours.TokenList, sdk="tokens.list",
    ),
    Operation(
        method="POST", path="/api/2.0/token/delete", group="Tokens", name="delete_token", summary=_("Revoke one of your access tokens"),
        body=tokens.OfToken, refusals=(404,), example={"token_id": "69962db6b9db47c4a8a222d2ac79d7f8"}, sdk="tokens.delete",
    ),
    Operation(
        method="PATCH", path="/api/2.0/token/{id}", group="Tokens", name="update_token", summary=_("Change the comment of an access token"),
        body=tokens.TokenChange, refusals=(404,), example={"token": {"comment": "for the weekly job"}, "update_mask": "comment"},
    ),
    Operation(
        method="POST", path="/api/2.0/token-management/on-behalf-of/tokens", group="Tokens", name="create_token_on_behalf",
        summary=_("Create an access token for a service principal"), body=tokens.TokenOnBehalf, answer=neighbours.ManagedTokenMade,
        refusals=(403, 404), example={"application_id": "1b2c3d4e-5f60-4718-a293-a4b5c6d7e8f9", "comment": "for the nightly job"},
        sdk="token_management.create_obo_token", admins=True,
    ),
    Operation(
        method="GET", path=MANAGED, group="Tokens", name="list_managed_tokens", summary=_("List everyone's access tokens"),
        query=(Parameter(name="created_by_username", text=_("E-mail.")), Parameter(name="created_by_id", text=_("Id of a person.")), *PAGES),
        answer=neighbours.ManagedTokenList, refusals=(403,), sdk="token_management.list", admins=True,
    ),
    Operation(
        method="GET", path=MANAGED + "/{id}", group="Tokens", name="get_managed_token", summary=_("Get anyone's access token"),
        text=_("What is known of it; its value is not."), answer=neighbours.OneManagedToken, refusals=(403, 404), sdk="token_management.get", admins=True,
    ),
    Operation(
        method="PATCH", path=MANAGED + "/{id}", group="Tokens", name="update_managed_token", summary=_("Change the comment of anyone's access token"),
        body=tokens.TokenChange, answer=neighbours.ManagedToken, refusals=(403, 404), admins=True,
        example={"token": {"comment": "for the weekly job"}, "update_mask": "comment"},
    ),
    Operation(
        method="DELETE", path=MANAGED + "/{id}", group="Tokens", name="delete_managed_token", summary=_("Revoke anyone's access token"),
        refusals=(403, 404), sdk="token_management.delete", admins=True,
    ),
)  # fmt: skip
OPERATIONS: tuple[Operation, ...] = (*PERMISSIONS, *SCOPES, *ACLS, *TOKENS)
