"""What every route of the API has in common: sign-in, the body, one transaction for a change, and JSON whatever happens.

A view is a plain function, `def get_endpoint(request: ApiRequest, name: str) -> EndpointDetail`. It is called for a person whose
bearer token was accepted (`request.user`), with the body as an object (`request.json`) and, if it has an argument for it, as the
model of that argument. It returns an object, which is answered with status 200, or a response of its own. Whatever it raises is
answered by `errors.reply_to`. `request.warn(sentence)` adds to the list `warnings` of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
from serving_ui.api.operation import Operation
from serving_ui.api.request import ApiRequest, json_object, read_body
from serving_ui.api.response_warnings import warn_of_unknown_fields
from serving_ui.catalogue import unknown
from serving_ui.lib import clock
from serving_ui.lib.policy import public
from serving_ui.lib.refusal import Refusal
from serving_ui.revisions import in_force

WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
Answer = Mapping[str, Any] | HttpResponseBase


def url_patterns(address: str, operations: Mapping[str, Operation]) -> list[URLPattern]:
    """The path with and without a slash at its end, for the operations of its methods."""

    @csrf_exempt
    @transaction.non_atomic_requests
    @public
    def view(request: HttpRequest, **parts: str) -> HttpResponseBase:
        response = _answered(request, operations, parts)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    view.operations = operations  # type: ignore[attr-defined]  # for the test that compares routes and document
    return [path(address, view), path(f"{address}/", view)]


def _answered(
    request: HttpRequest, operations: Mapping[str, Operation], parts: Mapping[str, str]
) -> HttpResponseBase:
    try:
        operation = _chosen(request, operations)
        asked = _prepared(request, operation)
        perform = partial(_performed, asked, operation, parts)
        return _changed(asked, perform) if request.method in WITH_BODY else _response(asked, perform())
    except Exception as error:  # the outermost edge: whatever happens, a client gets JSON
        return errors.reply_to(error)


def _performed(asked: ApiRequest, operation: Operation, parts: Mapping[str, str]) -> Answer:
    """What the view returns, called with the parameters of the path and the validated body."""
    assert operation.view is not None  # noqa: S101 (an operation without a view has no URL pattern)
    if operation.body is None or not operation.body_argument:
        return operation.view(asked, **parts)  # type: ignore[no-any-return]
    body = read_body(operation.body, asked.json)
    warn_of_unknown_fields(asked, unknown.in_model(operation.body, asked.json))
    return operation.view(asked, **parts, **{operation.body_argument: body})  # type: ignore[no-any-return]


def _response(asked: ApiRequest, answer: Answer) -> HttpResponseBase:
    if isinstance(answer, HttpResponseBase):
        return answer
    return JsonResponse({**answer, "warnings": asked.warnings} if asked.warnings else answer)


def _changed(asked: ApiRequest, view: Callable[[], Answer]) -> HttpResponse:
    """One transaction holds what is changed, the answer and, under a key, the reply that is kept. It is answered once the
    change is in force in every gateway; one that is late is named in the answer."""

    def perform() -> HttpResponse:
        response = _response(asked, view())
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


def _chosen(request: HttpRequest, operations: Mapping[str, Operation]) -> Operation:
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


def _prepared(request: HttpRequest, operation: Operation) -> ApiRequest:
    """The request with its person and its body. Raises Refusal."""
    request.user = _person(request, session=operation.session)
    request.json = json_object(request) if request.method in WITH_BODY else {}  # type: ignore[attr-defined]
    request.warnings = []  # type: ignore[attr-defined]
    request.warn = request.warnings.append  # type: ignore[attr-defined]
    for parameter in operation.query:
        if parameter.required and not request.GET.get(parameter.name):
            message = _("The parameter %(name)s is missing. Add it to the address.")
            raise Refusal(message % {"name": parameter.name})
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
