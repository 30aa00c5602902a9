"""The error pages 400, 403, 404 and 500. They never contain values of the request.

`lib.refusal.NotAllowed` and `NotFound` are subclasses of Django's exceptions, so Django answers them with these pages.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language_from_request, override
from django.utils.translation import gettext as _

from serving_ui.lib.request import MAX_TARGET_BYTES, has_unstorable_characters

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_ADDRESS_HEADERS = ("Origin", "Referer", "HX-Current-URL")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400."""
    return render(request, "400.html", status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403, with the sentence of the refusal."""
    return render(request, "403.html", {"exception": str(exception)}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 while the database is unreachable. Renders without context processors, which may be what failed."""
    is_unreachable = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    return render(
        None, "500.html", {"database_is_unreachable": is_unreachable}, status=503 if is_unreachable else 500
    )


class RefuseUnreadable:
    """Middleware that refuses a malformed request before the next ones read its cookies, session or language.

    If the ASGI application has refused the request, its `RequestRefused` is `refusal` in the ASGI scope. Form fields are checked
    here; the API checks its own bodies.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        refusal = getattr(request, "scope", {}).get("refusal")
        if refusal is not None:
            return _unreadable(request, str(refusal), status=refusal.status)
        for name in [name for name, value in request.COOKIES.items() if has_unstorable_characters(value)]:
            del request.COOKIES[name]  # this server sets no such cookie, so no session is lost
        sentence = "" if request.path.startswith("/api/") else _problem(request)
        return _unreadable(request, sentence) if sentence else self.get_response(request)


def _problem(request: HttpRequest) -> str:
    # `urllib.parse` caches the addresses that it has split, so their length must be limited.
    if any(len(request.headers.get(name, "")) > MAX_TARGET_BYTES for name in _ADDRESS_HEADERS):
        return _("A header contains an address that is too long.")
    if request.content_type not in _FORMS:
        return ""
    if (request.content_params or {}).get("charset", "utf-8").lower() != "utf-8":
        return _("The form is not in UTF-8. Send it as the page does.")
    if any(map(_has_unstorable_characters, request.POST.lists())):
        return _("The form contains the character NUL. Remove it and send the form again.")
    return ""


def _has_unstorable_characters(field: tuple[str, Iterable[str]]) -> bool:
    name, values = field
    return has_unstorable_characters(name) or any(map(has_unstorable_characters, values))


def _unreadable(request: HttpRequest, sentence: str, *, status: int = 400) -> HttpResponse:
    with override(get_language_from_request(request)):
        return render(request, "refused.html", {"sentence": sentence, "status": status}, status=status)
