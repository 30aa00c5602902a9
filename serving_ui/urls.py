"""The addresses of the product; the gateway and the sandbox stand beside Django in `asgi`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from serving_ui.api import errors as api
from serving_ui.api.reference.views import docs, docs_operation
from serving_ui.pages import errors as pages

urlpatterns = [
    path("api/2.0/", include("serving_ui.api.urls")),
    path("docs/api", docs, name="api-docs"),
    path("docs/api/<str:name>", docs_operation, name="api-operation"),
    path("", include("serving_ui.pages.urls")),
]


def _by_face(
    page: Callable[..., HttpResponse], program: Callable[..., HttpResponse]
) -> Callable[..., HttpResponse]:
    """Programs are answered in JSON, people with a page."""

    def handler(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return (program if request.path.startswith("/api/") else page)(request, *args, **kwargs)

    return handler


handler400 = _by_face(pages.bad_request, api.bad_request)
handler403 = _by_face(pages.forbidden, api.forbidden)
handler404 = _by_face(pages.not_found, api.not_found)
handler500 = _by_face(pages.server_error, api.server_error)
