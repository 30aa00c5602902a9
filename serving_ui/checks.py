"""System checks of Django that run at the start."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.urls import URLPattern, URLResolver, get_resolver


@register()
def every_view_declares_who_may_call_it(**_options: Any) -> list[CheckMessage]:
    """Reports views without a policy, which would answer 403 to everybody."""
    undeclared = [view for view in views(get_resolver()) if not hasattr(view, "policy")]
    return [
        Error(f"{view.__module__}.{view.__name__} declares no policy", id="serving_ui.E001")
        for view in undeclared
    ]


def views(resolver: URLResolver) -> list[Any]:
    """All views of the URL configuration."""
    found: list[Any] = []
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            found.append(pattern.callback)
        else:
            found += views(pattern)
    return found
