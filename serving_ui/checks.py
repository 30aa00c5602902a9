"""Start-up checks: what would go wrong quietly is said before anything serves."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.urls import URLPattern, URLResolver, get_resolver


@register()
def every_view_declares_who_may_call_it(**_options: Any) -> list[CheckMessage]:
    """A view without a policy would be refused to everybody at run time; say so now."""
    bare = [view for view in views(get_resolver()) if not hasattr(view, "policy")]
    return [
        Error(f"{view.__module__}.{view.__name__} declares no policy", id="serving_ui.E001") for view in bare
    ]


def views(resolver: URLResolver) -> list[Any]:
    """Every view that a URL leads to."""
    found: list[Any] = []
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            found.append(pattern.callback)
        else:
            found += views(pattern)
    return found
