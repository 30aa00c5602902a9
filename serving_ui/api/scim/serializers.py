"""Users, service principals and groups as SCIM resources."""

from __future__ import annotations

from collections.abc import Sequence

from serving_ui.accounts.models import Group, User
from serving_ui.api.request import ApiRequest, Json

CORE = "urn:ietf:params:scim:schemas:core:2.0:"


def user_resource(user: User, groups: Sequence[Group]) -> Json:
    """`name` is an object even when empty, because the Databricks SDK reads it without checking."""
    given_name, _space, family_name = user.name.rpartition(" ")
    name = {"givenName": given_name, "familyName": family_name} if user.name else {}
    emails = [{"value": user.email, "type": "work", "primary": True}] if user.is_person else []
    return {
        "schemas": [CORE + "User"],
        "id": user.pk,
        "userName": user.email,
        "displayName": user.name or user.email,
        "name": name,
        "emails": emails,
        **_principal_attributes(user, groups),
    }


def service_principal_resource(principal: User, groups: Sequence[Group]) -> Json:
    return {
        "schemas": [CORE + "ServicePrincipal"],
        "id": principal.pk,
        "applicationId": principal.email,
        "displayName": principal.name or principal.email,
        **_principal_attributes(principal, groups),
    }


def group_resource(group: Group, members: Sequence[User]) -> Json:
    resource: Json = {
        "schemas": [CORE + "Group"],
        "id": group.pk,
        "displayName": group.name,
        "members": [_member(member) for member in members],
        "groups": [],
        "entitlements": [],
        "roles": [],
        "meta": {"resourceType": "WorkspaceGroup"},
    }
    if group.external_id:
        resource["externalId"] = group.external_id
    return resource


def requested_attributes(request: ApiRequest, resource: Json) -> Json:
    """The resource reduced by the parameters `attributes` and `excludedAttributes`. `id` and `schemas` always stay."""
    included = _attribute_names(request, "attributes")
    excluded = _attribute_names(request, "excludedAttributes")
    return {
        name: value
        for name, value in resource.items()
        if name in ("id", "schemas")
        or ((not included or name.lower() in included) and name.lower() not in excluded)
    }


def _attribute_names(request: ApiRequest, parameter: str) -> set[str]:
    """Names of top-level attributes in lower case: `name.givenName` counts as `name`."""
    names = request.GET.get(parameter, "").split(",")
    return {name.strip().split(".")[0].lower() for name in names if name.strip()}


def _principal_attributes(principal: User, groups: Sequence[Group]) -> Json:
    attributes: Json = {
        "active": principal.is_active,
        "groups": [
            {"value": group.pk, "display": group.name, "type": "direct", "$ref": f"Groups/{group.pk}"}
            for group in groups
        ],
        "entitlements": [],
        "roles": [],
    }
    if principal.external_id:
        attributes["externalId"] = principal.external_id
    return attributes


def _member(principal: User) -> Json:
    collection = "Users" if principal.is_person else "ServicePrincipals"
    return {
        "value": principal.pk,
        "display": principal.name or principal.email,
        "$ref": f"{collection}/{principal.pk}",
    }
