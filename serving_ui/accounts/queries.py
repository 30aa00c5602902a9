"""Reads of accounts. Changes nothing."""

from __future__ import annotations

from serving_ui.accounts.models import AccessToken, User


def access_tokens(*, user: User) -> list[AccessToken]:
    """The person's tokens, newest first."""
    return list(user.access_tokens.order_by("-created_at"))
