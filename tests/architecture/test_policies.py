"""Deny by default: every URL has a declared policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every URL pattern with its view."""
    for pattern in resolver.url_patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield address, pattern.callback
        else:
            yield from routes(pattern, address)


def test_every_url_has_a_declared_policy():
    found = dict(routes(get_resolver()))
    assert found, "the resolver was not walked"
    assert not [address for address, view in found.items() if not getattr(view, "policy", None)]
