"""The public address of this server."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def public_url(request: HttpRequest) -> str:
    """Scheme, host and port without a trailing slash: the setting PUBLIC_URL, else those of the request."""
    return settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
