"""Signing in and out. There are no passwords: a one-time link makes the session."""

from __future__ import annotations

from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from serving_ui.accounts.commands import LinkInvalid, redeem_sign_in_link
from serving_ui.lib import clock
from serving_ui.pages.http import see_other
from serving_ui.pages.policy import public, signed_in

BACKEND = "serving_ui.accounts.sessions.LinkBackend"
WANTED = "wanted_page"


@public
@never_cache
@require_GET
def sign_in(request: HttpRequest) -> HttpResponse:
    """How to get a link. Where the person was going is kept for after the link is opened."""
    wanted = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    if request.user.is_authenticated:
        return see_other(wanted if is_ours else "endpoint-list")
    if is_ours and wanted != "/":
        request.session[WANTED] = wanted
    return render(request, "accounts/sign_in.html")


@public
@never_cache
@require_GET
def welcome(request: HttpRequest, value: str) -> HttpResponse:
    """Redeems a one-time link: a session, and 303 to where the person was going."""
    try:
        user = redeem_sign_in_link(value=value, now=clock.now())
    except LinkInvalid as refusal:
        return render(request, "accounts/link_invalid.html", {"sentence": str(refusal)}, status=403)
    wanted = request.session.get(WANTED)
    login(request, user, backend=BACKEND)
    request.session.pop(WANTED, None)
    return see_other(wanted or "endpoint-list")


@signed_in
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Ends the session."""
    logout(request)
    return see_other("sign-in")
