"""Queries of accounts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from serving_ui.accounts.commands import LinkInvalid, link_invalid
from serving_ui.accounts.models import (
    ADMINS,
    EVERYONE,
    AccessToken,
    Group,
    Membership,
    SignInLink,
    User,
    digest_of,
    is_named,
)
from serving_ui.lib.refusal import NotFound


def access_tokens(*, user: User) -> QuerySet[AccessToken]:
    """The person's tokens, newest first."""
    return user.access_tokens.order_by("-created_at", "-pk")


def bearer(*, value: str, now: datetime) -> User | None:
    """The owner of an access token; None if it is unknown or expired or its owner is deactivated. One query."""
    token = (
        AccessToken.objects.select_related("user")
        .filter(digest=digest_of(value), user__is_active=True)
        .first()
    )
    return token.user if token and (token.expires_at is None or token.expires_at > now) else None


def person_of_sign_in_link(*, value: str, now: datetime) -> User:
    """The user whom the link would sign in. Raises LinkInvalid; does not use the link up."""
    link = SignInLink.objects.select_related("user").filter(
        digest=digest_of(value), user__is_active=True, used_at=None, expires_at__gt=now
    )
    for found in link:
        return found.user
    raise LinkInvalid(link_invalid())


def principals(*, kind: User.Kind) -> QuerySet[User]:
    """The people, or the service principals."""
    return User.objects.filter(kind=kind)


def groups() -> QuerySet[Group]:
    """The groups, the built-in ones among them."""
    return Group.objects.all()


def members(*, groups: Iterable[Group]) -> dict[str, list[User]]:
    """The members of each group, by group id. One query for all stored groups and one for each built-in group."""
    wanted = list(groups)
    found: dict[str, list[User]] = {group.pk: [] for group in wanted}
    rows = Membership.objects.filter(group__in=[group.pk for group in wanted if not group.is_built_in])
    for row in rows.select_related("user").order_by("user__email"):
        found[row.group_id].append(row.user)
    for group in wanted:
        if group.name == ADMINS:
            found[group.pk] = list(User.objects.filter(is_admin=True).order_by("email"))
        elif group.name == EVERYONE:
            found[group.pk] = list(User.objects.order_by("email"))
    return found


def groups_of(*, users: Iterable[User]) -> dict[str, list[Group]]:
    """The groups that each principal is in, by the principal's id; the built-in ones first. Two queries for all."""
    all_users = list(users)
    admins, everyone = _built_in()
    found = {user.pk: [admins, everyone] if user.is_admin else [everyone] for user in all_users}
    rows = Membership.objects.filter(user__in=[user.pk for user in all_users]).select_related("group")
    for row in rows.order_by("group__name"):
        found[row.user_id].append(row.group)
    return found


def find_user(*, name: str, kind: User.Kind | None = None) -> User | None:
    """The person with this e-mail, or the service principal with this application id."""
    found = User.objects.named(name)
    return found if found and kind in (None, found.kind) else None


def find_group(*, name: str) -> Group | None:
    """The group of this name, whatever its capitals."""
    name = name.strip()
    if name.lower() in (EVERYONE, ADMINS):
        return Group.built_in(name.lower())
    return Group.objects.filter(is_named("name", name)).first()


def find_principal(*, name: str) -> User | Group | None:
    """The person or service principal of this name, else the group."""
    return find_user(name=name) or find_group(name=name)


def _built_in() -> list[Group]:
    return list(Group.objects.filter(name__in=(ADMINS, EVERYONE)).order_by("name"))


def principal_by_id(*, user_id: str, kind: User.Kind) -> User:
    """The person or service principal with this id. Raises NotFound."""
    found = User.objects.filter(pk=user_id, kind=kind).first()
    if found is None:
        raise NotFound(_("Nobody here has the id %(id)s. List them to see the ids.") % {"id": user_id})
    return found


def group_by_id(*, group_id: str) -> Group:
    """The group with this id. Raises NotFound."""
    found = Group.objects.filter(pk=group_id).first()
    if found is None:
        raise NotFound(
            _("No group here has the id %(id)s. List the groups to see the ids.") % {"id": group_id}
        )
    return found
