"""Who may call a gateway, built from the rows of accounts: active principals by id, and their tokens by digest."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from django.db.models import Q

from serving_ui.accounts.models import ADMINS, EVERYONE, AccessToken, Group, Membership, User
from serving_ui.gateway.snapshot import Principal, TokenEntry

Principals = dict[str, Principal]
Tokens = dict[bytes, TokenEntry]


def principals(*, ids: AbstractSet[str] | None = None) -> Principals:
    """The active ones with these ids, or all."""
    rows, memberships = User.objects.filter(is_active=True), Membership.objects.all()
    if ids is not None:
        rows, memberships = rows.filter(pk__in=ids), memberships.filter(user__in=ids)
    groups: dict[str, set[str]] = {}
    for user, group in memberships.values_list("user", "group"):
        groups.setdefault(user, set()).add(group)
    built_in = _built_in()
    return {
        user.pk: Principal(
            id=user.pk,
            email=user.email,
            is_admin=user.is_admin,
            kind=user.kind,
            groups=frozenset(groups.get(user.pk, set()) | built_in[user.is_admin]),
        )
        for user in rows
    }


def concerned(known: Mapping[str, Principal], *, groups: AbstractSet[str]) -> set[str]:
    """Who was or is in one of these groups."""
    if not groups:
        return set()
    if any(not groups.isdisjoint(built_in) for built_in in _built_in().values()):
        return set(known)
    before = {pk for pk, principal in known.items() if not principal.groups.isdisjoint(groups)}
    return before | set(Membership.objects.filter(group__in=groups).values_list("user", flat=True))


def tokens(
    known: Mapping[str, Principal],
    *,
    holders: AbstractSet[str] | None = None,
    digests: AbstractSet[str] = frozenset(),
) -> Tokens:
    """The tokens of these principals and those with these digests, or all; each of somebody who is known."""
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


def _built_in() -> dict[bool, set[str]]:
    """The groups that nobody is put into: those of admins, and those of everybody else."""
    found = dict(Group.objects.filter(name__in=(EVERYONE, ADMINS)).values_list("name", "pk"))
    return {True: set(found.values()), False: {pk for name, pk in found.items() if name == EVERYONE}}
