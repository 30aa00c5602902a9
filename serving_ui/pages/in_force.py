"""Answers a change only once every live gateway process serves it, or is too late: what a page says is so."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from serving_ui.endpoints import publication
from serving_ui.lib import clock


class InForce:
    """The innermost of the middleware: it has the person's messages, and says there which process is late."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with publication.noting() as revisions:
            response = self.get_response(request)
        if revisions:
            for process in publication.await_gateways(revision=revisions[-1], clock=clock.now):
                late = _("The gateway process %(name)s does not serve this change yet.")
                messages.warning(request, late % {"name": process})
        return response
