"""The Secrets page: scopes, their keys, and forms to set and delete them. No value is ever shown."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from serving_ui.endpoints import takeover
from serving_ui.lib import clock
from serving_ui.lib.refusal import NotAllowed, NotFound, Refusal
from serving_ui.pages.http import PageRequest, see_other
from serving_ui.pages.paging import list_page
from serving_ui.pages.policy import signed_in
from serving_ui.vault import commands, queries
from serving_ui.vault.models import Scope
from serving_ui.vault.rights import Right

SCOPES, KEYS, KEYS_OF_ONE = 25, 20, 100  # of a page


@signed_in
@never_cache
@require_GET
def secret_list(request: PageRequest) -> HttpResponse:
    """The person's scopes with the first of their keys; or one scope, with all of them."""
    return _page(request, one=request.GET.get("scope", ""))


@signed_in
@require_POST
def scope_create(request: PageRequest) -> HttpResponse:
    """A new scope."""
    name = request.POST.get("scope", "").strip()
    try:
        commands.create_scope(name=name, actor=request.user, now=clock.now())
    except Refusal as refusal:
        return _page(request, status=422, scope_problem=str(refusal), typed_scope=name)
    messages.success(request, _("Secret scope %(scope)s was created. Add a key to it.") % {"scope": name})
    return see_other("secrets")


@signed_in
@sensitive_post_parameters("value")
@require_POST
def secret_put(request: PageRequest, scope: str) -> HttpResponse:
    """Sets a key. A refused value must be typed again, because the page never contains it."""
    key, value = request.POST.get("key", "").strip(), request.POST.get("value", "")
    try:
        commands.put_secret(scope=scope, key=key, value=value.strip(), actor=request.user, now=clock.now())
    except (NotFound, NotAllowed):
        raise
    except Refusal as refusal:
        refused = {
            "put_scope": scope,
            "put_field": refusal.field,
            "put_problem": str(refusal),
            "put_key": key,
        }
        return _page(request, one=scope, status=422, **refused)
    reference = "{{secrets/" + f"{scope}/{key}" + "}}"
    messages.success(request, _("%(reference)s is set.") % {"reference": reference})
    return see_other("secrets")


@signed_in
@require_http_methods(["GET", "POST"])
def secret_delete(request: PageRequest, scope: str) -> HttpResponse:
    """GET asks; POST deletes the key, or the whole scope if no key is named."""
    key = (request.POST if request.method == "POST" else request.GET).get("key", "")
    if request.method == "GET":
        right = Right.WRITE if key else Right.MANAGE
        found = queries.usable_scope(name=scope, actor=request.user, right=right)
        return render(request, "vault/delete.html", {"scope": found, "key": key})
    if key:
        commands.delete_secret(scope=scope, key=key, actor=request.user, now=clock.now())
    else:
        commands.delete_scope(name=scope, actor=request.user, now=clock.now())
    gone = "{{secrets/" + f"{scope}/{key}" + "}}" if key else scope
    messages.success(request, _("%(name)s was deleted.") % {"name": gone})
    return see_other("secrets")


def _page(request: PageRequest, *, one: str = "", status: int = 200, **refused: Any) -> HttpResponse:
    scopes = queries.scopes(actor=request.user)
    shown = _one(request, scopes, one) if one else _some(request, scopes)
    if not one:
        shown["takeovers"] = takeover.pending_takeovers(actor=request.user)
    return render(request, "vault/secrets.html", {**shown, **refused}, status=status)


def _some(request: PageRequest, scopes: QuerySet[Scope]) -> dict[str, Any]:
    few = queries.with_some_keys(scopes, limit=KEYS + 1)
    at = reverse("secrets")
    found = list_page(request, few, order=("name",), key=lambda row: (row.name,), size=SCOPES, at=at)
    sections = [
        {"scope": each, "keys": each.first_keys[:KEYS], "has_more": len(each.first_keys) > KEYS}
        for each in found.rows
    ]
    return {"sections": sections, "list_page": found}


def _one(request: PageRequest, scopes: QuerySet[Scope], name: str) -> dict[str, Any]:
    scope = scopes.prefetch_related(None).filter(name=name).first()
    if scope is None:
        raise Http404
    rows, at = queries.keys(scope=scope), reverse("secrets")
    found = list_page(
        request, rows, order=("key",), key=lambda row: (row.key,), size=KEYS_OF_ONE, at=at, scope=name
    )
    return {"sections": [{"scope": scope, "keys": found.rows}], "one": name, "list_page": found}
