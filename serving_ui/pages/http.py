"""The typed request of page views, and helpers for their responses."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django_htmx.middleware import HtmxDetails

from serving_ui.accounts.models import User
from serving_ui.endpoints import queries
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Action


class PageRequest(HttpRequest):
    """A request of a signed-in person."""

    user: User
    htmx: HtmxDetails


class MessageCookie(CookieStorage):
    """Stores messages for the next page in a cookie: showing them changes no data, and storing them needs no database."""

    cookie_name = "serving_ui_messages"


class SeeOther(HttpResponseRedirect):
    """303: the browser fetches the response to a POST from another address."""

    status_code = 303


def see_other(to: str, *args: str) -> SeeOther:
    """303 to a named URL or a path."""
    return SeeOther(resolve_url(to, *args))


def fragment(
    request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """A part of a page, with pending messages out of band for #messages."""
    response = render(request, template, context, status=status)
    if len(messages.get_messages(request)):
        message_list = render(request, "components/messages.html", {"out_of_band": True})
        response.content = response.content + message_list.content
    return response


def get_endpoint(request: PageRequest, name: str, action: Action = Action.VIEW) -> Endpoint:
    """The endpoint, if the person may do `action` with it. Raises NotFound or NotAllowed, which Django answers with a page."""
    return queries.get_endpoint(name=name, actor=request.user, action=action)
