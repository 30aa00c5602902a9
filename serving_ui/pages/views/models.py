"""The page of all foundation models."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from serving_ui.lib.address import public_url
from serving_ui.model_hosts import queries
from serving_ui.pages.http import PageRequest
from serving_ui.pages.policy import signed_in
from serving_ui.pages.presenters import listing, models

ROWS = 25  # of a page
MAX_SEARCH_LENGTH = 200


@signed_in
@require_GET
def model_list(request: PageRequest) -> HttpResponse:
    """One page of the foundation models that the person may see and that match the search. Two queries."""
    search = request.GET.get("search", "").strip()[:MAX_SEARCH_LENGTH]
    found = queries.visible_models(actor=request.user, search=search)
    total = found.count()
    pages = max(1, -(-total // ROWS))
    wanted = request.GET.get("page", "1")
    page = min(int(wanted), pages) if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 else 1
    start = (max(page, 1) - 1) * ROWS
    context = {
        "models": models.rows(found[start : start + ROWS], base=public_url(request)),
        "search": search,
        "total": total,
        "pager": listing.pager(max(page, 1), pages, {"search": search} if search else {}),
    }
    return render(request, "models/all.html", context)
