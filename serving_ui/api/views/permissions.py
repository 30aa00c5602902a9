"""Permissions on an endpoint, which is named by its id as the permissions API of Databricks does."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from django.utils.translation import gettext
from pydantic import Field
from typing_extensions import TypedDict

from serving_ui.accounts import queries as accounts
from serving_ui.accounts.models import ADMINS, EVERYONE, Group, User
from serving_ui.api.answers import LevelName
from serving_ui.api.request import ApiRequest
from serving_ui.api.routing import Router
from serving_ui.catalogue.api_model import ApiModel
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import granting, queries
from serving_ui.endpoints.granting import LevelChange
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Action, Level
from serving_ui.lib import clock

PATH = "permissions/serving-endpoints/{id}"
EXAMPLE = {"access_control_list": [{"user_name": "teammate@example.com", "permission_level": "CAN_QUERY"}]}
MAX_ENTRIES = 1000
router = Router("Permissions")
DESCRIPTIONS = {
    Level.CAN_VIEW: _("Can see the endpoint, its configs and its events."),
    Level.CAN_QUERY: _("Can view and query the endpoint."),
    Level.CAN_MANAGE: _("Can view, query, change and delete the endpoint, and give permissions on it."),
}


class Access(ApiModel):
    """A level for one principal or group, by one of the three names."""

    user_name: Annotated[str | None, Field(description="E-mail. Give exactly one of the three names.")] = None
    group_name: Annotated[str | None, Field(description="Name of a group.")] = None
    service_principal_name: Annotated[str | None, Field(description="Application id.")] = None
    permission_level: Annotated[
        LevelName, Field(description="CAN_MANAGE includes CAN_QUERY, which includes CAN_VIEW.")
    ]


class AccessList(ApiModel):
    access_control_list: Annotated[
        list[Access], Field(max_length=MAX_ENTRIES, description="The level of each principal.")
    ] = Field(default_factory=list)


class PermissionDetail(TypedDict):
    permission_level: LevelName
    inherited: bool
    inherited_from_object: NotRequired[list[str]]


class AccessControl(TypedDict):
    user_name: NotRequired[Annotated[str, Field(description="One of the three names.")]]
    group_name: NotRequired[str]
    service_principal_name: NotRequired[str]
    display_name: str
    all_permissions: list[PermissionDetail]


class ObjectPermissions(TypedDict):
    object_id: Annotated[str, Field(examples=["/serving-endpoints/69962db6b9db47c4a8a222d2ac79d7f8"])]
    object_type: Literal["serving-endpoint"]
    access_control_list: list[AccessControl]


class LevelDescription(TypedDict):
    permission_level: LevelName
    description: str


class LevelList(TypedDict):
    permission_levels: list[LevelDescription]


@router.get(
    PATH,
    summary=_("Get the permissions of an endpoint"),
    refusals=(403, 404),
    sdk="serving_endpoints.get_permissions",
)
def get_permissions(request: ApiRequest, id: str) -> ObjectPermissions:
    return _shown(queries.get_endpoint_by_id(endpoint_id=id, actor=request.user))


@router.put(
    PATH,
    summary=_("Set the permissions of an endpoint"),
    description=_("Replaces all grants. The creator and the admins keep CAN_MANAGE."),
    refusals=(403, 404),
    example=EXAMPLE,
    sdk="serving_endpoints.set_permissions",
)
def set_permissions(request: ApiRequest, id: str, body: AccessList) -> ObjectPermissions:
    return _set(request, id, body, replace=True)


@router.patch(
    PATH,
    summary=_("Add to the permissions of an endpoint"),
    refusals=(403, 404),
    example=EXAMPLE,
    sdk="serving_endpoints.update_permissions",
)
def update_permissions(request: ApiRequest, id: str, body: AccessList) -> ObjectPermissions:
    return _set(request, id, body, replace=False)


@router.get(
    f"{PATH}/permissionLevels",
    summary=_("List the levels that can be given"),
    refusals=(403, 404),
    sdk="serving_endpoints.get_permission_levels",
)
def list_permission_levels(request: ApiRequest, id: str) -> LevelList:
    queries.get_endpoint_by_id(endpoint_id=id, actor=request.user)
    return {
        "permission_levels": [
            {"permission_level": _name(level), "description": text.translated(gettext)}
            for level, text in DESCRIPTIONS.items()
        ]
    }


def _set(request: ApiRequest, endpoint_id: str, body: AccessList, *, replace: bool) -> ObjectPermissions:
    # Before names are looked up: a caller who cannot see the endpoint must not learn which users exist.
    queries.get_endpoint_by_id(endpoint_id=endpoint_id, actor=request.user, action=Action.MANAGE)
    changes = [_level_change(access, position) for position, access in enumerate(body.access_control_list)]
    endpoint = granting.set_permissions(
        endpoint_id=endpoint_id, changes=changes, replace=replace, actor=request.user, now=clock.now()
    )
    return _shown(endpoint)


def _level_change(access: Access, position: int) -> LevelChange:
    path: tuple[str | int, ...] = ("access_control_list", position)
    names = {
        "user_name": access.user_name,
        "group_name": access.group_name,
        "service_principal_name": access.service_principal_name,
    }
    named = [(field, name) for field, name in names.items() if name]
    if len(named) != 1:
        message = _("Give exactly one of user_name, group_name and service_principal_name.")
        raise SpecErrors([Problem(path=path, message=message, code="principal")])
    [(field, name)] = named
    principal: User | Group | None
    if field == "group_name":
        principal = accounts.find_group(name=name)
    elif field == "user_name":
        principal = accounts.find_user(name=name, kind=User.Kind.PERSON)
    else:
        principal = accounts.find_user(name=name, kind=User.Kind.SERVICE_PRINCIPAL)
    if principal is None:
        message = _("There is no %(name)s here. List the people and groups to see who there is.")
        raise SpecErrors([Problem(path=(*path, field), message=message.fill(name=name), code="principal")])
    return LevelChange(principal, Level[access.permission_level], (*path, field))


def _shown(endpoint: Endpoint) -> ObjectPermissions:
    entries: list[AccessControl] = []
    if endpoint.creator:
        entries.append(_access(endpoint.creator, Level.CAN_MANAGE))
    for grant in queries.grants(endpoint=endpoint):
        holder = grant.user or grant.group
        if holder and holder.pk != endpoint.creator_id:
            entries.append(_access(holder, Level(grant.level)))
    if endpoint.is_ready_made:
        entries.append(_access(Group(name=EVERYONE), Level.CAN_QUERY, inherited=True))
    else:
        entries.append(_access(Group(name=ADMINS), Level.CAN_MANAGE, inherited=True))
    return {
        "object_id": f"/serving-endpoints/{endpoint.pk}",
        "object_type": "serving-endpoint",
        "access_control_list": entries,
    }


def _access(holder: User | Group, level: Level, *, inherited: bool = False) -> AccessControl:
    permission: PermissionDetail = {"permission_level": _name(level), "inherited": inherited}
    if inherited:
        permission["inherited_from_object"] = ["/serving-endpoints/"]
    if isinstance(holder, Group):
        return {"group_name": holder.name, "display_name": holder.name, "all_permissions": [permission]}
    shown = holder.name or holder.email
    if holder.is_person:
        return {"user_name": holder.email, "display_name": shown, "all_permissions": [permission]}
    return {"service_principal_name": holder.email, "display_name": shown, "all_permissions": [permission]}


def _name(level: Level) -> LevelName:
    return level.name  # type: ignore[return-value]  # the names of the enumeration are those of the API
