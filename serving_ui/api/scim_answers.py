"""What SCIM shows of a person, a service principal and a group."""

from __future__ import annotations

from collections.abc import Sequence

from serving_ui.accounts.models import Group, User
from serving_ui.api.http import Json

CORE = "urn:ietf:params:scim:schemas:core:2.0:"


def user(person: User, groups: Sequence[Group]) -> Json:
    """`name` is always an object: clients do not check."""
    given, _space, family = person.name.rpartition(" ")
    name = {"givenName": given, "familyName": family} if person.name else {}
    emails = [{"value": person.email, "type": "work", "primary": True}] if person.is_person else []
    return {
        "schemas": [CORE + "User"],
        "id": person.pk,
        "userName": person.email,
        "displayName": person.name or person.email,
        "name": name,
        "emails": emails,
        **_shared(person, groups),
    }


def service_principal(program: User, groups: Sequence[Group]) -> Json:
    return {
        "schemas": [CORE + "ServicePrincipal"],
        "id": program.pk,
        "applicationId": program.email,
        "displayName": program.name or program.email,
        **_shared(program, groups),
    }


def group(row: Group, members: Sequence[User]) -> Json:
    shown: Json = {
        "schemas": [CORE + "Group"],
        "id": row.pk,
        "displayName": row.name,
        "members": [_member(each) for each in members],
        "groups": [],
        "entitlements": [],
        "roles": [],
        "meta": {"resourceType": "WorkspaceGroup"},
    }
    if row.external_id:
        shown["externalId"] = row.external_id
    return shown


def _shared(principal: User, groups: Sequence[Group]) -> Json:
    shown: Json = {
        "active": principal.is_active,
        "groups": [
            {"value": each.pk, "display": each.name, "type": "direct", "$ref": f"Groups/{each.pk}"}
            for each in groups
        ],
        "entitlements": [],
        "roles": [],
    }
    if principal.external_id:
        shown["externalId"] = principal.external_id
    return shown


def _member(principal: User) -> Json:
    kind = "Users" if principal.is_person else "ServicePrincipals"
    return {
        "value": principal.pk,
        "display": principal.name or principal.email,
        "$ref": f"{kind}/{principal.pk}",
    }
