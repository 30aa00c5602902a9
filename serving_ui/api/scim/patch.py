"""SCIM PATCH (RFC 7644 section 3.5.2) as Entra ID, Okta and the Databricks SDK send it. All operations are applied, or none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from serving_ui.accounts import directory, queries
from serving_ui.accounts.models import Group, User
from serving_ui.api.request import ApiRequest, read_body
from serving_ui.api.response_warnings import warn_of_unknown_fields
from serving_ui.api.scim.schemas import GroupRequest, MembersValue, PatchOperation, PatchRequest
from serving_ui.catalogue import unknown
from serving_ui.lib.refusal import Refusal

IGNORED_ATTRIBUTES = frozenset({"entitlements", "roles", "emails", "groups", "schemas", "id", "meta"})
MEMBER_BY_ID = re.compile(r'members\[\s*value\s+eq\s+"([^"]*)"\s*\]', re.IGNORECASE)
BOOLEAN_WORDS = {"true": True, "false": False}


def patch_principal(request: ApiRequest, user: User) -> User:
    """Changes the display name, `active` and `externalId`; ignored attributes are named in a warning."""
    directory.need_admin(request.user)
    changes: dict[str, Any] = {}
    for operation in _operations(request):
        for path, value in _attributes(operation):
            new_value = None if operation.op.lower() == "remove" else value
            changes |= _principal_changes(request, user, path, new_value, changes)
    return directory.change_principal(user=user, actor=request.user, **changes) if changes else user


def patch_group(request: ApiRequest, group: Group) -> Group:
    """Changes the display name, the members and `externalId`; ignored attributes are named in a warning."""
    directory.need_admin(request.user)
    operations = _operations(request)
    with transaction.atomic():
        for operation in operations:
            member = MEMBER_BY_ID.fullmatch(operation.path.strip())
            if member and operation.op.lower() == "remove":
                directory.change_members(group=group, remove=[member.group(1)], actor=request.user)
                continue
            for path, value in _attributes(operation):
                _change_group(request, group, operation.op.lower(), path, value)
    return group


def replace_group(request: ApiRequest, group: Group, body: GroupRequest) -> Group:
    """PUT: the group gets exactly the name, the `externalId` and the members of the body."""
    directory.need_admin(request.user)
    with transaction.atomic():
        directory.change_group(
            group=group,
            name=body.displayName,
            external_id=body.externalId or "",
            actor=request.user,
        )
        if not group.is_built_in or body.members:
            _replace_members(request, group, body.member_ids)
    return group


def refuse_rename(user: User, field: str, value: object) -> None:
    """Raises Refusal if `value` is not the principal's present user name or application id."""
    if value is not None and str(value).lower() != user.email.lower():
        raise Refusal(
            _("%(field)s is %(name)s and never changes. Create another one instead.")
            % {"field": field, "name": user.email}
        )


def _operations(request: ApiRequest) -> list[PatchOperation]:
    patch = read_body(PatchRequest, request.json)
    warn_of_unknown_fields(request, unknown.in_model(PatchRequest, request.json))
    for operation in patch.Operations:
        if operation.op.lower() not in ("add", "replace", "remove"):
            raise Refusal(_("op must be one of: add, replace, remove."))
    return patch.Operations


def _attributes(operation: PatchOperation) -> Iterator[tuple[str, Any]]:
    """Path and value of each attribute; an operation without a path has an object of attributes as its value."""
    if operation.path.strip():
        yield operation.path.strip(), operation.value
    elif isinstance(operation.value, dict):
        yield from operation.value.items()
    else:
        raise Refusal(_("Give each operation a path, such as displayName, or an object as its value."))


def _principal_changes(
    request: ApiRequest, user: User, path: str, value: Any, earlier: dict[str, Any]
) -> dict[str, Any]:
    """Arguments of `directory.change_principal`. `earlier` holds those of the operations before this one."""
    name = path.lower()
    if name == "displayname":
        return {"name": _text(path, value)}
    if name == "externalid":
        return {"external_id": _text(path, value)}
    if name == "active":
        return {"active": _boolean(path, value)}
    if name == "name" and isinstance(value, dict):
        parts = [_text(f"name.{part}", value.get(part)) for part in ("givenName", "familyName")]
        return {"name": " ".join(part for part in parts if part)}
    if name in ("name.givenname", "name.familyname"):
        given_name, _space, family_name = str(earlier.get("name", user.name)).rpartition(" ")
        parts = (
            [_text(path, value), family_name]
            if name == "name.givenname"
            else [given_name, _text(path, value)]
        )
        return {"name": " ".join(part for part in parts if part)}
    if name in ("username", "applicationid"):
        refuse_rename(user, path, value if value is not None else "")
        return {}
    _warn_or_refuse(request, path)
    return {}


def _change_group(request: ApiRequest, group: Group, op: str, path: str, value: Any) -> None:
    name = path.lower()
    if name == "displayname" and op != "remove":
        directory.change_group(group=group, name=_text(path, value), actor=request.user)
    elif name == "externalid":
        text = "" if op == "remove" else _text(path, value)
        directory.change_group(group=group, external_id=text, actor=request.user)
    elif name == "members":
        _change_members(request, group, op, value)
    else:
        _warn_or_refuse(request, path)


def _change_members(request: ApiRequest, group: Group, op: str, value: Any) -> None:
    """`remove` without a value removes all; with one, the members that it lists (Entra ID)."""
    if op == "remove" and value is None:
        _replace_members(request, group, [])
        return
    members = read_body(MembersValue, {"members": [value] if isinstance(value, dict) else value}).members
    ids = [member.value for member in members]
    if op == "replace":
        _replace_members(request, group, ids)
    elif op == "add":
        directory.change_members(group=group, add=ids, actor=request.user)
    else:
        directory.change_members(group=group, remove=ids, actor=request.user)


def _replace_members(request: ApiRequest, group: Group, ids: list[str]) -> None:
    present = {user.pk for user in queries.members(groups=[group])[group.pk]}
    directory.change_members(
        group=group, add=set(ids) - present, remove=present - set(ids), actor=request.user
    )


def _warn_or_refuse(request: ApiRequest, path: str) -> None:
    """Warns of an attribute that is ignored; raises Refusal for an unknown one."""
    if re.split(r"[.\[]", path)[0].lower() not in IGNORED_ATTRIBUTES:
        raise Refusal(_("%(path)s cannot be changed here.") % {"path": path[:100]})
    warn_of_unknown_fields(request, [path[:100]])


def _text(path: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise Refusal(_("%(path)s must be text.") % {"path": path[:100]})


def _boolean(path: str, value: Any) -> bool:
    """Accepts the words too: Entra ID sends `"False"`."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in BOOLEAN_WORDS:
        return BOOLEAN_WORDS[value.lower()]
    raise Refusal(_("%(path)s must be true or false.") % {"path": path[:100]})
