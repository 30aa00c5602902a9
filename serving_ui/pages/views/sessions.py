"""Signing in and out. There are no passwords: the button on the page of a one-time link creates the session.

A GET of the link changes nothing, because mail scanners open links, and so could a page that wants to sign its reader in as
another person.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.encoding import iri_to_uri
from django.views import csrf
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from serving_ui.accounts.commands import LinkInvalid, redeem_sign_in_link
from serving_ui.accounts.models import User
from serving_ui.accounts.queries import person_of_sign_in_link
from serving_ui.lib import clock
from serving_ui.pages.http import see_other
from serving_ui.pages.policy import own_page_path, public, signed_in
from serving_ui.pages.submissions import FORM_ID

BACKEND = "serving_ui.accounts.sessions.LinkBackend"
NEXT_COOKIE, NEXT_COOKIE_PATH = "serving_ui_next", "/welcome/"
NEXT_COOKIE_SECONDS = 24 * 3600  # as long as a link works
SIGNED_IN_BY = "signed-in-by"  # in the session: the id of the form that began it, and where that led


@public
@never_cache
@require_safe
def sign_in(request: HttpRequest) -> HttpResponse:
    """Says how to get a link. A cookie remembers the wanted page until the link is used."""
    wanted = own_page_path(request.GET.get("next", ""))
    if request.user.is_authenticated:
        return see_other(wanted or "endpoint-list")
    response = render(request, "accounts/sign_in.html")
    if wanted:
        response.set_cookie(
            NEXT_COOKIE,
            iri_to_uri(wanted),
            max_age=NEXT_COOKIE_SECONDS,
            path=NEXT_COOKIE_PATH,
            secure=settings.SECURE,
            httponly=True,
            samesite="Lax",
        )
    return response


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def welcome(request: HttpRequest, value: str) -> HttpResponse:
    """GET: whom the link signs in, with a button. POST: creates the session, 303 to the wanted page."""
    now = clock.now()
    try:
        if request.method == "POST":
            person = redeem_sign_in_link(value=value, form=request.POST.get(FORM_ID, ""), now=now)
            return _start_session(request, person)
        person = person_of_sign_in_link(value=value, now=now)
        response = render(request, "accounts/welcome.html", {"person": person})
    except LinkInvalid as refusal:
        response = render(request, "accounts/link_invalid.html", {"sentence": str(refusal)}, status=403)
    # The address is a credential, so no page may get it as a referrer. The origin stays: CSRF protection needs it.
    response.headers["Referrer-Policy"] = "strict-origin"
    return response


def _start_session(request: HttpRequest, person: User) -> HttpResponse:
    _discard_session(request)
    login(request, person, backend=BACKEND)
    response = see_other(own_page_path(request.COOKIES.get(NEXT_COOKIE, "")) or "endpoint-list")
    response.delete_cookie(NEXT_COOKIE, path=NEXT_COOKIE_PATH)
    request.session[SIGNED_IN_BY] = [request.POST.get(FORM_ID, ""), response.url]
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answers a request without a valid CSRF token (CSRF_FAILURE_VIEW): with a 403 page, or a second click on Sign in with the redirect of the first.

    Signing in changes the token. When the browser has received the response to the first click but not yet the next page, the
    form that is clicked again still has the old token.
    """
    if request.path.startswith(NEXT_COOKIE_PATH):
        form, wanted = request.session.get(SIGNED_IN_BY, ("", ""))
        if form and form == request.POST.get(FORM_ID):
            return see_other(wanted)
    return csrf.csrf_failure(request, reason)


@signed_in
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Ends the session."""
    _discard_session(request)
    logout(request)
    return see_other("sign-in")


def _discard_session(request: HttpRequest) -> None:
    """Discards the earlier session and its messages; the next session gets a new key."""
    list(messages.get_messages(request))
    request.session.flush()
