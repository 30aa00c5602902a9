"""The document, and the page that people read."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from serving_ui.accounts.models import User
from serving_ui.api.description import page
from serving_ui.api.description.document import document
from serving_ui.api.description.examples import EXAMPLE
from serving_ui.api.description.of_endpoint import document_of
from serving_ui.api.http import ApiRequest, route
from serving_ui.endpoints import queries
from serving_ui.endpoints.errors import EndpointNotFound
from serving_ui.lib.policy import signed_in


class SignedIn(HttpRequest):
    """A request of a person with a session."""

    user: User


def get_openapi(request: ApiRequest) -> HttpResponse:
    """The whole API."""
    return JsonResponse(document(base=_base(request)))


def get_endpoint_openapi(request: ApiRequest, name: str) -> HttpResponse:
    """How one endpoint is queried."""
    endpoint = queries.get_endpoint(name=name, actor=request.user)
    return JsonResponse(document_of(endpoint, base=_base(request)))


@signed_in
@never_cache
@require_safe
def docs(request: SignedIn) -> HttpResponse:
    """The page; `?endpoint=` names the one that its programs are about."""
    name = request.GET.get("endpoint", "").strip()
    endpoint = None
    if name:
        try:
            endpoint = queries.get_endpoint(name=name, actor=request.user)
        except EndpointNotFound as error:
            raise Http404(str(error)) from None
    context = {
        "endpoint": endpoint,
        "names": _names(request.user),
        "base": _base(request),
        "groups": page.entries(page.subject_of(endpoint) if endpoint else EXAMPLE),
        "blocks": page.blocks(),
    }
    return render(request, "api/docs.html", context)


def _base(request: HttpRequest) -> str:
    return request.build_absolute_uri("/").rstrip("/")


def _names(user: User) -> list[str]:
    """A choice of endpoints, last modified first; others are reached from their own page."""
    return [row.name for row in queries.list_endpoints(actor=user, per_page=50).rows]


urlpatterns = [
    *route("openapi.json", session=True, GET=get_openapi),
    *route("serving-endpoints/<str:name>/openapi", session=True, GET=get_endpoint_openapi),
]
