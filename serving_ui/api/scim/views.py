"""Views of users, service principals and groups. Everyone may read; admins may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from serving_ui.accounts import directory, queries
from serving_ui.accounts.models import Group, User
from serving_ui.api.http import ApiRequest, Json
from serving_ui.api.request_body import read_body
from serving_ui.api.response_warnings import warn_of_unknown_fields
from serving_ui.api.scim import patch, serializers
from serving_ui.api.scim.filters import GROUP_COLUMNS, USER_COLUMNS
from serving_ui.api.scim.pagination import paginate
from serving_ui.api.scim.schemas import GroupRequest, PrincipalRequest, ServicePrincipalRequest, UserRequest
from serving_ui.api.scim.serializers import requested_attributes
from serving_ui.catalogue import unknown

Request = TypeVar("Request", UserRequest, ServicePrincipalRequest, GroupRequest)


def get_me(request: ApiRequest) -> Json:
    """GET Me: the caller; a service principal too is shown as a user, which is what the SDK reads."""
    return requested_attributes(request, _user_resource(request.user))


# Users and service principals


def list_users(request: ApiRequest) -> Json:
    """GET Users."""
    return _list(request, User.Kind.PERSON, _user_resources)


def list_service_principals(request: ApiRequest) -> Json:
    """GET ServicePrincipals."""
    return _list(request, User.Kind.SERVICE_PRINCIPAL, _service_principal_resources)


def get_user(request: ApiRequest, user_id: str) -> Json:
    """GET Users/{id}."""
    return requested_attributes(request, _user_resource(_get_user(user_id)))


def get_service_principal(request: ApiRequest, user_id: str) -> Json:
    """GET ServicePrincipals/{id}."""
    return requested_attributes(request, _service_principal_resource(_get_service_principal(user_id)))


def create_user(request: ApiRequest) -> Json:
    """POST Users: a person, who signs in with a link of `manage.py sign_in_link`."""
    body = _read(UserRequest, request)
    directory.need_admin(request.user)
    user = directory.create_person(
        email=body.userName or "",
        name=body.full_name or "",
        active=body.active is not False,
        external_id=body.externalId or "",
        actor=request.user,
    )
    return _user_resource(user)


def create_service_principal(request: ApiRequest) -> Json:
    """POST ServicePrincipals."""
    body = _read(ServicePrincipalRequest, request)
    directory.need_admin(request.user)
    user = directory.create_service_principal(
        application_id=body.applicationId or "",
        name=body.full_name or "",
        active=body.active is not False,
        external_id=body.externalId or "",
        actor=request.user,
    )
    return _service_principal_resource(user)


def replace_user(request: ApiRequest, user_id: str) -> Json:
    """PUT Users/{id}: replaces every attribute but `userName`."""
    body, user = _read(UserRequest, request), _get_user(user_id)
    patch.refuse_rename(user, "userName", body.userName)
    return _user_resource(_replace(request, user, body))


def replace_service_principal(request: ApiRequest, user_id: str) -> Json:
    """PUT ServicePrincipals/{id}: replaces every attribute but `applicationId`."""
    body, user = _read(ServicePrincipalRequest, request), _get_service_principal(user_id)
    patch.refuse_rename(user, "applicationId", body.applicationId)
    return _service_principal_resource(_replace(request, user, body))


def change_user(request: ApiRequest, user_id: str) -> Json:
    """PATCH Users/{id}."""
    return _user_resource(patch.patch_principal(request, _get_user(user_id)))


def change_service_principal(request: ApiRequest, user_id: str) -> Json:
    """PATCH ServicePrincipals/{id}."""
    return _service_principal_resource(patch.patch_principal(request, _get_service_principal(user_id)))


def delete_user(request: ApiRequest, user_id: str) -> Json:
    """DELETE Users/{id}."""
    directory.delete_principal(user=_get_user(user_id), actor=request.user)
    return {}


def delete_service_principal(request: ApiRequest, user_id: str) -> Json:
    """DELETE ServicePrincipals/{id}."""
    directory.delete_principal(user=_get_service_principal(user_id), actor=request.user)
    return {}


# Groups


def list_groups(request: ApiRequest) -> Json:
    """GET Groups."""
    page = paginate(request, queries.groups(), GROUP_COLUMNS)
    members = queries.members(of=page.rows)
    return page.response(
        [
            requested_attributes(request, serializers.group_resource(group, members[group.pk]))
            for group in page.rows
        ]
    )


def get_group(request: ApiRequest, group_id: str) -> Json:
    """GET Groups/{id}."""
    return requested_attributes(request, _group_resource(queries.group_by_id(group_id=group_id)))


def create_group(request: ApiRequest) -> Json:
    """POST Groups."""
    body = _read(GroupRequest, request)
    directory.need_admin(request.user)
    group = directory.create_group(
        name=body.displayName or "",
        external_id=body.externalId or "",
        member_ids=body.member_ids,
        actor=request.user,
    )
    return _group_resource(group)


def replace_group(request: ApiRequest, group_id: str) -> Json:
    """PUT Groups/{id}: members that the body does not list are removed."""
    body, group = _read(GroupRequest, request), queries.group_by_id(group_id=group_id)
    return _group_resource(patch.replace_group(request, group, body))


def change_group(request: ApiRequest, group_id: str) -> Json:
    """PATCH Groups/{id}."""
    return _group_resource(patch.patch_group(request, queries.group_by_id(group_id=group_id)))


def delete_group(request: ApiRequest, group_id: str) -> Json:
    """DELETE Groups/{id}."""
    directory.delete_group(group=queries.group_by_id(group_id=group_id), actor=request.user)
    return {}


def _read(model: type[Request], request: ApiRequest) -> Request:
    body = read_body(model, request.json)
    warn_of_unknown_fields(request, unknown.in_model(model, request.json))
    return body


def _list(request: ApiRequest, kind: User.Kind, resources: Callable[[Sequence[User]], list[Json]]) -> Json:
    page = paginate(request, queries.principals(kind=kind), USER_COLUMNS)
    return page.response([requested_attributes(request, resource) for resource in resources(page.rows)])


def _replace(request: ApiRequest, user: User, body: PrincipalRequest) -> User:
    return directory.change_principal(
        user=user,
        name=body.full_name or "",
        active=body.active is not False,
        external_id=body.externalId or "",
        actor=request.user,
    )


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
    return serializers.group_resource(group, queries.members(of=[group])[group.pk])
