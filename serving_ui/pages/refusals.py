"""Refuses, for all that Django answers, what no face takes, in the person's language and with the look of the pages.

What is refused before Django comes as `refusal` of the scope (see `asgi`), which is a RequestRefused. Texts of forms can only be
looked at here. The API reads its own bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language_from_request, override
from django.utils.translation import gettext as _

from serving_ui.lib.request import LONGEST_TARGET, has_no_text

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_ADDRESSES = ("Origin", "Referer", "HX-Current-URL")


class Refusals:
    """The first of those that look at what was sent: sessions and languages are read from cookies."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        refusal = getattr(request, "scope", {}).get("refusal")
        if refusal is not None:
            return _refused(request, str(refusal), status=refusal.status)
        for name in [name for name, value in request.COOKIES.items() if has_no_text(value)]:
            del request.COOKIES[name]  # none of ours: whoever has it was never signed in with it
        sentence = "" if request.path.startswith("/api/") else _problem(request)
        return _refused(request, sentence) if sentence else self.get_response(request)


def _problem(request: HttpRequest) -> str:
    if any(len(request.headers.get(name, "")) > LONGEST_TARGET for name in _ADDRESSES):
        # Python remembers the addresses that it has taken apart.
        return _("A header with an address is longer than any address that is taken.")
    if request.content_type not in _FORMS:
        return ""
    if (request.content_params or {}).get("charset", "utf-8").lower() != "utf-8":
        return _("The form is not in UTF-8. Send it as the page does.")
    if any(map(_is_unusable, request.POST.lists())):
        return _("The form contains a character that is no text (NUL). Remove it and send it again.")
    return ""


def _is_unusable(field: tuple[str, Iterable[str]]) -> bool:
    name, values = field
    return has_no_text(name) or any(map(has_no_text, values))


def _refused(request: HttpRequest, sentence: str, *, status: int = 400) -> HttpResponse:
    with override(get_language_from_request(request)):
        return render(request, "refused.html", {"sentence": sentence, "status": status}, status=status)
