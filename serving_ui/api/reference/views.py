"""The pages at /docs/api."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from serving_ui.accounts.models import User
from serving_ui.api.reference import page
from serving_ui.api.reference.code_samples import EXAMPLE, SampleEndpoint
from serving_ui.endpoints import queries
from serving_ui.endpoints.models import Endpoint
from serving_ui.lib.address import public_url
from serving_ui.lib.policy import signed_in


class SignedIn(HttpRequest):
    """A request of a person with a session."""

    user: User


@signed_in
@never_cache
@require_safe
def docs(request: SignedIn) -> HttpResponse:
    """The page; `?endpoint=` names the endpoint in its code samples."""
    endpoint = _chosen(request)
    context = {
        "endpoint": endpoint,
        "query": _query(endpoint),
        "names": _names(request.user),
        "base": public_url(request),
        "first": page.top_entries(endpoint),
        "groups": page.grouped(),
        "blocks": page.blocks(),
    }
    return render(request, "api/docs.html", context)


@signed_in
@never_cache
@require_safe
def docs_operation(request: SignedIn, name: str) -> HttpResponse:
    """One operation with every field; `?endpoint=` as above."""
    endpoint = _chosen(request)
    entry = page.entry(name, _sample(endpoint))
    if entry is None:
        raise Http404("There is no such operation.")
    context = {
        "endpoint": endpoint,
        "query": _query(endpoint),
        "entry": entry,
        "operation": entry.operation,
        "group": page.Group(entry.operation.group, []),
    }
    return render(request, "api/operation.html", context)


def _chosen(request: SignedIn) -> Endpoint | None:
    name = request.GET.get("endpoint", "").strip()
    if not name:
        return None
    return queries.get_endpoint(name=name, actor=request.user)


def _sample(endpoint: Endpoint | None) -> SampleEndpoint:
    return page.sample_of(endpoint) if endpoint else EXAMPLE


def _query(endpoint: Endpoint | None) -> str:
    """The query string for links, which carries the chosen endpoint to the next page."""
    return f"?endpoint={endpoint.name}" if endpoint else ""


def _names(user: User) -> list[str]:
    """The 50 endpoints modified last, for the select field. The page of every other endpoint links here."""
    return [row.name for row in queries.list_endpoints(actor=user, per_page=50).rows]
