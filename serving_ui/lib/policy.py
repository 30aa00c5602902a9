"""Who may open a URL: each view declares `public`, `signed_in` or `admin`; a view without declaration answers 403.

A middleware of the pages enforces the declaration. The REST API checks bearer tokens itself.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


class Policy(StrEnum):
    """Who may open a view."""

    PUBLIC = "public"
    SIGNED_IN = "signed_in"
    ADMIN = "admin"


def _declare(view: View, policy: Policy) -> View:
    view.policy = policy  # type: ignore[attr-defined]
    return view


def public(view: View) -> View:
    """Anyone. The REST API uses it too, because it checks the bearer token itself."""
    return _declare(view, Policy.PUBLIC)


def signed_in(view: View) -> View:
    """Anyone with a session."""
    return _declare(view, Policy.SIGNED_IN)


def admin(view: View) -> View:
    """Admins only."""
    return _declare(view, Policy.ADMIN)
