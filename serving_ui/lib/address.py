"""Where this server is reached by the people and programs that use it."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def public_url(request: HttpRequest) -> str:
    """Scheme, host and port, without a slash at the end: as set, else as this request was asked."""
    return settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
