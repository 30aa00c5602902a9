"""Reads of accounts. Changes nothing."""

from __future__ import annotations

from datetime import datetime

from serving_ui.accounts.models import AccessToken, User, digest_of


def access_tokens(*, user: User) -> list[AccessToken]:
    """The person's tokens, newest first."""
    return list(user.access_tokens.order_by("-created_at"))


def bearer(*, value: str, now: datetime) -> User | None:
    """Whose access token this is; None when it is unknown, has ended, or its person was deactivated. One query."""
    token = (
        AccessToken.objects.select_related("user")
        .filter(digest=digest_of(value), user__is_active=True)
        .first()
    )
    return token.user if token and (token.expires_at is None or token.expires_at > now) else None
