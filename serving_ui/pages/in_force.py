"""Runs the view of each POST in one transaction, once per submitted form, and answers when every live gateway process serves it."""

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
    """The innermost middleware, so that no other one runs between the view and the commit."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        """The response to a POST. None for views that change nothing or have a transaction of their own: Django calls them."""
        alone = bool(getattr(view, "_non_atomic_requests", ())) or iscoroutinefunction(view)
        if request.method != "POST" or alone:
            return None
        work = partial(submissions.run_once, request, partial(view, request, *args, **kwargs))
        try:
            done = in_force.commit_and_wait(work)
        except Exception:
            # A failed sign-in must not rotate the CSRF cookie, or the same form could not be sent again.
            request.META.pop("CSRF_COOKIE_NEEDS_UPDATE", None)
            raise
        for sentence in done.warnings:
            messages.warning(request, sentence)
        return done.result
