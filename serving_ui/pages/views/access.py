"""Permissions of an endpoint, a person's own access tokens, and the settings of the workspace."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from serving_ui.accounts import queries
from serving_ui.accounts.commands import create_access_token, revoke_access_token
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.endpoints import workspace
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import Workspace
from serving_ui.endpoints.permissions import Action, Level
from serving_ui.lib import clock
from serving_ui.pages.http import PageRequest, SeeOther, get_endpoint, see_other
from serving_ui.pages.paging import list_page
from serving_ui.pages.policy import signed_in
from serving_ui.pages.translation import translate
from serving_ui.pages.views.detail import detail_page
from serving_ui.vault import drafts

LIFETIMES = (30, 90, 365)
TOKENS = 50  # of a page
NEW_TOKEN_COOKIE = "serving_ui_new_token"  # noqa: S105 (the name of a cookie)
NEW_TOKEN_SECONDS = 300  # seconds


@signed_in
@require_POST
def permissions(request: PageRequest, name: str) -> HttpResponse:
    """Grants a level to a person, group or service principal, or revokes it (level NONE)."""
    endpoint = get_endpoint(request, name, Action.MANAGE)
    principal, level = request.POST.get("principal", "").strip(), request.POST.get("level", "")
    if level not in Level.__members__:
        raise BadRequest("There is no such level.")
    try:
        grant(name=name, to=principal, level=Level[level], actor=request.user, now=clock.now())
    except SpecErrors as errors:
        problem = " ".join(translate(each.message) for each in errors.problems)
        refused = {"grant_problem": problem, "grant_to": principal}
        return detail_page(request, endpoint, status=422, tab="permissions", **refused)
    messages.success(request, _("The permissions of %(name)s were changed.") % {"name": principal})
    address = see_other("endpoint-detail", name).url
    return SeeOther(f"{address}?tab=permissions")


@signed_in
@never_cache
@require_http_methods(["GET", "POST"])
def settings_page(request: PageRequest) -> HttpResponse:
    """A person's access tokens, and the workspace for admins. A new token is shown once, on the page after its creation."""
    if request.method == "POST" and "workspace" in request.POST:
        return _change_workspace(request)
    if request.method == "POST" and "revoke" in request.POST:
        revoke_access_token(user=request.user, token_id=request.POST["revoke"], actor=request.user)
        messages.success(request, _("The access token was revoked."))
        return see_other("settings")
    if request.method == "POST":
        days = request.POST.get("days", "")
        lifetime = timedelta(days=int(days)) if days in map(str, LIFETIMES) else None
        comment = request.POST.get("comment", "")
        _token, value = create_access_token(
            user=request.user, comment=comment, lifetime=lifetime, now=clock.now()
        )
        return _with_new_token(request, see_other("settings"), value)
    tokens = queries.access_tokens(user=request.user)
    context = {
        "lifetimes": LIFETIMES,
        "workspace": Workspace.here(),
        "new_token": _new_token(request),
        "list_page": list_page(
            request,
            tokens,
            order=("-created_at", "-pk"),
            key=lambda row: (row.created_at, row.pk),
            size=TOKENS,
            at=reverse("settings"),
        ),
    }
    response = render(request, "accounts/settings.html", context)
    if NEW_TOKEN_COOKIE in request.COOKIES:
        response.delete_cookie(NEW_TOKEN_COOKIE, path=reverse("settings"))
    return response


def _with_new_token(request: PageRequest, response: HttpResponse, value: str) -> HttpResponse:
    """Sets a cookie with the encrypted token, which the next page shows and deletes."""
    response.set_cookie(
        NEW_TOKEN_COOKIE,
        drafts.encrypt(value, purpose=_purpose(request)),
        max_age=NEW_TOKEN_SECONDS,
        path=reverse("settings"),
        secure=settings.SECURE,
        httponly=True,
        samesite="Strict",
    )
    return response


def _new_token(request: PageRequest) -> str:
    """The token in the cookie, or "" if there is none or it has expired."""
    try:
        return drafts.decrypt(
            request.COOKIES.get(NEW_TOKEN_COOKIE, ""), purpose=_purpose(request), max_age=NEW_TOKEN_SECONDS
        )
    except drafts.DraftInvalid:
        return ""


def _purpose(request: PageRequest) -> str:
    return f"{NEW_TOKEN_COOKIE}:{request.user.pk}"


def _change_workspace(request: PageRequest) -> HttpResponse:
    allowed = "several_external_models" in request.POST
    workspace.allow_several_external_models(allowed=allowed, actor=request.user)
    if allowed:
        messages.success(request, _("Endpoints may now serve several external models."))
    else:
        messages.success(request, _("New configurations may now serve only one external model."))
    return see_other("settings")
