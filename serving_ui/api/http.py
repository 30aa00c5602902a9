"""What every address of the API has in common. A module of addresses says

    urlpatterns = [
        *route("secrets/put", POST=put_secret),
        *route("serving-endpoints/<str:name>", GET=get_endpoint, DELETE=delete_endpoint),
    ]

and each operation is a plain function: `def get_endpoint(request: ApiRequest, name: str) -> Json`. It is called for a person
whose bearer token was accepted (`request.user`), with the body as an object (`request.json`); it returns an object, which is
answered with status 200, or a response of its own. Whatever it raises is answered by `errors.reply_to`: SpecErrors name
fields of the body, every other refusal is a `lib.refusal.Refusal`. `request.warn(sentence)` adds to the list
`warnings` of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from serving_ui.accounts import queries as accounts
from serving_ui.accounts.models import User
from serving_ui.api import errors, idempotency
from serving_ui.api.request_body import json_object
from serving_ui.lib import clock
from serving_ui.lib.policy import public
from serving_ui.lib.refusal import Refusal
from serving_ui.revisions import in_force

Json = dict[str, Any]
WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class ApiRequest(HttpRequest):
    """A request of a person whose bearer token was accepted."""

    user: User
    json: Json
    warnings: list[str]
    warn: Callable[[str], None]


Operation = Callable[..., Json | HttpResponseBase]


def route(address: str, *, session: bool = False, **operations: Operation) -> list[URLPattern]:
    """The address with and without a slash at its end, with an operation for each method.

    `session` also lets a person read it who is signed in to the pages; only for what a page shows or links to.
    """

    @csrf_exempt
    @transaction.non_atomic_requests
    @public
    def view(request: HttpRequest, **parts: str) -> HttpResponseBase:
        response = _answered(request, operations, parts, session=session)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    view.operations = operations  # type: ignore[attr-defined]  # for the description of the API
    return [path(address, view), path(f"{address}/", view)]


def _answered(
    request: HttpRequest, operations: dict[str, Operation], parts: dict[str, str], *, session: bool
) -> HttpResponseBase:
    try:
        operation = _chosen(request, operations)
        asked = _prepared(request, session=session)
        perform = partial(operation, asked, **parts)
        return _changed(asked, perform) if request.method in WITH_BODY else _response(asked, perform())
    except Exception as error:  # the outermost edge: whatever happens, a client gets JSON
        return errors.reply_to(error)


def _response(asked: ApiRequest, answer: Json | HttpResponseBase) -> HttpResponseBase:
    if isinstance(answer, HttpResponseBase):
        return answer
    return JsonResponse({**answer, "warnings": asked.warnings} if asked.warnings else answer)


def _changed(asked: ApiRequest, operation: Callable[[], Json | HttpResponseBase]) -> HttpResponse:
    """One transaction holds what is changed, the answer and, under a key, the reply that is kept. It is answered once the
    change is in force in every gateway; one that is late is named in the answer."""

    def perform() -> HttpResponse:
        response = _response(asked, operation())
        assert isinstance(response, HttpResponse)  # noqa: S101 (only what is read is streamed)
        return response

    key = asked.headers.get("Idempotency-Key") if asked.method == "POST" else None
    work = perform
    if key is not None:
        whole = [asked.path.rstrip("/"), asked.META["QUERY_STRING"], asked.json]
        work = partial(
            idempotency.once, key=key, user=asked.user, asked=whole, now=clock.now(), perform=perform
        )
    done = in_force.commit_and_wait(work)
    if done.warnings:
        answer = json.loads(done.result.content)
        answer["warnings"] = [*answer.get("warnings", ()), *done.warnings]
        done.result.content = json.dumps(answer).encode()
    if done.waited_seconds is not None:
        done.result.headers["Server-Timing"] = f"in-force;dur={done.waited_seconds * 1000:.1f}"
    return done.result


def _chosen(request: HttpRequest, operations: dict[str, Operation]) -> Operation:
    method = "GET" if request.method == "HEAD" else request.method or ""
    if method in operations:
        return operations[method]
    allowed = ", ".join(sorted(operations))
    message = _("%(method)s is not possible at %(path)s. Use %(allowed)s.")
    raise Refusal(
        message % {"method": method[:20], "path": request.path[:300], "allowed": allowed},
        code="ENDPOINT_NOT_FOUND",
        status=404,
        headers={"Allow": allowed},
    )


def _prepared(request: HttpRequest, *, session: bool) -> ApiRequest:
    """The request with its person and its body. Raises Refusal."""
    request.user = _person(request, session=session and request.method in ("GET", "HEAD"))
    request.json = json_object(request) if request.method in WITH_BODY else {}  # type: ignore[attr-defined]
    request.warnings = []  # type: ignore[attr-defined]
    request.warn = request.warnings.append  # type: ignore[attr-defined]
    return request  # type: ignore[return-value]


def _person(request: HttpRequest, *, session: bool) -> User:
    scheme, _space, value = request.headers.get("Authorization", "").partition(" ")
    person = None
    if scheme.lower() == "bearer" and value.strip():
        person = accounts.bearer(value=value.strip(), now=clock.now())
    elif session and isinstance(request.user, User):
        person = request.user
    if person is None:
        raise Refusal(
            _(
                "The access token is missing, wrong or expired. Make one on the Settings page and send it as a bearer token."
            ),
            code="UNAUTHENTICATED",
            status=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
    return person
