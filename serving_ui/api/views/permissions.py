"""Who may do what with an endpoint, by its id; the general form of the original, for serving endpoints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.utils.translation import gettext
from pydantic import Field

from serving_ui.accounts import queries as accounts
from serving_ui.accounts.models import ADMINS, EVERYONE, Group, User
from serving_ui.api.http import ApiRequest, Json
from serving_ui.api.request_body import read_body
from serving_ui.api.response_warnings import warn_of_unknown_fields
from serving_ui.catalogue import unknown
from serving_ui.catalogue.endpoint_config import ApiModel
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import granting, queries
from serving_ui.endpoints.granting import Given
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Action, Level
from serving_ui.lib import clock

MOST = 1000
DESCRIPTIONS = {
    Level.CAN_VIEW: _("Can see the endpoint, its configs and its events."),
    Level.CAN_QUERY: _("Can view and query the endpoint."),
    Level.CAN_MANAGE: _("Can view, query, change and delete the endpoint, and give permissions on it."),
}


class Access(ApiModel):
    """A level for one principal or group, by one of the three names."""

    user_name: str | None = None
    group_name: str | None = None
    service_principal_name: str | None = None
    permission_level: Literal["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]


class AccessList(ApiModel):
    access_control_list: Annotated[list[Access], Field(max_length=MOST)] = Field(default_factory=list)


def get(request: ApiRequest, endpoint_id: str) -> Json:
    """GET permissions/serving-endpoints/{id}."""
    return _shown(queries.get_endpoint_by_id(endpoint_id=endpoint_id, actor=request.user))


def replace(request: ApiRequest, endpoint_id: str) -> Json:
    """PUT: whoever is not named loses what was given."""
    return _set(request, endpoint_id, replace=True)


def merge(request: ApiRequest, endpoint_id: str) -> Json:
    """PATCH: the others keep what they have."""
    return _set(request, endpoint_id, replace=False)


def levels(request: ApiRequest, endpoint_id: str) -> Json:
    """GET …/permissionLevels: what can be given."""
    queries.get_endpoint_by_id(endpoint_id=endpoint_id, actor=request.user)
    return {
        "permission_levels": [
            {"permission_level": level.name, "description": text.translated(gettext)}
            for level, text in DESCRIPTIONS.items()
        ]
    }


def _set(request: ApiRequest, endpoint_id: str, *, replace: bool) -> Json:
    wanted = read_body(AccessList, request.json)
    warn_of_unknown_fields(request, unknown.in_model(AccessList, request.json))
    # Asked first: who may not even see the endpoint does not learn here which people there are.
    queries.get_endpoint_by_id(endpoint_id=endpoint_id, actor=request.user, action=Action.MANAGE)
    given = [_given(access, position) for position, access in enumerate(wanted.access_control_list)]
    endpoint = granting.set_permissions(
        endpoint_id=endpoint_id, given=given, replace=replace, actor=request.user, now=clock.now()
    )
    return _shown(endpoint)


def _given(access: Access, position: int) -> Given:
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
    return Given(principal, Level[access.permission_level], (*path, field))


def _shown(endpoint: Endpoint) -> Json:
    found: list[Json] = []
    if endpoint.creator:
        found.append(_access(endpoint.creator, Level.CAN_MANAGE))
    for grant in queries.grants(endpoint=endpoint):
        holder = grant.user or grant.group
        if holder and holder.pk != endpoint.creator_id:
            found.append(_access(holder, Level(grant.level)))
    if endpoint.is_ready_made:
        found.append(_access(Group(name=EVERYONE), Level.CAN_QUERY, inherited=True))
    else:
        found.append(_access(Group(name=ADMINS), Level.CAN_MANAGE, inherited=True))
    return {
        "object_id": f"/serving-endpoints/{endpoint.pk}",
        "object_type": "serving-endpoint",
        "access_control_list": found,
    }


def _access(holder: User | Group, level: Level, *, inherited: bool = False) -> Json:
    permission: dict[str, Any] = {"permission_level": level.name, "inherited": inherited}
    if inherited:
        permission["inherited_from_object"] = ["/serving-endpoints/"]
    if isinstance(holder, Group):
        return {"group_name": holder.name, "display_name": holder.name, "all_permissions": [permission]}
    field = "user_name" if holder.is_person else "service_principal_name"
    return {field: holder.email, "display_name": holder.name or holder.email, "all_permissions": [permission]}
