"""People, service principals and groups, as directories and the SDK know them: SCIM 2.0. Admins change, everyone reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from serving_ui.accounts import directory, queries
from serving_ui.accounts.models import Group, User
from serving_ui.api import scim_answers as answers
from serving_ui.api import scim_patch as patch
from serving_ui.api.http import ApiRequest, Json
from serving_ui.api.request_body import read_body
from serving_ui.api.response_warnings import warn_of_unknown_fields
from serving_ui.api.scim_bodies import GivenGroup, GivenPrincipal, GivenServicePrincipal, GivenUser
from serving_ui.api.scim_query import GROUP_FIELDS, USER_FIELDS, attributes, page
from serving_ui.catalogue import unknown

PERSON, PROGRAM = User.Kind.PERSON, User.Kind.SERVICE_PRINCIPAL
Given = TypeVar("Given", GivenUser, GivenServicePrincipal, GivenGroup)


def me(request: ApiRequest) -> Json:
    """GET Me: whoever asks, a service principal in the shape of a person, too."""
    [answer] = _users([request.user])
    return attributes(request, answer)


# Users and service principals


def list_users(request: ApiRequest) -> Json:
    """GET Users."""
    return _principals(request, PERSON, _users)


def list_service_principals(request: ApiRequest) -> Json:
    """GET ServicePrincipals."""
    return _principals(request, PROGRAM, _programs)


def get_user(request: ApiRequest, user_id: str) -> Json:
    """GET Users/{id}."""
    return attributes(request, _user(_person(user_id)))


def get_service_principal(request: ApiRequest, user_id: str) -> Json:
    """GET ServicePrincipals/{id}."""
    return attributes(request, _program(_service_principal(user_id)))


def create_user(request: ApiRequest) -> Json:
    """POST Users: a person, who signs in with a link of `manage.py sign_in_link`."""
    given = _read(GivenUser, request)
    directory.need_admin(request.user)
    user = directory.create_person(
        email=given.userName or "",
        name=given.full_name or "",
        active=given.active is not False,
        external_id=given.externalId or "",
        actor=request.user,
    )
    return _user(user)


def create_service_principal(request: ApiRequest) -> Json:
    """POST ServicePrincipals."""
    given = _read(GivenServicePrincipal, request)
    directory.need_admin(request.user)
    user = directory.create_service_principal(
        application_id=given.applicationId or "",
        name=given.full_name or "",
        active=given.active is not False,
        external_id=given.externalId or "",
        actor=request.user,
    )
    return _program(user)


def replace_user(request: ApiRequest, user_id: str) -> Json:
    """PUT Users/{id}: the name stays, everything else is as given."""
    given, user = _read(GivenUser, request), _person(user_id)
    patch.keep_name(user, "userName", given.userName)
    return _user(_replaced(request, user, given))


def replace_service_principal(request: ApiRequest, user_id: str) -> Json:
    """PUT ServicePrincipals/{id}."""
    given, user = _read(GivenServicePrincipal, request), _service_principal(user_id)
    patch.keep_name(user, "applicationId", given.applicationId)
    return _program(_replaced(request, user, given))


def change_user(request: ApiRequest, user_id: str) -> Json:
    """PATCH Users/{id}."""
    return _user(patch.change_principal(request, _person(user_id)))


def change_service_principal(request: ApiRequest, user_id: str) -> Json:
    """PATCH ServicePrincipals/{id}."""
    return _program(patch.change_principal(request, _service_principal(user_id)))


def delete_user(request: ApiRequest, user_id: str) -> Json:
    """DELETE Users/{id}."""
    directory.delete_principal(user=_person(user_id), actor=request.user)
    return {}


def delete_service_principal(request: ApiRequest, user_id: str) -> Json:
    """DELETE ServicePrincipals/{id}."""
    directory.delete_principal(user=_service_principal(user_id), actor=request.user)
    return {}


# Groups


def list_groups(request: ApiRequest) -> Json:
    """GET Groups."""
    found = page(request, queries.groups(), GROUP_FIELDS)
    members = queries.members(of=found.rows)
    return found.answer(
        [attributes(request, answers.group(group, members[group.pk])) for group in found.rows]
    )


def get_group(request: ApiRequest, group_id: str) -> Json:
    """GET Groups/{id}."""
    return attributes(request, _group(queries.group_by_id(group_id=group_id)))


def create_group(request: ApiRequest) -> Json:
    """POST Groups."""
    given = _read(GivenGroup, request)
    directory.need_admin(request.user)
    group = directory.create_group(
        name=given.displayName or "",
        external_id=given.externalId or "",
        member_ids=given.member_ids,
        actor=request.user,
    )
    return _group(group)


def replace_group(request: ApiRequest, group_id: str) -> Json:
    """PUT Groups/{id}: whoever is not named leaves."""
    given, group = _read(GivenGroup, request), queries.group_by_id(group_id=group_id)
    return _group(patch.replace_group(request, group, given))


def change_group(request: ApiRequest, group_id: str) -> Json:
    """PATCH Groups/{id}."""
    return _group(patch.change_group(request, queries.group_by_id(group_id=group_id)))


def delete_group(request: ApiRequest, group_id: str) -> Json:
    """DELETE Groups/{id}."""
    directory.delete_group(group=queries.group_by_id(group_id=group_id), actor=request.user)
    return {}


def _read(model: type[Given], request: ApiRequest) -> Given:
    given = read_body(model, request.json)
    warn_of_unknown_fields(request, unknown.in_model(model, request.json))
    return given


def _principals(request: ApiRequest, kind: User.Kind, shown: Callable[[Sequence[User]], list[Json]]) -> Json:
    found = page(request, queries.principals(kind=kind), USER_FIELDS)
    return found.answer([attributes(request, each) for each in shown(found.rows)])


def _replaced(request: ApiRequest, user: User, given: GivenPrincipal) -> User:
    return directory.change_principal(
        user=user,
        name=given.full_name or "",
        active=given.active is not False,
        external_id=given.externalId or "",
        actor=request.user,
    )


def _person(user_id: str) -> User:
    return queries.principal_by_id(user_id=user_id, kind=PERSON)


def _service_principal(user_id: str) -> User:
    return queries.principal_by_id(user_id=user_id, kind=PROGRAM)


def _users(users: Sequence[User]) -> list[Json]:
    groups = queries.groups_of(users=users)
    return [answers.user(user, groups[user.pk]) for user in users]


def _programs(users: Sequence[User]) -> list[Json]:
    groups = queries.groups_of(users=users)
    return [answers.service_principal(user, groups[user.pk]) for user in users]


def _user(user: User) -> Json:
    return _users([user])[0]


def _program(user: User) -> Json:
    return _programs([user])[0]


def _group(group: Group) -> Json:
    return answers.group(group, queries.members(of=[group])[group.pk])
