"""The state of accounts as commands report it, before and after: see `lib.changes`. Digests of tokens and links are left out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from serving_ui.accounts.models import ADMINS, AccessToken, Group, SignInLink, User
from serving_ui.lib.changes import State, report_change


def report_principal(
    action: str, user: User, *, actor: User | None, before: State | None, after: State | None
) -> None:
    report_change(
        action, kind="principal", id=user.pk, name=user.email, actor=actor, before=before, after=after
    )


def report_group(
    action: str, group: Group, *, actor: User, before: State | None, after: State | None
) -> None:
    report_change(action, kind="group", id=group.pk, name=group.name, actor=actor, before=before, after=after)


def report_token(
    action: str, token: AccessToken, *, actor: User | None, before: State | None, after: State | None
) -> None:
    report_change(
        action,
        kind="access token",
        id=token.pk,
        name=token.comment,
        actor=actor,
        before=before,
        after=after,
    )


def report_link(
    action: str, link: SignInLink, *, actor: User | None, before: State | None, after: State | None
) -> None:
    report_change(
        action,
        kind="sign-in link",
        id=link.pk,
        name=link.user.email,
        actor=actor,
        before=before,
        after=after,
    )


def principal_state(user: User) -> dict[str, Any]:
    """A principal with the groups and tokens that are lost with it. Two queries."""
    return {
        "email": user.email,
        "name": user.name,
        "kind": str(user.kind),
        "external_id": user.external_id,
        "is_admin": user.is_admin,
        "is_active": user.is_active,
        "groups": sorted(user.memberships.values_list("group__name", flat=True)),
        "access_tokens": sorted(user.access_tokens.values_list("pk", flat=True)),
    }


def group_state(group: Group) -> dict[str, Any]:
    return {"name": group.name, "external_id": group.external_id}


def members_among(group: Group, ids: Collection[str] | None = None) -> list[str]:
    """Who of these principals is in the group, or all who are, by e-mail. One query."""
    found = User.objects.all() if ids is None else User.objects.filter(pk__in=ids)
    found = found.filter(is_admin=True) if group.name == ADMINS else found.filter(memberships__group=group)
    return sorted(found.values_list("email", flat=True))


def token_state(token: AccessToken) -> dict[str, Any]:
    return {
        "owner": token.user.email,
        "comment": token.comment,
        "created_by": token.created_by.email if token.created_by else token.user.email,
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
    }


def link_state(link: SignInLink) -> dict[str, Any]:
    return {
        "principal": link.user.email,
        "expires_at": link.expires_at.isoformat(),
        "used_at": link.used_at.isoformat() if link.used_at else None,
    }
