"""The pages for 400, 403, 404 and 500. They never repeat what was given."""

from __future__ import annotations

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400."""
    return render(request, "400.html", status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403, with the sentence that the refusal carries."""
    return render(request, "403.html", {"exception": str(exception)}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 while the database is away. Without context processors: they may be what broke."""
    away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    return render(None, "500.html", {"database_is_away": away}, status=503 if away else 500)
