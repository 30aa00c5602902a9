"""The addresses of what surrounds endpoints: secrets, permissions, tokens, people and groups."""

from __future__ import annotations

from serving_ui.api.http import route
from serving_ui.api.scim import views as scim
from serving_ui.api.views import permissions, secrets, tokens

ACCESS = "permissions/serving-endpoints/<str:endpoint_id>"
SCIM = "preview/scim/v2"
MANAGED = "token-management/tokens"

urlpatterns = [
    *route("secrets/scopes/create", POST=secrets.create_scope),
    *route("secrets/scopes/delete", POST=secrets.delete_scope),
    *route("secrets/scopes/list", GET=secrets.list_scopes),
    *route("secrets/put", POST=secrets.put_secret),
    *route("secrets/get", GET=secrets.get_secret),
    *route("secrets/list", GET=secrets.list_secrets),
    *route("secrets/delete", POST=secrets.delete_secret),
    *route("secrets/acls/put", POST=secrets.put_acl),
    *route("secrets/acls/get", GET=secrets.get_acl),
    *route("secrets/acls/list", GET=secrets.list_acls),
    *route("secrets/acls/delete", POST=secrets.delete_acl),
    *route("secrets/takeovers/list", GET=secrets.list_takeovers),
    *route(ACCESS, GET=permissions.get, PUT=permissions.replace, PATCH=permissions.merge),
    *route(f"{ACCESS}/permissionLevels", GET=permissions.levels),
    *route("token/create", POST=tokens.create),
    *route("token/list", GET=tokens.listing),
    *route("token/delete", POST=tokens.delete),
    *route("token/<str:token_id>", PATCH=tokens.update),
    *route(MANAGED, GET=tokens.managed),
    *route(
        f"{MANAGED}/<str:token_id>",
        GET=tokens.managed_one,
        PATCH=tokens.update_managed,
        DELETE=tokens.delete_managed,
    ),
    *route("token-management/on-behalf-of/tokens", POST=tokens.create_on_behalf_of),
    *route(f"{SCIM}/Me", GET=scim.get_me),
    *route(f"{SCIM}/Users", GET=scim.list_users, POST=scim.create_user),
    *route(
        f"{SCIM}/Users/<str:user_id>",
        GET=scim.get_user,
        PUT=scim.replace_user,
        PATCH=scim.change_user,
        DELETE=scim.delete_user,
    ),
    *route(f"{SCIM}/ServicePrincipals", GET=scim.list_service_principals, POST=scim.create_service_principal),
    *route(
        f"{SCIM}/ServicePrincipals/<str:user_id>",
        GET=scim.get_service_principal,
        PUT=scim.replace_service_principal,
        PATCH=scim.change_service_principal,
        DELETE=scim.delete_service_principal,
    ),
    *route(f"{SCIM}/Groups", GET=scim.list_groups, POST=scim.create_group),
    *route(
        f"{SCIM}/Groups/<str:group_id>",
        GET=scim.get_group,
        PUT=scim.replace_group,
        PATCH=scim.change_group,
        DELETE=scim.delete_group,
    ),
]
