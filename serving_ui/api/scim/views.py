"""Views of users, service principals and groups. Everyone may read; admins may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from serving_ui.accounts import directory, queries
from serving_ui.accounts.models import Group, User
from serving_ui.api.answers import Empty
from serving_ui.api.operation import Parameter
from serving_ui.api.request import ApiRequest, Json
from serving_ui.api.routing import Router
from serving_ui.api.scim import patch, serializers
from serving_ui.api.scim.filters import GROUP_COLUMNS, USER_COLUMNS
from serving_ui.api.scim.pagination import paginate
from serving_ui.api.scim.resources import (
    ScimGroup,
    ScimGroupList,
    ScimServicePrincipal,
    ScimServicePrincipalList,
    ScimUser,
    ScimUserList,
)
from serving_ui.api.scim.schemas import (
    GroupRequest,
    PatchRequest,
    PrincipalRequest,
    ServicePrincipalRequest,
    UserRequest,
)
from serving_ui.api.scim.serializers import requested_attributes
from serving_ui.catalogue.translatable import _

router = Router("People and groups")
PATH = "preview/scim/v2"
ATTRIBUTES = (
    Parameter(name="attributes", description=_("Names of the attributes to answer, with commas.")),
    Parameter(name="excludedAttributes", description=_("Names of the attributes to leave out.")),
)
LIST = (
    Parameter(name="filter", description=_('Such as userName eq "a@example.com".')),
    Parameter(name="sortBy", description=_("Name of an attribute.")),
    Parameter(
        name="sortOrder", description=_("ascending or descending."), choices=("ascending", "descending")
    ),
    Parameter(
        name="cursor",
        description=_(
            "Empty for the first page, then the nextCursor of the page before (RFC 9865). Nobody is listed twice or left out when others are added or deleted meanwhile."
        ),
    ),
    Parameter(
        name="startIndex",
        description=_(
            "Counts from 1, in the order of creation if no other is asked for. For a walk, cursor is the surer way."
        ),
        type="integer",
    ),
    Parameter(
        name="count", description=_("How many at most: 100 if not given, up to 10,000."), type="integer"
    ),
    *ATTRIBUTES,
)
USER_EXAMPLE = {"userName": "new@example.com", "displayName": "New Colleague"}
SERVICE_PRINCIPAL_EXAMPLE = {
    "applicationId": "1b2c3d4e-5f60-4718-a293-a4b5c6d7e8f9",
    "displayName": "Nightly job",
}
GROUP_EXAMPLE: dict[str, Any] = {"displayName": "Analysts", "members": []}
PATCH_EXAMPLE = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [{"op": "replace", "path": "displayName", "value": "A new name"}],
}


@router.get(f"{PATH}/Me", summary=_("Get yourself"), query=ATTRIBUTES, answer=ScimUser, sdk="current_user.me")
def get_me(request: ApiRequest) -> Json:
    """The caller. A service principal too is shown as a user, which is what the SDK reads."""
    return requested_attributes(request, _user_resource(request.user))


# Users and service principals


@router.get(f"{PATH}/Users", summary=_("List people"), query=LIST, answer=ScimUserList, sdk="users.list")
def list_users(request: ApiRequest) -> Json:
    return _list(request, User.Kind.PERSON, _user_resources)


@router.get(
    f"{PATH}/ServicePrincipals",
    summary=_("List service principals"),
    query=LIST,
    answer=ScimServicePrincipalList,
    sdk="service_principals.list",
)
def list_service_principals(request: ApiRequest) -> Json:
    return _list(request, User.Kind.SERVICE_PRINCIPAL, _service_principal_resources)


@router.get(
    f"{PATH}/Users/{{id}}",
    summary=_("Get a person"),
    query=ATTRIBUTES,
    answer=ScimUser,
    refusals=(404,),
    sdk="users.get",
)
def get_user(request: ApiRequest, id: str) -> Json:
    return requested_attributes(request, _user_resource(_get_user(id)))


@router.get(
    f"{PATH}/ServicePrincipals/{{id}}",
    summary=_("Get a service principal"),
    query=ATTRIBUTES,
    answer=ScimServicePrincipal,
    refusals=(404,),
    sdk="service_principals.get",
)
def get_service_principal(request: ApiRequest, id: str) -> Json:
    return requested_attributes(request, _service_principal_resource(_get_service_principal(id)))


@router.post(
    f"{PATH}/Users",
    summary=_("Create a person"),
    answer=ScimUser,
    refusals=(403, 404, 409),
    for_admins=True,
    example=USER_EXAMPLE,
)
def create_user(request: ApiRequest, body: UserRequest) -> Json:
    """A person, who signs in with a link of `manage.py sign_in_link`."""
    directory.need_admin(request.user)
    user = directory.create_person(email=body.userName or "", **_attributes(body), actor=request.user)
    return _user_resource(user)


@router.post(
    f"{PATH}/ServicePrincipals",
    summary=_("Create a service principal"),
    answer=ScimServicePrincipal,
    refusals=(403, 404, 409),
    for_admins=True,
    example=SERVICE_PRINCIPAL_EXAMPLE,
)
def create_service_principal(request: ApiRequest, body: ServicePrincipalRequest) -> Json:
    directory.need_admin(request.user)
    user = directory.create_service_principal(
        application_id=body.applicationId or "", **_attributes(body), actor=request.user
    )
    return _service_principal_resource(user)


@router.put(
    f"{PATH}/Users/{{id}}",
    summary=_("Replace a person"),
    answer=ScimUser,
    refusals=(403, 404, 409),
    for_admins=True,
    example=USER_EXAMPLE,
)
def replace_user(request: ApiRequest, id: str, body: UserRequest) -> Json:
    """Replaces every attribute but `userName`."""
    user = _get_user(id)
    patch.refuse_rename(user, "userName", body.userName)
    return _user_resource(_replace(request, user, body))


@router.put(
    f"{PATH}/ServicePrincipals/{{id}}",
    summary=_("Replace a service principal"),
    answer=ScimServicePrincipal,
    refusals=(403, 404, 409),
    for_admins=True,
    example=SERVICE_PRINCIPAL_EXAMPLE,
)
def replace_service_principal(request: ApiRequest, id: str, body: ServicePrincipalRequest) -> Json:
    """Replaces every attribute but `applicationId`."""
    user = _get_service_principal(id)
    patch.refuse_rename(user, "applicationId", body.applicationId)
    return _service_principal_resource(_replace(request, user, body))


@router.patch(
    f"{PATH}/Users/{{id}}",
    summary=_("Change a person"),
    body=PatchRequest,
    answer=ScimUser,
    refusals=(403, 404, 409),
    for_admins=True,
    example=PATCH_EXAMPLE,
)
def change_user(request: ApiRequest, id: str) -> Json:
    return _user_resource(patch.patch_principal(request, _get_user(id)))


@router.patch(
    f"{PATH}/ServicePrincipals/{{id}}",
    summary=_("Change a service principal"),
    body=PatchRequest,
    answer=ScimServicePrincipal,
    refusals=(403, 404, 409),
    for_admins=True,
    example=PATCH_EXAMPLE,
)
def change_service_principal(request: ApiRequest, id: str) -> Json:
    return _service_principal_resource(patch.patch_principal(request, _get_service_principal(id)))


@router.delete(
    f"{PATH}/Users/{{id}}",
    summary=_("Delete a person"),
    refusals=(403, 404, 409),
    for_admins=True,
    sdk="users.delete",
)
def delete_user(request: ApiRequest, id: str) -> Empty:
    directory.delete_principal(user=_get_user(id), actor=request.user)
    return {}


@router.delete(
    f"{PATH}/ServicePrincipals/{{id}}",
    summary=_("Delete a service principal"),
    refusals=(403, 404, 409),
    for_admins=True,
    sdk="service_principals.delete",
)
def delete_service_principal(request: ApiRequest, id: str) -> Empty:
    directory.delete_principal(user=_get_service_principal(id), actor=request.user)
    return {}


# Groups


@router.get(f"{PATH}/Groups", summary=_("List groups"), query=LIST, answer=ScimGroupList, sdk="groups.list")
def list_groups(request: ApiRequest) -> Json:
    page = paginate(request, queries.groups(), GROUP_COLUMNS)
    members = queries.members(groups=page.rows)
    return page.response(
        [
            requested_attributes(request, serializers.group_resource(group, members[group.pk]))
            for group in page.rows
        ]
    )


@router.get(
    f"{PATH}/Groups/{{id}}",
    summary=_("Get a group"),
    query=ATTRIBUTES,
    answer=ScimGroup,
    refusals=(404,),
    sdk="groups.get",
)
def get_group(request: ApiRequest, id: str) -> Json:
    return requested_attributes(request, _group_resource(queries.group_by_id(group_id=id)))


@router.post(
    f"{PATH}/Groups",
    summary=_("Create a group"),
    answer=ScimGroup,
    refusals=(403, 404, 409),
    for_admins=True,
    example=GROUP_EXAMPLE,
)
def create_group(request: ApiRequest, body: GroupRequest) -> Json:
    directory.need_admin(request.user)
    group = directory.create_group(
        name=body.displayName or "",
        external_id=body.externalId or "",
        member_ids=body.member_ids,
        actor=request.user,
    )
    return _group_resource(group)


@router.put(
    f"{PATH}/Groups/{{id}}",
    summary=_("Replace a group"),
    answer=ScimGroup,
    refusals=(403, 404, 409),
    for_admins=True,
    example=GROUP_EXAMPLE,
)
def replace_group(request: ApiRequest, id: str, body: GroupRequest) -> Json:
    """Members that the body does not list are removed."""
    group = queries.group_by_id(group_id=id)
    return _group_resource(patch.replace_group(request, group, body))


@router.patch(
    f"{PATH}/Groups/{{id}}",
    summary=_("Change a group"),
    body=PatchRequest,
    answer=ScimGroup,
    refusals=(403, 404, 409),
    for_admins=True,
    example=PATCH_EXAMPLE,
)
def change_group(request: ApiRequest, id: str) -> Json:
    return _group_resource(patch.patch_group(request, queries.group_by_id(group_id=id)))


@router.delete(
    f"{PATH}/Groups/{{id}}",
    summary=_("Delete a group"),
    refusals=(403, 404, 409),
    for_admins=True,
    sdk="groups.delete",
)
def delete_group(request: ApiRequest, id: str) -> Empty:
    directory.delete_group(group=queries.group_by_id(group_id=id), actor=request.user)
    return {}


def _list(request: ApiRequest, kind: User.Kind, resources: Callable[[Sequence[User]], list[Json]]) -> Json:
    page = paginate(request, queries.principals(kind=kind), USER_COLUMNS)
    return page.response([requested_attributes(request, resource) for resource in resources(page.rows)])


def _replace(request: ApiRequest, user: User, body: PrincipalRequest) -> User:
    return directory.change_principal(user=user, **_attributes(body), actor=request.user)


def _attributes(body: PrincipalRequest) -> dict[str, Any]:
    """The arguments of the commands for the attributes that may change. What is left out is empty, or true."""
    return {
        "name": body.full_name or "",
        "active": body.active is not False,
        "external_id": body.externalId or "",
    }


def _get_user(user_id: str) -> User:
    return queries.principal_by_id(user_id=user_id, kind=User.Kind.PERSON)


def _get_service_principal(user_id: str) -> User:
    return queries.principal_by_id(user_id=user_id, kind=User.Kind.SERVICE_PRINCIPAL)


def _user_resources(users: Sequence[User]) -> list[Json]:
    groups = queries.groups_of(users=users)
    return [serializers.user_resource(user, groups[user.pk]) for user in users]


def _service_principal_resources(users: Sequence[User]) -> list[Json]:
    groups = queries.groups_of(users=users)
    return [serializers.service_principal_resource(user, groups[user.pk]) for user in users]


def _user_resource(user: User) -> Json:
    return _user_resources([user])[0]


def _service_principal_resource(user: User) -> Json:
    return _service_principal_resources([user])[0]


def _group_resource(group: Group) -> Json:
    return serializers.group_resource(group, queries.members(groups=[group])[group.pk])
