"""The documentation, for everybody who is signed in. It reads no row of the database."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from serving_ui.pages.docs import library, markdown
from serving_ui.pages.docs.search import MAX_QUERY_LENGTH, search
from serving_ui.pages.http import PageRequest
from serving_ui.pages.policy import signed_in


@signed_in
@require_safe
def docs(request: PageRequest) -> HttpResponse:
    """The list of contents, or what `?q=` finds."""
    query = request.GET.get("q", "").strip()[:MAX_QUERY_LENGTH]
    contents = library.contents()
    context = {
        "query": query,
        "results": search(query),
        "page": contents,
        "html": markdown.render(contents.tokens[3:]),  # without the title, which the template sets
    }
    return render(request, "docs/search.html" if query else "docs/contents.html", context)


@signed_in
@require_safe
def docs_page(request: PageRequest, name: str) -> HttpResponse:
    """One page."""
    page = library.page(name)
    if page is None:
        raise Http404("There is no such page in the documentation.")
    pages = library.pages()
    at = pages.index(page)
    context = {
        "page": page,
        "html": markdown.render(page.tokens[3:]),
        "previous": pages[at - 1] if at else None,
        "next": pages[at + 1] if at + 1 < len(pages) else None,
    }
    return render(request, "docs/page.html", context)
