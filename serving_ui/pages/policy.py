"""Middleware that enforces the policy of each view (`lib.policy`); a view without a policy answers 403.

Rights on an endpoint are checked by the domain functions that the views call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unicodedata import category
from urllib.parse import unquote, urlencode, urlsplit

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import Resolver404, resolve, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect

from serving_ui.lib.policy import Policy, admin, public, signed_in
from serving_ui.lib.request import MAX_TARGET_BYTES

__all__ = ["DenyByDefault", "Policy", "admin", "own_page_path", "public", "signed_in"]
MAX_ADDRESS_LENGTH = 2000


class DenyByDefault:
    """Enforces the policies. Redirects anonymous requests to the sign-in page; htmx requests by `HX-Redirect`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        """None lets the view run."""
        policy = getattr(view, "policy", None)
        if policy is Policy.PUBLIC:
            return None
        if policy is None:
            raise PermissionDenied(_("Nobody may use this address."))
        if not request.user.is_authenticated:
            return _to_sign_in(request)
        if policy is Policy.ADMIN and not request.user.is_admin:
            raise PermissionDenied(_("Only an admin may open this page. Ask an admin."))
        return None


def own_page_path(wanted: str) -> str:
    """`wanted` if it is the path of a page of this server that needs a sign-in, else ""."""
    if not wanted.startswith("/") or "\\" in wanted or len(wanted) > MAX_ADDRESS_LENGTH:
        return ""
    if any(category(each) == "Cc" for each in wanted) or not url_has_allowed_host_and_scheme(wanted, None):
        return ""
    try:
        view = resolve(unquote(urlsplit(wanted).path)).func
    except Resolver404:
        return ""
    return wanted if getattr(view, "policy", Policy.PUBLIC) is not Policy.PUBLIC else ""


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    # The person returns to the page, not to its htmx fragment, and a POST is not repeated.
    htmx = request.htmx  # type: ignore[attr-defined]
    wanted = (htmx.current_url_abs_path or "/") if htmx else request.get_full_path()
    if not htmx and request.method != "GET":
        wanted = "/"
    address = f"{reverse('sign-in')}?{urlencode({'next': wanted})}"
    if len(address) >= MAX_TARGET_BYTES:  # it would be refused
        address = reverse("sign-in")
    return HttpResponseClientRedirect(address) if htmx else redirect(address)
