"""Makes submitting a form idempotent: the second submission gets the redirect of the first and changes nothing.

`{% form_id %}` gives each rendered form an id. The session stores the redirects of the forms submitted last, in the transaction of
the change. The same id with other values, as after going back in the browser, counts as another form.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

from serving_ui.accounts.sessions import SessionStore
from serving_ui.lib import clock
from serving_ui.pages.http import SeeOther

FORM_ID = "form_id"
ANSWERED = "answered-forms"
MAX_REMEMBERED = 20
REMEMBERED_SECONDS = 600


def run_once(request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
    """The response of `view`, or the redirect of an earlier submission of the same form.

    Must be called in a transaction, which is rolled back if the response is an error. Locks the row of the session, so that
    concurrent submissions run one after another.
    """
    session = request.session
    if not isinstance(session, SessionStore):
        raise TypeError("SESSION_ENGINE is not the one of accounts.sessions.")
    if key := session.session_key:
        session = request.session = session.lock_and_reload()
    digest = _form_digest(request)
    answered = _answered(session)
    if digest in answered:
        return _again(*answered[digest][1:])
    response = view()
    if response.status_code >= 400:
        transaction.set_rollback(True)
    elif digest and key and isinstance(response, SeeOther) and session.session_key == key:
        cookies = [morsel.OutputString() for morsel in response.cookies.values()]
        answered[digest] = [clock.now().timestamp(), response.url, cookies]
        session[ANSWERED] = dict(list(answered.items())[-MAX_REMEMBERED:])
    session.save_in_transaction()
    return response


def _form_digest(request: HttpRequest) -> str:
    """A keyed digest of the submitted form, because it may contain a secret; "" for a form without an id."""
    if not request.POST.get(FORM_ID):
        return ""
    sent = sorted((name, values) for name, values in request.POST.lists() if name != "csrfmiddlewaretoken")
    return salted_hmac(__name__, json.dumps([request.path, sent]), algorithm="sha256").hexdigest()


def _answered(session: SessionStore) -> dict[str, Any]:
    """Time, redirect and cookies of the forms submitted last, by digest of the form, oldest first."""
    until = clock.now().timestamp() - REMEMBERED_SECONDS
    return {digest: each for digest, each in session.get(ANSWERED, {}).items() if each[0] > until}


def _again(url: str, cookies: list[str]) -> HttpResponse:
    response = SeeOther(url)
    for each in cookies:
        response.cookies.update(SimpleCookie(each))
    return response
