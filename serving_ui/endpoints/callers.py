"""Who may call a gateway, built from the rows of accounts: active principals by id, and their tokens by digest."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from django.db.models import Q

from serving_ui.accounts.models import AccessToken, User
from serving_ui.gateway.snapshot import Principal, TokenEntry

Principals = dict[str, Principal]
Tokens = dict[bytes, TokenEntry]


def principals(*, ids: AbstractSet[str] | None = None) -> Principals:
    """The active ones with these ids, or all."""
    rows = User.objects.filter(is_active=True)
    return {user.pk: _principal(user) for user in (rows if ids is None else rows.filter(pk__in=ids))}


def tokens(*, holders: AbstractSet[str] | None = None, digests: AbstractSet[str] = frozenset()) -> Tokens:
    """The tokens of these principals and those with these digests, or all."""
    rows = AccessToken.objects.filter(user__is_active=True).select_related("user")
    if holders is not None:
        rows = rows.filter(Q(user__in=holders) | Q(digest__in=digests))
    return {
        bytes.fromhex(row.digest): TokenEntry(
            principal=_principal(row.user), expires_at=row.expires_at.timestamp() if row.expires_at else None
        )
        for row in rows
    }


def _principal(user: User) -> Principal:
    return Principal(id=user.pk, email=user.email, is_admin=user.is_admin)
