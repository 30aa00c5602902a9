"""Carries out what a page's form asks for: in one transaction, once, and answered when every live gateway process serves it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.contrib import messages
from django.http import HttpRequest, HttpResponse

from serving_ui.pages import submissions
from serving_ui.revisions import in_force


class InForce:
    """The innermost of the middleware: nothing that a page does after its change can fail, and then undo or hide it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        """The answer to a POST; None lets the view run alone: it changes nothing, or has a transaction of its own."""
        alone = bool(getattr(view, "_non_atomic_requests", ())) or iscoroutinefunction(view)
        if request.method != "POST" or alone:
            return None
        work = partial(submissions.once, request, partial(view, request, *args, **kwargs))
        try:
            done = in_force.commit_and_wait(work)
        except Exception:
            # The form of a sign-in that did not happen can be sent again only if the browser's token is still the same.
            request.META.pop("CSRF_COOKIE_NEEDS_UPDATE", None)
            raise
        for sentence in done.warnings:
            messages.warning(request, sentence)
        return done.result
