"""The addresses of the product. Pages only, for now; the gateway and the sandbox stand beside Django in `asgi`."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("serving_ui.pages.urls"))]
handler400 = "serving_ui.pages.errors.bad_request"
handler403 = "serving_ui.pages.errors.forbidden"
handler404 = "serving_ui.pages.errors.not_found"
handler500 = "serving_ui.pages.errors.server_error"
