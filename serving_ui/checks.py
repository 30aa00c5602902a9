"""Start-up checks: what would go wrong quietly is said before anything serves."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.urls import URLPattern, URLResolver, get_resolver

from serving_ui.lib.env import EnvError
from serving_ui.vault import ciphers


@register()
def every_view_declares_who_may_call_it(**_options: Any) -> list[CheckMessage]:
    """A view without a policy would be refused to everybody at run time; say so now."""
    bare = [view for view in views(get_resolver()) if not hasattr(view, "policy")]
    return [
        Error(f"{view.__module__}.{view.__name__} declares no policy", id="serving_ui.E001") for view in bare
    ]


@register()
def vault_keys_are_usable(**_options: Any) -> list[CheckMessage]:
    """The keys can be read and fit."""
    try:
        ciphers.KeyRing(settings.VAULT_KEYS)
    except EnvError as error:
        return [Error(str(error), id="serving_ui.E002")]
    return []


def views(resolver: URLResolver) -> list[Any]:
    """Every view that a URL leads to."""
    found: list[Any] = []
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            found.append(pattern.callback)
        else:
            found += views(pattern)
    return found
