"""Who may open an address: each view declares `public`, `signed_in` or `admin`; one that declares nothing answers 403.

The declaration alone; a middleware of the pages carries it out, and the REST API looks at bearer tokens itself.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


class Policy(StrEnum):
    """Who passes."""

    PUBLIC = "public"
    SIGNED_IN = "signed_in"
    ADMIN = "admin"


def _declare(view: View, policy: Policy) -> View:
    view.policy = policy  # type: ignore[attr-defined]
    return view


def public(view: View) -> View:
    """Anyone; also the machine faces, which look at the bearer token themselves."""
    return _declare(view, Policy.PUBLIC)


def signed_in(view: View) -> View:
    """Any person with a session."""
    return _declare(view, Policy.SIGNED_IN)


def admin(view: View) -> View:
    """Admins only."""
    return _declare(view, Policy.ADMIN)
