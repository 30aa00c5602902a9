"""Carries out the operations of a SCIM PATCH, all or none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from serving_ui.accounts import directory, queries
from serving_ui.accounts.models import Group, User
from serving_ui.api.http import ApiRequest
from serving_ui.api.request_body import read_body
from serving_ui.api.response_warnings import warn_of_unknown_fields
from serving_ui.api.scim_bodies import Change, Changes, GivenGroup, Members
from serving_ui.catalogue import unknown
from serving_ui.lib.refusal import Refusal

WITHOUT_EFFECT = frozenset({"entitlements", "roles", "emails", "groups", "schemas", "id", "meta"})
ONE_MEMBER = re.compile(r'members\[\s*value\s+eq\s+"([^"]*)"\s*\]', re.IGNORECASE)
TRUTH = {"true": True, "false": False}


def change_principal(request: ApiRequest, user: User) -> User:
    """Display name, active and the directory's id; the rest is named in a warning."""
    directory.need_admin(request.user)
    wanted: dict[str, Any] = {}
    for change in _changes(request):
        for path, value in _parts(change):
            removed = change.op.lower() == "remove"
            wanted |= _of_principal(request, user, path, None if removed else value, wanted)
    return directory.change_principal(user=user, actor=request.user, **wanted) if wanted else user


def change_group(request: ApiRequest, group: Group) -> Group:
    """Name, members and the directory's id."""
    directory.need_admin(request.user)
    changes = _changes(request)
    with transaction.atomic():
        for change in changes:
            one = ONE_MEMBER.fullmatch(change.path.strip())
            if one and change.op.lower() == "remove":
                directory.change_members(group=group, remove=[one.group(1)], actor=request.user)
                continue
            for path, value in _parts(change):
                _of_group(request, group, change.op.lower(), path, value)
    return group


def replace_group(request: ApiRequest, group: Group, given: GivenGroup) -> Group:
    """The group as given: whoever is not named leaves."""
    directory.need_admin(request.user)
    with transaction.atomic():
        directory.change_group(
            group=group,
            name=given.displayName,
            external_id=given.externalId or "",
            actor=request.user,
        )
        if not group.is_built_in or given.members:
            _replace_members(request, group, given.member_ids)
    return group


def keep_name(user: User, field: str, given: object) -> None:
    """Raises Refusal when a client would rename somebody."""
    if given is not None and str(given).lower() != user.email.lower():
        raise Refusal(
            _("%(field)s is %(name)s and never changes. Create another one instead.")
            % {"field": field, "name": user.email}
        )


def _changes(request: ApiRequest) -> list[Change]:
    changes = read_body(Changes, request.json)
    warn_of_unknown_fields(request, unknown.in_model(Changes, request.json))
    for change in changes.Operations:
        if change.op.lower() not in ("add", "replace", "remove"):
            raise Refusal(_("op must be one of: add, replace, remove."))
    return changes.Operations


def _parts(change: Change) -> Iterator[tuple[str, Any]]:
    """Path and value of each attribute; without a path the value is an object of them."""
    if change.path.strip():
        yield change.path.strip(), change.value
    elif isinstance(change.value, dict):
        yield from change.value.items()
    else:
        raise Refusal(_("Give each operation a path, such as displayName, or an object as its value."))


def _of_principal(
    request: ApiRequest, user: User, path: str, value: Any, wanted: dict[str, Any]
) -> dict[str, Any]:
    """What this part changes."""
    name = path.lower()
    if name == "displayname":
        return {"name": _text(path, value)}
    if name == "externalid":
        return {"external_id": _text(path, value)}
    if name == "active":
        return {"active": _truth(path, value)}
    if name == "name" and isinstance(value, dict):
        parts = [_text(f"name.{part}", value.get(part)) for part in ("givenName", "familyName")]
        return {"name": " ".join(part for part in parts if part)}
    if name in ("name.givenname", "name.familyname"):
        given, _space, family = str(wanted.get("name", user.name)).rpartition(" ")
        is_given = name == "name.givenname"
        parts = [_text(path, value), family] if is_given else [given, _text(path, value)]
        return {"name": " ".join(part for part in parts if part)}
    if name in ("username", "applicationid"):
        keep_name(user, path, value if value is not None else "")
        return {}
    _without_effect(request, path)
    return {}


def _of_group(request: ApiRequest, group: Group, op: str, path: str, value: Any) -> None:
    name = path.lower()
    if name == "displayname" and op != "remove":
        directory.change_group(group=group, name=_text(path, value), actor=request.user)
    elif name == "externalid":
        text = "" if op == "remove" else _text(path, value)
        directory.change_group(group=group, external_id=text, actor=request.user)
    elif name == "members":
        _of_members(request, group, op, value)
    else:
        _without_effect(request, path)


def _of_members(request: ApiRequest, group: Group, op: str, value: Any) -> None:
    if op == "remove" and value is None:
        _replace_members(request, group, [])
        return
    given = read_body(Members, {"members": [value] if isinstance(value, dict) else value})
    ids = [member.value for member in given.members]
    if op == "replace":
        _replace_members(request, group, ids)
    elif op == "add":
        directory.change_members(group=group, add=ids, actor=request.user)
    else:
        directory.change_members(group=group, remove=ids, actor=request.user)


def _replace_members(request: ApiRequest, group: Group, ids: list[str]) -> None:
    present = {user.pk for user in queries.members(of=[group])[group.pk]}
    directory.change_members(
        group=group, add=set(ids) - present, remove=present - set(ids), actor=request.user
    )


def _without_effect(request: ApiRequest, path: str) -> None:
    if re.split(r"[.\[]", path)[0].lower() not in WITHOUT_EFFECT:
        raise Refusal(_("%(path)s cannot be changed here.") % {"path": path[:100]})
    warn_of_unknown_fields(request, [path[:100]])


def _text(path: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise Refusal(_("%(path)s must be text.") % {"path": path[:100]})


def _truth(path: str, value: Any) -> bool:
    """Some directories write it as a word."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in TRUTH:
        return TRUTH[value.lower()]
    raise Refusal(_("%(path)s must be true or false.") % {"path": path[:100]})
