"""The page Serving endpoints: cards of foundation models and built-in endpoints, search, table. While an endpoint of the page is updating, one request polls the whole table."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_safe

from serving_ui.endpoints import queries
from serving_ui.lib.address import public_url
from serving_ui.model_hosts.queries import visible_models
from serving_ui.pages.http import PageRequest, fragment, see_other
from serving_ui.pages.policy import signed_in
from serving_ui.pages.presenters import listing, local_models, models

CARDS = 12
"""Foundation models that the list shows as cards; the page of all models has the others."""


@signed_in
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Redirects / to the list of endpoints."""
    return see_other("endpoint-list")


@signed_in
@require_GET
def endpoint_list(request: PageRequest) -> HttpResponse:
    """The whole page, or for htmx the table alone; 204 to a poll that would change nothing."""
    # On history navigation htmx needs the whole page.
    is_full_page = not request.htmx or request.htmx.history_restore_request
    if not is_full_page and request.GET.get("part") == "cards":
        return render(request, "endpoints/list.html#cards", _cards(request))
    if not is_full_page and request.GET.get("part") == "models":
        return models_part(request)
    context = _table(request)
    if is_full_page:
        response = render(request, "endpoints/list.html", context | _cards(request) | _models(request))
    elif request.GET.get("v") == context["fingerprint"]:
        response = HttpResponse(status=204)
    else:
        response = render(request, "endpoints/list.html#table", context)
    patch_vary_headers(response, ["HX-Request"])
    return response


def models_part(request: PageRequest) -> HttpResponse:
    """The foundation models alone, for htmx."""
    return fragment(request, "models/strip.html", _models(request))


def _table(request: PageRequest) -> dict[str, Any]:
    search, owned = request.GET.get("search", "").strip()[:200], request.GET.get("owned") == "1"
    wanted = request.GET.get("page", "1")
    page = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 else 1
    found = queries.list_endpoints(actor=request.user, search=search, owned=owned, page=page)
    filters = {name: value for name, value in (("search", search), ("owned", "1" if owned else "")) if value}
    return {
        "rows": [listing.row(endpoint) for endpoint in found.rows],
        "total": found.total,
        "page": found.page,
        "pager": listing.pager(found.page, found.pages, filters),
        "filters": filters,
        "live": any(endpoint.is_updating for endpoint in found.rows),
        "fingerprint": listing.fingerprint(found.rows),
    }


def _cards(request: PageRequest) -> dict[str, Any]:
    found = queries.built_in(actor=request.user)
    cards = [
        {
            "row": listing.row(endpoint),
            "url": f"{public_url(request)}/serving-endpoints/{endpoint.name}/invocations",
            "title": endpoint.name.replace("-", " ").capitalize(),
        }
        for endpoint in found
    ]
    return {"cards": cards, "cards_live": any(endpoint.is_updating for endpoint in found)}


def _models(request: PageRequest) -> dict[str, Any]:
    """The first foundation models, and how many there are, with two queries, whatever their number. For an admin also the card of
    the models on this machine, which is shown while there is no model."""
    found = visible_models(actor=request.user)
    first = list(found[:CARDS])
    local = local_models.card() if request.user.is_admin else None
    return {
        "models": models.rows(first, base=public_url(request)),
        "models_total": found.count() if len(first) == CARDS else len(first),
        "local": local,
        "models_live": any(model.endpoint.is_updating for model in first) or bool(local and local.is_live),
    }
