"""Builds the principals of a snapshot (active users and service principals, by id) and their access tokens (by digest)."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from django.db.models import Q

from serving_ui.accounts.models import ADMINS, EVERYONE, AccessToken, Group, Membership, User
from serving_ui.gateway.snapshot import Principal, TokenEntry

Principals = dict[str, Principal]
Tokens = dict[bytes, TokenEntry]


def build_principals(*, ids: AbstractSet[str] | None = None) -> Principals:
    """The active principals with these ids; without `ids`, all active principals."""
    rows, memberships = User.objects.filter(is_active=True), Membership.objects.all()
    if ids is not None:
        rows, memberships = rows.filter(pk__in=ids), memberships.filter(user__in=ids)
    groups: dict[str, set[str]] = {}
    for user, group in memberships.values_list("user", "group"):
        groups.setdefault(user, set()).add(group)
    implicit = _implicit_groups()
    return {
        user.pk: Principal(
            id=user.pk,
            email=user.email,
            is_admin=user.is_admin,
            kind=user.kind,
            groups=frozenset(groups.get(user.pk, set()) | implicit[user.is_admin]),
        )
        for user in rows
    }


def affected_principals(known: Mapping[str, Principal], *, groups: AbstractSet[str]) -> set[str]:
    """The ids of the principals that were or are members of one of these groups."""
    if not groups:
        return set()
    if any(not groups.isdisjoint(implicit) for implicit in _implicit_groups().values()):
        return set(known)
    before = {pk for pk, principal in known.items() if not principal.groups.isdisjoint(groups)}
    return before | set(Membership.objects.filter(group__in=groups).values_list("user", flat=True))


def build_tokens(
    known: Mapping[str, Principal],
    *,
    holders: AbstractSet[str] | None = None,
    digests: AbstractSet[str] = frozenset(),
) -> Tokens:
    """The tokens of these holders and those with these digests; without `holders`, all. Skips tokens whose holder is not in
    `known`."""
    rows = AccessToken.objects.all()
    if holders is not None:
        rows = rows.filter(Q(user__in=holders) | Q(digest__in=digests))
    return {
        bytes.fromhex(row.digest): TokenEntry(
            principal=known[row.user_id], expires_at=row.expires_at.timestamp() if row.expires_at else None
        )
        for row in rows
        if row.user_id in known
    }


def _implicit_groups() -> dict[bool, set[str]]:
    """The ids of the built-in groups, whose membership is computed and not stored, by whether a principal is an admin."""
    found = dict(Group.objects.filter(name__in=(EVERYONE, ADMINS)).values_list("name", "pk"))
    return {True: set(found.values()), False: {pk for name, pk in found.items() if name == EVERYONE}}
