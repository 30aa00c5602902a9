"""Handles every request of the API: authentication, the body, one transaction for a change, and errors as JSON.

A view is a plain function, such as `def get_endpoint(request: ApiRequest, name: str) -> EndpointDetail`. `request.user` is the
authenticated user and `request.json` the body as an object; a view with an argument for a pydantic model gets the validated body
there. It returns an object, which is answered with status 200, or a response. `errors.reply_to` answers the exceptions that it
raises. `request.warn(sentence)` adds to the list `warnings` of the answer.
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
    def view(request: HttpRequest, **path_values: str) -> HttpResponseBase:
        response = _response_of_route(request, operations, path_values)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    view.operations = operations  # type: ignore[attr-defined]  # for the test that compares routes and document
    return [path(address, view), path(f"{address}/", view)]


def _response_of_route(
    request: HttpRequest, operations: Mapping[str, Operation], path_values: Mapping[str, str]
) -> HttpResponseBase:
    try:
        operation = _operation_for(request, operations)
        api_request = _authenticate_and_parse(request, operation)
        perform = partial(_call_view, api_request, operation, path_values)
        return (
            _respond_to_change(api_request, perform)
            if request.method in WITH_BODY
            else _as_response(api_request, perform())
        )
    except Exception as error:  # also for a bug the client gets JSON
        return errors.reply_to(error)


def _call_view(request: ApiRequest, operation: Operation, path_values: Mapping[str, str]) -> Answer:
    """What the view returns, called with the parameters of the path and the validated body."""
    assert operation.view is not None  # noqa: S101 (an operation without a view has no URL pattern)
    if operation.body is None or not operation.body_argument:
        return operation.view(request, **path_values)  # type: ignore[no-any-return]
    body = read_body(operation.body, request.json)
    warn_of_unknown_fields(request, unknown.in_model(operation.body, request.json))
    return operation.view(request, **path_values, **{operation.body_argument: body})  # type: ignore[no-any-return]


def _as_response(request: ApiRequest, answer: Answer) -> HttpResponseBase:
    if isinstance(answer, HttpResponseBase):
        return answer
    return JsonResponse({**answer, "warnings": request.warnings} if request.warnings else answer)


def _respond_to_change(request: ApiRequest, view: Callable[[], Answer]) -> HttpResponse:
    """Calls the view in one transaction, which also stores the reply if there is an Idempotency-Key. Returns when every gateway
    process serves the change; the warnings of the answer name processes that are late."""

    def perform() -> HttpResponse:
        response = _as_response(request, view())
        assert isinstance(response, HttpResponse)  # noqa: S101 (only GET is streamed)
        return response

    key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    work = perform
    if key is not None:
        content = [request.path.rstrip("/"), request.META["QUERY_STRING"], request.json]
        work = partial(
            idempotency.once,
            key=key,
            user=request.user,
            request_content=content,
            now=clock.now(),
            perform=perform,
        )
    outcome = in_force.commit_and_wait(work)
    if outcome.warnings:
        answer = json.loads(outcome.result.content)
        answer["warnings"] = [*answer.get("warnings", ()), *outcome.warnings]
        outcome.result.content = json.dumps(answer).encode()
    if outcome.waited_seconds is not None:
        outcome.result.headers["Server-Timing"] = f"in-force;dur={outcome.waited_seconds * 1000:.1f}"
    return outcome.result


def _operation_for(request: HttpRequest, operations: Mapping[str, Operation]) -> Operation:
    method = "GET" if request.method == "HEAD" else request.method or ""
    if method in operations:
        return operations[method]
    allowed = ", ".join(sorted(operations))
    message = _("%(path)s does not support %(method)s. Use %(allowed)s.")
    raise Refusal(
        message % {"method": method[:20], "path": request.path[:300], "allowed": allowed},
        code="ENDPOINT_NOT_FOUND",
        status=404,
        headers={"Allow": allowed},
    )


def _authenticate_and_parse(request: HttpRequest, operation: Operation) -> ApiRequest:
    """The request with its user, its body and a list for warnings. Raises Refusal."""
    request.user = _authenticated_user(request, session=operation.session)
    request.json = json_object(request) if request.method in WITH_BODY else {}  # type: ignore[attr-defined]
    request.warnings = []  # type: ignore[attr-defined]
    request.warn = request.warnings.append  # type: ignore[attr-defined]
    for parameter in operation.query:
        if parameter.required and not request.GET.get(parameter.name):
            message = _("The parameter %(name)s is missing. Add it to the address.")
            raise Refusal(message % {"name": parameter.name})
    return request  # type: ignore[return-value]


def _authenticated_user(request: HttpRequest, *, session: bool) -> User:
    scheme, _space, value = request.headers.get("Authorization", "").partition(" ")
    user = None
    if scheme.lower() == "bearer" and value.strip():
        user = accounts.bearer(value=value.strip(), now=clock.now())
    elif session and isinstance(request.user, User):
        user = request.user
    if user is None:
        raise Refusal(
            _(
                "The access token is missing, wrong or expired. Create one on the Settings page and send it as a bearer token."
            ),
            code="UNAUTHENTICATED",
            status=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
    return user
